"""test_npt.py - volley as the load generator of the Python sockets study, with that study's side in plain Python"""

import selectors
import signal
import socket
import time
import unittest

from volley_cli import PATIENCE_S, VolleyTest

BASE = 2 ** 0.1


class Study:
    """What the study's client does: asks for a load, serves it, reads the answer."""

    def __init__(self, port):
        self.control = socket.create_connection(('127.0.0.1', port), PATIENCE_S)
        self.wrong = 0

    def serve(self, count, msize, pauses=(0, 0), ip='127.0.0.1', pieces=False, spoil=False):
        """Accepts all connections before it answers any, then echoes until all are closed. The raw answer."""
        with socket.create_server(('127.0.0.1', 0), backlog=max(count // 20, 10)) as listener:
            listener.settimeout(PATIENCE_S)
            port = listener.getsockname()[1]
            request = f'{ip} {port} {count} 1 {pauses[0]} {pauses[1]} {msize}'.encode()
            if pieces:
                for i, byte in enumerate(request):
                    self.control.send(bytes([byte]))
                    if i in (3, 20):
                        time.sleep(0.05)
            else:
                self.control.send(request)
            peers = [listener.accept()[0] for _ in range(count)]
        self.echo(peers, msize, spoil)
        answer = b''
        self.control.settimeout(PATIENCE_S)
        while chunk := self.control.recv(65536):
            answer += chunk
        self.control.close()
        return answer

    def echo(self, peers, msize, spoil):
        message = b'X' * msize
        with selectors.DefaultSelector() as ready:
            for peer in peers:
                ready.register(peer, selectors.EVENT_READ)
            while ready.get_map():
                for key, _ in ready.select(PATIENCE_S):
                    try:
                        data = key.fileobj.recv(msize)
                    except ConnectionResetError:
                        data = b''
                    if not data:
                        ready.unregister(key.fileobj)
                        key.fileobj.close()
                        continue
                    self.wrong += data != message[:len(data)]
                    key.fileobj.send(b'Y' + data[1:] if spoil else data)


class NetworkPingTest(VolleyTest):
    """volley load --npt-server."""

    def listen(self, runs):
        child = self.start('load', '--npt-server=0', '--runs', str(runs), '--stall-timeout', '60s')
        ready = child.stdout.readline().split()
        self.assertEqual(ready[0], 'READY')
        return child, int(ready[1])

    def parse(self, answer):
        """As the study does it: messages, base, {bucket: count}, 19 quantiles."""
        words = answer.split()
        mcount, base, numbers = int(words[0]), float(words[1]), list(map(int, words[2:]))
        buckets = numbers[1:1 + 2 * numbers[0]]
        quantiles = numbers[1 + 2 * numbers[0]:]
        self.assertEqual(quantiles[0], 19)
        self.assertEqual(len(quantiles), 20)
        return mcount, base, dict(zip(buckets[::2], buckets[1::2])), quantiles[1:]

    def test_a_load_is_made_and_answered(self):
        child, port = self.listen(1)
        study = Study(port)
        mcount, base, buckets, quantiles = self.parse(study.serve(40, 64))
        self.assertAlmostEqual(base, BASE, delta=1e-9)
        self.assertGreater(mcount, 0)
        self.assertEqual(sum(buckets.values()), mcount)
        self.assertEqual(quantiles, sorted(quantiles))
        self.assertLessEqual(quantiles[0] * 20, mcount)
        self.assertEqual(study.wrong, 0)
        done = self.finish(child)
        self.assertEqual(done.code, 0, done)
        self.assertRegex(done.out, r'127\.0\.0\.1:\d+: 40 connections, 64 bytes: \d+ messages')
        self.assertEqual(done.err, '')

    def test_pauses_are_kept(self):
        child, port = self.listen(1)
        mcount, _, _, quantiles = self.parse(Study(port).serve(10, 100, (50_000_000, 100_000_000)))
        # At most one message in 50 ms, for a second.
        self.assertLessEqual(mcount, 10 * 21)
        self.assertLessEqual(quantiles[-1], 21)
        self.assertEqual(self.finish(child).code, 0)

    def test_one_after_another_is_served_and_any_address_is_where_it_came_from(self):
        child, port = self.listen(2)
        for pieces in (False, True):
            mcount, _, _, _ = self.parse(Study(port).serve(3, 1024, ip='0.0.0.0', pieces=pieces))
            self.assertGreater(mcount, 0)
        self.assertEqual(self.finish(child).code, 0)

    def test_wrong_bytes_get_no_answer(self):
        child, port = self.listen(1)
        self.assertEqual(Study(port).serve(3, 64, spoil=True), b'')
        done = self.finish(child)
        self.assertEqual(done.code, 1, done)
        self.assertIn('wrong echo', done.err)

    def test_what_is_no_request_is_told_and_the_next_one_served(self):
        child, port = self.listen(2)
        with socket.create_connection(('127.0.0.1', port), PATIENCE_S) as control:
            control.send(b'GET / HTTP/1.1 and so on and on and on')
            control.settimeout(PATIENCE_S)
            self.assertEqual(control.recv(100), b'')
        self.assertGreater(self.parse(Study(port).serve(2, 64))[0], 0)
        done = self.finish(child)
        self.assertEqual(done.code, 1, done)

    def test_ctrl_c_ends_it(self):
        child, _ = self.listen(1)
        child.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(child).code, 130)

    def test_a_port_in_use_is_refused(self):
        with socket.create_server(('', 0)) as taken:
            port = taken.getsockname()[1]
            done = self.expect(3, 'load', f'--npt-server={port}')
        self.assertIn(f'cannot listen on port {port}', done.err)

    def test_it_takes_no_target(self):
        self.assertIn('takes no HOST:PORT', self.complaint(2, 'load', 'localhost:1', '--npt-server'))


if __name__ == '__main__':
    unittest.main()
