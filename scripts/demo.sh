#!/bin/bash
# demo.sh - the ping-pong line-up on this machine
set -eu
cd "$(dirname "$0")/.."
exec build/volley pingpong c_epoll volley_epoll volley_uring asyncio_proto uvloop_proto \
	--connections 100 --warmup 1 --duration 3 --runs 1
