"""Writes through redis-py's Sentinel client until another primary has accepted a write: sentinel.py NAME PORT..."""

import sys
import time

import redis
from redis.sentinel import MasterNotFoundError, Sentinel, SlaveNotFoundError

name, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
sentinel = Sentinel([("127.0.0.1", port) for port in ports], socket_timeout=5)
primary = sentinel.master_for("mymaster", socket_timeout=5)
replica = sentinel.slave_for("mymaster", socket_timeout=5)
first = sentinel.discover_master("mymaster")
assert len(sentinel.discover_slaves("mymaster")) == 2
assert primary.set(f"began:{name}", "yes")

# The test that runs this bounds the wait.
while True:
    try:
        primary.incr(f"counter:{name}")
        if sentinel.discover_master("mymaster") != first:
            primary.set(f"went-on:{name}", "yes")
            break
    # A primary that was just replaced refuses writes.
    except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, MasterNotFoundError):
        pass
    time.sleep(0.02)

while True:
    try:
        if replica.get(f"went-on:{name}") == b"yes":
            break
    except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, SlaveNotFoundError):
        pass
    time.sleep(0.02)
print("all passed")
