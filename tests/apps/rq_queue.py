"""Jobs of RQ, from queues to two workers in separate processes: rq_queue.py URL.

The workers are `rq worker` as a user starts it, with its scheduler; each job runs in a fork.
"""

import contextlib
import os
import pathlib
import sys
from datetime import timedelta

import redis
from checks import eventually, left, process
from rq import Callback, Queue, RateLimit, Repeat, Retry
from rq.command import send_stop_job_command
from rq.exceptions import DuplicateJobError
from rq.group import Group
from rq.job import Job

URL = sys.argv[1] if __name__ == "__main__" else os.environ["RQ_TEST_URL"]
# By default a request fails after five seconds, also one that waits for a result.
client = redis.Redis.from_url(URL, socket_timeout=None)


def add(left, right):
    return left + right


def note(text):
    """Records the order in which jobs run."""
    return client.rpush("notes", text)


def third_time():
    tries = client.incr("tries")
    if tries % 3 != 0:
        raise ValueError("not yet")
    return tries


def fail():
    raise ValueError("as it should")


def hang():
    client.set("hanging", os.getpid())
    client.blpop("never", 0)


def alone():
    """A job of which only one may run at a time."""
    most = client.incr("running")
    client.blpop("never", 0.02)
    client.decr("running")
    return most


def on_failure(job, connection, kind, value, traceback):
    connection.rpush("notes", f"{job.id}: {value}")


def returned(job):
    result = job.latest_result(timeout=int(left()) + 1)
    assert result and result.type == result.Type.SUCCESSFUL, result and result.exc_string
    return result.return_value


def notes():
    return [note.decode() for note in client.lrange("notes", 0, -1)]


@contextlib.contextmanager
def worker(*more):
    environment = {**os.environ, "RQ_TEST_URL": URL, "PYTHONPATH": os.path.dirname(__file__)}
    command = [pathlib.Path(sys.executable).with_name("rq"), "worker", "--quiet", "--url", URL, *more]
    with process(*command, "high", "default", env=environment) as child:
        yield child
        # A worker finishes its current job.
        child.terminate()
        child.wait(left())


def order(high, default):
    """Jobs queued before there is a worker."""
    for queue, name, front in ((default, "b", False), (high, "a", False), (default, "c", False), (high, "first", True)):
        queue.enqueue("rq_queue.note", name, at_front=front)
    cancelled = default.enqueue("rq_queue.note", "cancelled")
    cancelled.cancel()
    with worker("--burst"):
        eventually("four jobs", lambda: client.llen("notes") == 4)
    assert notes() == ["first", "a", "b", "c"]
    assert cancelled.get_status() == "canceled"
    client.delete("notes")


def results(high, default):
    jobs = default.enqueue_many([Queue.prepare_data("rq_queue.add", (n, 1)) for n in range(10)])
    assert [returned(job) for job in jobs] == list(range(1, 11))
    first = default.enqueue("rq_queue.add", 1, 2)
    second = default.enqueue("rq_queue.note", "after", depends_on=first)
    returned(second)
    assert returned(first) == 3 and notes() == ["after"]
    default.enqueue("rq_queue.add", 1, 1, job_id="once", unique=True)
    try:
        default.enqueue("rq_queue.add", 2, 2, job_id="once", unique=True)
        raise AssertionError("a second job of the same name")
    except DuplicateJobError:
        pass
    assert returned(Job.fetch("once", connection=client)) == 2
    group = Group.create(connection=client)
    group.enqueue_many(queue=high, job_datas=[Queue.prepare_data("rq_queue.add", (n, n)) for n in range(3)])
    assert sorted(returned(job) for job in group.get_jobs()) == [0, 2, 4]


def failures(high, default):
    assert returned(default.enqueue("rq_queue.third_time", retry=Retry(max=3))) == 3
    failed = default.enqueue("rq_queue.fail", job_id="broken", on_failure=Callback("rq_queue.on_failure"))
    eventually("a failure", lambda: failed.get_status() == "failed")
    assert "as it should" in failed.latest_result().exc_string
    eventually("word of it", lambda: "broken: as it should" in notes())
    assert default.failed_job_registry.get_job_ids() == ["broken"]
    default.failed_job_registry.requeue("broken")
    eventually("another failure", lambda: len(failed.results()) == 2)
    hung = default.enqueue("rq_queue.hang")
    eventually("a job in progress", lambda: client.exists("hanging"))
    send_stop_job_command(client, hung.id)
    eventually("its end", lambda: hung.get_status() == "stopped")


def limits(high, default):
    one = RateLimit("alone", 1)
    jobs = [default.enqueue("rq_queue.alone", rate_limit=one) for _ in range(6)]
    assert [returned(job) for job in jobs] == [1] * 6


def later(high, default):
    job = default.enqueue_in(timedelta(seconds=1), "rq_queue.add", 5, 5)
    assert job.get_status() == "scheduled" and job.id in default.scheduled_job_registry
    assert returned(job) == 10
    client.delete("notes")
    default.enqueue("rq_queue.note", "again", repeat=Repeat(times=2, interval=0))
    eventually("three times", lambda: notes() == ["again"] * 3)


def main():
    high, default = Queue("high", connection=client), Queue(connection=client)
    order(high, default)
    print("order", flush=True)
    with worker("--with-scheduler") as one, worker() as two:
        for check in (results, failures, limits, later):
            print(check.__name__, flush=True)
            check(high, default)
        assert {one.pid, two.pid} == {int(pid) for pid in pids()}
    print("all passed")


def pids():
    return [client.hget(key, "pid") for key in client.smembers("rq:workers")]


if __name__ == "__main__":
    main()
