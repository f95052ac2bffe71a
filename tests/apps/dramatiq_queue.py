"""Messages of dramatiq, from a broker to two workers in separate processes: dramatiq_queue.py URL.

The workers are `dramatiq` as a user starts it. They share rate limits and barriers in Redis, and store results there.
"""

import os
import pathlib
import signal
import sys

import dramatiq
import dramatiq.brokers.redis
import redis
from checks import eventually, left, process
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as LimitsBackend
from dramatiq.results import ResultFailure, Results
from dramatiq.results.backends import RedisBackend

URL = os.environ.setdefault("DRAMATIQ_TEST_URL", sys.argv[-1])
client = redis.Redis.from_url(URL)
# Another worker gets the unacknowledged messages of a worker that has been silent for a second.
broker = dramatiq.brokers.redis.RedisBroker(url=URL, heartbeat_timeout=1_000, maintenance_chance=1_000_000)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
broker.add_middleware(dramatiq.middleware.GroupCallbacks(LimitsBackend(url=URL)))
dramatiq.set_broker(broker)
limits = LimitsBackend(url=URL)
mutex = ConcurrentRateLimiter(limits, "mutex", limit=1)


@dramatiq.actor(store_results=True)
def add(left, right):
    return left + right


@dramatiq.actor(store_results=True, max_retries=5, min_backoff=10)
def third_time():
    tries = client.incr("tries")
    if tries < 3:
        raise ValueError("not yet")
    return tries


@dramatiq.actor(store_results=True, max_retries=0)
def fail():
    raise ValueError("as it should")


@dramatiq.actor(max_retries=1_000, min_backoff=10, max_backoff=50)
def alone(n):
    with mutex.acquire():
        most = client.incr("running")
        client.blpop("never", 0.01)
        client.decr("running")
        client.rpush("alone", most)


@dramatiq.actor
def note(name):
    client.rpush("notes", name)


@dramatiq.actor(max_retries=0, time_limit=3_600_000)
def hang():
    """Never returns in the first worker that takes it."""
    if client.rpush("hanging", os.getpid()) == 1:
        client.blpop("never", 0)


def worker():
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    command = pathlib.Path(sys.executable).with_name("dramatiq")
    return process(command, "dramatiq_queue", "--processes", "1", "--threads", "4", env=environment)


def result(message):
    return message.get_result(block=True, timeout=int(left() * 1000))


def results():
    assert [result(add.send(n, 1)) for n in range(5)] == [1, 2, 3, 4, 5]
    group = dramatiq.group([add.message(n, n) for n in range(20)])
    group.add_completion_callback(note.message("all of a group"))
    group.run()
    assert list(group.get_results(block=True, timeout=int(left() * 1000))) == [2 * n for n in range(20)]
    eventually("its callback", lambda: b"all of a group" in client.lrange("notes", 0, -1))
    pipeline = (add.message(1, 2) | add.message(10) | add.message(100)).run()
    assert pipeline.get_result(block=True, timeout=int(left() * 1000)) == 113
    assert result(third_time.send()) == 3
    try:
        result(fail.send())
        raise AssertionError("an error was not passed on")
    except ResultFailure as error:
        assert "as it should" in str(error)
    # Messages that failed for good are kept for a while.
    eventually("a dead letter", lambda: client.zcard("dramatiq:default.XQ") == 1)


def later():
    for name, delay in (("second", 600), ("first", 200)):
        note.send_with_options(args=(name,), delay=delay)
    eventually("both", lambda: client.lrange("notes", -2, -1) == [b"first", b"second"])


def shared_limits():
    for n in range(5):
        alone.send(n)
    eventually("five of them", lambda: client.llen("alone") == 5)
    assert set(client.lrange("alone", 0, -1)) == {b"1"}
    bucket = BucketRateLimiter(limits, "bucket", limit=3, bucket=3_600_000)
    for limiter in (bucket, WindowRateLimiter(limits, "window", limit=3, window=3_600)):
        allowed = []
        for _ in range(5):
            with limiter.acquire(raise_on_failure=False) as acquired:
                allowed.append(acquired)
        assert allowed == [True] * 3 + [False] * 2
    barrier = Barrier(limits, "barrier", ttl=60_000)
    assert barrier.create(parties=2) and not barrier.wait(block=False) and barrier.wait(block=False)


def main():
    early = add.send(1, 2)
    with worker() as first:
        assert result(early) == 3
        eventually("nothing that waits", lambda: broker.do_qsize("default") == 0)
        hang.send()
        eventually("a message in progress", lambda: client.exists("hanging"))
        os.kill(int(client.lindex("hanging", 0)), signal.SIGKILL)
        first.wait(left())
    print("lost workers", flush=True)
    with worker() as one, worker() as other:
        eventually("the message elsewhere", lambda: client.llen("hanging") == 2)
        for check in (results, later, shared_limits):
            print(check.__name__, flush=True)
            check()
        broker.join("default", timeout=int(left() * 1000))
        # Each worker finishes its current message: both at the same time.
        one.terminate()
        other.terminate()
    print("all passed")


if __name__ == "__main__":
    main()
