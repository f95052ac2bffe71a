"""Rate limits shared by processes, by the library limits: limits_of_rate.py URL."""

import asyncio
import sys
import threading

import limits
import limits.aio.storage
import limits.aio.strategies
from checks import eventually, left

URL = sys.argv[1]
STRATEGIES = ("FixedWindowRateLimiter", "MovingWindowRateLimiter", "SlidingWindowCounterRateLimiter")


def strategy(name):
    """A limiter with a separate connection, as in each process."""
    return getattr(limits.strategies, name)(limits.storage.storage_from_string(URL))


def counts(name):
    here, there = strategy(name), strategy(name)
    # A window that does not end during the test.
    five = limits.parse("5/day")
    assert [here.hit(five, name, "ann"), there.hit(five, name, "ann", cost=3)] == [True, True]
    assert there.test(five, name, "ann") and not there.test(five, name, "ann", cost=2)
    assert there.get_window_stats(five, name, "ann").remaining == 1
    assert here.hit(five, name, "ann")
    assert not there.hit(five, name, "ann") and there.hit(five, name, "bob")
    reset, remaining = here.get_window_stats(five, name, "ann")
    assert remaining == 0 and reset > 0
    here.clear(five, name, "ann")
    assert there.get_window_stats(five, name, "ann").remaining == 5 and there.hit(five, name, "ann")


def ends(name):
    limiter, two = strategy(name), limits.parse("2/second")
    while limiter.hit(two, name, "ends"):
        pass
    eventually("another window", lambda: limiter.hit(two, name, "ends"))


def crowds(name):
    """Threads that take as many as they can get: together never more than the limit."""
    fifty, taken = limits.parse("50/day"), []

    def take():
        limiter = strategy(name)
        taken.extend(1 for _ in range(25) if limiter.hit(fifty, name, "crowd"))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(left())
    assert len(taken) == 50, len(taken)


async def asynchronous(name):
    storage = limits.storage.storage_from_string(f"async+{URL}", implementation="redispy")
    limiter, five = getattr(limits.aio.strategies, name)(storage), limits.parse("5/day")
    allowed = await asyncio.gather(*(limiter.hit(five, name, "async") for _ in range(20)))
    assert sum(allowed) == 5
    assert (await limiter.get_window_stats(five, name, "async")).remaining == 0
    await storage.reset()


def main():
    for name in STRATEGIES:
        print(name, flush=True)
        counts(name)
        crowds(name)
        ends(name)
        asyncio.run(asynchronous(name))
    storage = limits.storage.storage_from_string(URL)
    limits.strategies.FixedWindowRateLimiter(storage).hit(limits.parse("5/day"), "last")
    assert storage.check() and storage.reset() == 1 and storage.reset() == 0
    print("all passed")


main()
