"""Tasks of huey, from a queue to its consumer in a separate process: huey_queue.py URL."""

import os
import pathlib
import sys

from checks import eventually, left, process
from huey import PriorityRedisHuey, RedisHuey
from huey.api import TaskException, chord
from huey.contrib.helpers import lock_task_semaphore

URL = os.environ.setdefault("HUEY_TEST_URL", sys.argv[-1])
huey = RedisHuey("app", url=URL, store_intermediate_errors=False)
urgent = PriorityRedisHuey("urgent", url=URL)
redis = huey.storage.conn


@huey.task()
def add(left, right):
    return left + right


@huey.task()
def most(numbers):
    return max(numbers)


@huey.task()
def fail():
    raise ValueError("as it should")


@huey.task(retries=3)
def third_time():
    tries = redis.incr("tries")
    if tries < 3:
        raise ValueError("not yet")
    return tries


@huey.task()
def most_at_once():
    """A task of which two may run at a time."""
    most = redis.incr("running")
    redis.blpop("never", 0.02)
    redis.decr("running")
    return most


@huey.task(retries=1000)
@lock_task_semaphore(huey, "two", 2)
def limited():
    return most_at_once.call_local()


@huey.task(retries=1000)
@huey.lock_task("one")
def alone():
    return most_at_once.call_local()


@urgent.task()
def note(name):
    redis.rpush("notes", name)


def consumer(name, *more):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    command = pathlib.Path(sys.executable).with_name("huey_consumer")
    return process(command, f"huey_queue.{name}", "--quiet", "--delay", "0.05", *more, env=environment)


def result(task):
    return task.get(blocking=True, timeout=left())


def results():
    assert [result(add(n, 1)) for n in range(5)] == [1, 2, 3, 4, 5]
    assert add.map([(n, n) for n in range(20)]).get(blocking=True, timeout=left()) == [2 * n for n in range(20)]
    chain = add.s(1, 2).then(add, 10).then(add, 100)
    assert [result(each) for each in huey.enqueue(chain)] == [3, 13, 113]
    try:
        result(fail())
        raise AssertionError("an error was not passed on")
    except TaskException as error:
        assert "as it should" in str(error)
    assert result(third_time()) == 3
    assert result(huey.enqueue(chord([add.s(n, n) for n in range(5)], most.s()))) == 8


def later():
    task = add.schedule((5, 5), delay=1)
    gone = add.schedule((6, 6), delay=3600)
    revoked = add.schedule((7, 7), delay=1)
    revoked.revoke()
    again = add.schedule((8, 8), delay=3600).reschedule(delay=1)
    assert revoked.is_revoked() and not task.is_revoked()
    assert result(task) == 10 and result(again) == 16
    eventually("one that waits", lambda: [each.id for each in huey.scheduled() if each.args == (6, 6)] == [gone.id])


def limits():
    for task, allowed in ((limited, 2), (alone, 1)):
        tasks = [task() for _ in range(8)]
        assert max(result(each) for each in tasks) <= allowed


def order():
    for name, priority in (("low", 1), ("high", 9), ("middle", 5), ("high too", 9)):
        note(name, priority=priority)
    with consumer("urgent", "--workers", "1"):
        eventually("four tasks", lambda: redis.llen("notes") == 4)
    assert redis.lrange("notes", 0, -1) == [b"high", b"high too", b"middle", b"low"]


def main():
    early = add(1, 2)
    assert early() is None and len(huey) == 1
    with consumer("huey", "--workers", "4"):
        assert result(early) == 3
        for check in (results, later, limits):
            print(check.__name__, flush=True)
            check()
    order()
    print("all passed")


if __name__ == "__main__":
    # The consumer finds the tasks by this module's name.
    import huey_queue

    huey_queue.main()
