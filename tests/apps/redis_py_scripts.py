"""Scripts, functions and locks of redis-py, and locks of python-redis-lock: redis_py_scripts.py URL."""

import asyncio
import sys
import threading

import redis
import redis.asyncio
import redis_lock
from checks import eventually, left
from redis.exceptions import LockError, LockNotOwnedError, NoScriptError, ResponseError

URL = sys.argv[1]
# Longer than any test, so that an early end would be the lock's fault.
LONG = 60
TRANSFER = """
local left = tonumber(redis.call('GET', KEYS[1]) or 0)
if left < tonumber(ARGV[1]) then
  return {err = 'POOR ' .. left}
end
return {redis.call('DECRBY', KEYS[1], ARGV[1]), redis.call('INCRBY', KEYS[2], ARGV[1])}
"""
LIBRARY = """#!lua name=bank
redis.register_function('transfer', function(keys, args)
  return {redis.call('DECRBY', keys[1], args[1]), redis.call('INCRBY', keys[2], args[1])}
end)
redis.register_function{
  function_name = 'balance', callback = function(keys) return redis.call('MGET', unpack(keys)) end,
  flags = {'no-writes'}
}
"""


def refused(call, kind, text=""):
    try:
        call()
    except kind as error:
        assert text in str(error), error
        return
    raise AssertionError(f"{text} was allowed")


def scripts(client):
    transfer = client.register_script(TRANSFER)
    client.set("ann", 100)
    assert transfer(["ann", "bob"], [30]) == [70, 30]
    refused(lambda: transfer(["ann", "bob"], [71]), ResponseError, "POOR 70")
    client.script_flush()
    assert transfer(["ann", "bob"], [1]) == [69, 31]
    assert client.script_exists(transfer.sha, "0" * 40) == [True, False]
    refused(lambda: client.evalsha("0" * 40, 0), NoScriptError)
    # A pipeline first loads the scripts that the server has lost.
    client.script_flush()
    with client.pipeline() as pipe:
        pipe.set("eve", 5)
        transfer(["ann", "eve"], [9], client=pipe)
        pipe.get("eve")
        assert pipe.execute() == [True, [60, 14], b"14"]
    # A failed script keeps its earlier writes.
    with client.pipeline() as pipe:
        pipe.incr("eve")
        transfer(["ann", "eve"], [61], client=pipe)
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] == 15 and isinstance(replies[1], ResponseError)
    assert client.eval("return {KEYS[1], ARGV[1], 3.99, false, true}", 1, "k", b"\x00\xff") == [
        b"k", b"\x00\xff", 3, None, 1,
    ]
    assert client.eval_ro("return redis.call('GET', KEYS[1])", 1, "eve") == b"15"
    # The server's own clock, and unconverted numbers.
    assert abs(client.eval("return tonumber(redis.call('TIME')[1])", 0) - client.time()[0]) <= 1
    client.eval("redis.call('ZADD', KEYS[1], ARGV[1] * 0x1000 + 7, 'x')", 1, "scores", 1_700_000_000_000)
    assert client.zscore("scores", "x") == 1_700_000_000_000 * 0x1000 + 7


def functions(client):
    assert client.function_load(LIBRARY, replace=True) in ("bank", b"bank")
    client.mset({"ann": 100, "bob": 0})
    assert client.fcall("transfer", 2, "ann", "bob", 40) == [60, 40]
    assert client.fcall_ro("balance", 2, "ann", "bob") == [b"60", b"40"]
    refused(lambda: client.fcall_ro("transfer", 2, "ann", "bob", 1), ResponseError, "write flag")
    dump = client.function_dump()
    client.function_delete("bank")
    refused(lambda: client.fcall("transfer", 2, "ann", "bob", 1), ResponseError, "Function not found")
    client.function_restore(dump)
    assert len(client.function_list(library="ban*")) == 1


def crowd(take):
    """Threads that each do work of which only one may run at a time."""
    state = {"running": 0, "most": 0, "done": 0}

    def work():
        for _ in range(5):
            with take():
                state["running"] += 1
                state["most"] = max(state["most"], state["running"])
                state["running"] -= 1
                state["done"] += 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(left())
    assert state == {"running": 0, "most": 1, "done": 40}, state


def locks(client):
    crowd(lambda: client.lock("crowd", timeout=LONG, sleep=0.002))
    mine, other = client.lock("lock", timeout=LONG), client.lock("lock", timeout=LONG)
    assert mine.acquire() and not other.acquire(blocking=False)
    refused(other.release, LockError)
    assert mine.extend(LONG) is True and client.pttl("lock") > LONG * 1000
    assert mine.reacquire() is True and client.pttl("lock") <= LONG * 1000
    assert mine.extend(5, replace_ttl=True) and client.pttl("lock") <= 5000
    assert mine.owned() and not other.owned()
    mine.release()
    assert not client.exists("lock")
    # A lock that has expired belongs to another owner, and releasing it does not affect that owner.
    short = client.lock("lock", timeout=0.05)
    assert short.acquire() and other.acquire(blocking_timeout=left())
    refused(short.release, LockNotOwnedError)
    refused(lambda: short.extend(1), LockError)
    assert other.owned()
    other.release()


def signalled_locks(client):
    """The locks of python-redis-lock wake waiting clients through a list."""
    redis_lock.reset_all(client)
    crowd(lambda: redis_lock.Lock(client, "signalled", expire=LONG))
    lock = redis_lock.Lock(client, "other", expire=LONG, id="me")
    assert lock.acquire() and lock.get_owner_id() in ("me", b"me")
    assert not redis_lock.Lock(client, "other", expire=LONG).acquire(blocking=False)
    lock.extend(2 * LONG)
    assert client.ttl("lock:other") > LONG
    lock.release()
    refused(lock.release, redis_lock.NotAcquired)
    # The lock is renewed as long as it is held, and does not keep another owner's expiry.
    with redis_lock.Lock(client, "renewed", expire=1, auto_renewal=True):
        client.expire("lock:renewed", LONG)
        eventually("a renewal", lambda: client.pttl("lock:renewed") <= 1000)
    assert client.keys("lock:*") == []


async def asynchronous():
    client = redis.asyncio.Redis.from_url(URL)
    transfer = client.register_script(TRANSFER)
    await client.set("ann", 50)
    await client.delete("bob")
    assert await transfer(["ann", "bob"], [20]) == [30, 20]
    running = []

    async def work():
        async with client.lock("async", timeout=LONG, sleep=0.002):
            assert not running
            running.append(1)
            await client.ping()
            running.pop()

    async with asyncio.timeout(left()):
        await asyncio.gather(*(work() for _ in range(20)))
    await client.aclose()


def main():
    for protocol in (2, 3):
        client = redis.Redis.from_url(URL, protocol=protocol)
        client.flushall()
        for test in (scripts, functions, locks, signalled_locks):
            print(f"{test.__name__}, RESP{protocol}", flush=True)
            test(client)
    asyncio.run(asynchronous())
    print("all passed")


main()
