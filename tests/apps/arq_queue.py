"""Jobs of arq, from a queue to a worker in a separate process: arq_queue.py URL.

The worker is `arq` as a user starts it, on the settings at the end of this file.
"""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta

import arq
import arq.connections
import arq.jobs
from checks import left, process

URL = sys.argv[1] if __name__ == "__main__" else os.environ["ARQ_TEST_URL"]
REDIS = arq.connections.RedisSettings.from_dsn(URL)


async def add(context, left, right):
    return left + right


async def fail(context):
    raise RuntimeError("as it should")


async def third_time(context):
    if context["job_try"] < 3:
        raise arq.Retry(defer=0.05)
    return context["job_try"]


async def forever(context):
    await asyncio.Event().wait()


async def tick(context):
    await context["redis"].incr("ticks")


class WorkerSettings:
    redis_settings = REDIS
    functions = [add, fail, third_time, forever]
    cron_jobs = [arq.cron(tick, second=set(range(60)))]
    allow_abort_jobs = True
    poll_delay = 0.05
    health_check_interval = 10


async def result(job):
    return await job.result(timeout=left(), poll_delay=0.01)


async def eventually(what, probe):
    async with asyncio.timeout(left()):
        while not await probe():
            await asyncio.sleep(0.01)
    print(what, flush=True)


async def jobs(queue):
    # Before there is a worker: queued jobs stay, once for each name.
    waiting = [await queue.enqueue_job("add", n, 1) for n in range(20)]
    later = await queue.enqueue_job("add", 20, 1, _defer_by=timedelta(seconds=2))
    once = await queue.enqueue_job("add", 1, 1, _job_id="once")
    assert await queue.enqueue_job("add", 2, 2, _job_id="once") is None
    assert await once.status() == arq.jobs.JobStatus.queued and await later.status() == arq.jobs.JobStatus.deferred
    assert len(await queue.queued_jobs()) == 22
    environment = {**os.environ, "ARQ_TEST_URL": URL, "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-m", "arq", "arq_queue.WorkerSettings"]
    with process(*command, env=environment):
        assert [await result(job) for job in waiting] == list(range(1, 21))
        assert await result(later) == 21 and await result(once) == 2
        print("results", flush=True)
        try:
            await result(await queue.enqueue_job("fail"))
            raise AssertionError("an error was not passed on")
        except RuntimeError as error:
            assert str(error) == "as it should"
        assert await result(await queue.enqueue_job("third_time")) == 3
        print("errors and retries", flush=True)
        stuck = await queue.enqueue_job("forever")

        async def in_progress():
            return await stuck.status() == arq.jobs.JobStatus.in_progress

        await eventually("a job in progress", in_progress)
        assert await stuck.abort(timeout=left(), poll_delay=0.01) is True

        async def ticked():
            return int(await queue.get("ticks") or 0) >= 2

        await eventually("cron", ticked)
        info = await waiting[0].result_info()
        assert info.success and info.args == (0, 1) and info.function == "add"
        assert len(await queue.all_job_results()) >= 24
        assert {job.function for job in await queue.queued_jobs()} <= {"cron:tick"}
        subprocess.run([*command, "--check"], env=environment, check=True, timeout=left())


async def main():
    queue = await arq.create_pool(REDIS)
    try:
        async with asyncio.timeout(left()):
            await jobs(queue)
    finally:
        await queue.aclose()
    print("all passed")


if __name__ == "__main__":
    asyncio.run(main())
