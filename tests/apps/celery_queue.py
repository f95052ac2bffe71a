"""Celery with Redis as broker and result backend, and its workers in separate processes: celery_queue.py URL."""

import os
import sys

import celery
import redis
from celery.exceptions import ChordError, TaskRevokedError
from checks import eventually, left, process

URL = sys.argv[1] if __name__ == "__main__" else os.environ["CELERY_TEST_URL"]
app = celery.Celery("celery_queue", broker=URL, backend=URL)
app.conf.update(
    result_expires=60,
    broker_connection_retry_on_startup=True,
)
if "--without-mingle" in sys.argv:
    # The second worker gets the tasks that the first took and did not acknowledge in this time.
    app.conf.broker_transport_options = {
        "visibility_timeout": 1,
        "unacked_mutex_expire": 2,
        "unacked_restore_interval": 0.2,
        "unacked_restore_throttle": 1,
    }


@app.task(name="add")
def add(left, right):
    return left + right


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="fail")
def fail():
    raise ValueError("as it should")


@app.task(name="third_time", bind=True, max_retries=5)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task(name="slow", acks_late=True)
def slow(name):
    """Never returns in the first worker that takes it."""
    client = redis.Redis.from_url(URL)
    if client.incr(f"tries:{name}") == 1:
        client.blpop("never", 0)
    return "done"


def worker(*more):
    environment = {**os.environ, "CELERY_TEST_URL": URL, "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-m", "celery", "-A", "celery_queue", "worker", "--pool", "threads", "-c", "4"]
    return process(*command, "--loglevel", "warning", *more, env=environment)


def fails(result, kind):
    try:
        result.get(timeout=left())
    except kind as error:
        return str(error)
    raise AssertionError("an error was not passed on")


def results():
    assert [add.s(n, n).apply_async().get(timeout=left()) for n in range(10)] == [2 * n for n in range(10)]
    assert celery.group(add.s(n, n) for n in range(50))().get(timeout=left()) == [2 * n for n in range(50)]
    assert (add.s(1, 2) | add.s(10) | add.s(100))().get(timeout=left()) == 113
    assert fails(fail.delay(), ValueError) == "as it should"
    assert third_time.delay().get(timeout=left()) == 2
    assert add.apply_async((5, 5), countdown=0.2, priority=3).get(timeout=left()) == 10
    forgotten = add.delay(1, 1)
    assert forgotten.get(timeout=left()) == 2
    forgotten.forget()
    assert forgotten.status == "PENDING"


def chords():
    """A chord: the task after many others, whose results a script counts."""
    assert celery.chord(add.s(n, 1) for n in range(30))(total.s()).get(timeout=left()) == 465
    many = celery.group(celery.chord([add.s(n, m) for m in range(5)], total.s()) for n in range(5)) | total.s()
    assert many().get(timeout=left()) == 100
    error = celery.chord([add.s(1, 1), fail.s()])(total.s()).get(timeout=left(), propagate=False)
    assert isinstance(error, ChordError) and "as it should" in str(error)
    assert celery.chain(celery.group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(100))().get(timeout=left()) == 106


def remote_control():
    """Remote control messages to all workers use pub/sub."""
    control = app.control
    assert eventually("a worker's answer", lambda: control.ping(timeout=0.2))[0].popitem()[1] == {"ok": "pong"}
    later = add.apply_async((0, 0), countdown=3600)
    inspect = control.inspect(timeout=0.2)

    def scheduled():
        found = (inspect.scheduled() or {}).values()
        return any(task["request"]["id"] == later.id for tasks in found for task in tasks)

    eventually("a task that waits for its time", scheduled)
    control.revoke("gone")
    eventually("word of it", lambda: any("gone" in ids for ids in (inspect.revoked() or {}).values()))
    fails(add.apply_async((0, 0), task_id="gone"), TaskRevokedError)


def main():
    client = redis.Redis.from_url(URL)
    early = add.delay(1, 2)
    assert early.status == "PENDING"
    with worker() as first:
        assert early.get(timeout=left()) == 3
        for check in (results, chords, remote_control):
            print(check.__name__, flush=True)
            check()
        lost = slow.delay("lost")
        eventually("a task in progress", lambda: client.get("tries:lost"))
        first.kill()
    print("lost workers", flush=True)
    with worker("--without-mingle", "--without-gossip"):
        assert lost.get(timeout=left()) == "done"
    print("all passed")


if __name__ == "__main__":
    main()
