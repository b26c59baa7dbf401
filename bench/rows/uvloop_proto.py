#!/usr/bin/env python3
# uvloop_proto.py - a row of the bench: the asyncio row's protocol on uvloop
"""Usage: uvloop_proto.py PORT [HOST]. Prints READY PORT, echoes, ends on SIGTERM."""
import sys

sys.dont_write_bytecode = True  # no cache beside installed scripts
import asyncio_proto
import uvloop

if __name__ == "__main__":
    uvloop.install()
    asyncio_proto.asyncio.run(asyncio_proto.main(*asyncio_proto.arguments("uvloop_proto.py")))
