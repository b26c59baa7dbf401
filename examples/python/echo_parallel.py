#!/usr/bin/env python3
# echo_parallel.py - PyParallel's example: what a method returns is sent: echo_parallel.py [HOST PORT]
import signal
import sys

from volley import parallel


class EchoServer:
    initial_bytes_to_send = b"Say something.\r\n"

    def data_received(self, transport, data):
        return data


host, port = sys.argv[1:] or ("127.0.0.1", 7777)
server = parallel.server(host, int(port))
parallel.register(transport=server, protocol=EchoServer)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: parallel.stop())
print(f"listening on {host}:{port}", flush=True)
parallel.run()
