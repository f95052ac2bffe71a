"""Features of redis-py beyond single commands: redis_py.py URL.

Transactions as its pipelines send them by default, recipes with WATCH, pub/sub, and keyspace notifications. Its
client-side cache is not among them: redis-py refuses it for servers older than 7.4.
"""

import asyncio
import sys
import threading

import redis
import redis.asyncio
from checks import eventually, left
from redis.backoff import NoBackoff
from redis.retry import Retry

URL = sys.argv[1]


def connect(protocol, **options):
    # Without this a lost connection is not opened again.
    retry = Retry(NoBackoff(), 3)
    return redis.Redis.from_url(
        URL, protocol=protocol, decode_responses=True, socket_timeout=left(), retry=retry, **options
    )


def pipelines(r):
    with r.pipeline() as pipe:
        assert pipe.transaction
        pipe.set("stock", 10).decrby("stock", 3).hset("order", mapping={"item": "pear", "n": 3}).get("none")
        assert pipe.execute() == [True, 7, 2, None]
        assert pipe.execute() == []
    # An error during the execution does not affect the other commands.
    with r.pipeline() as pipe:
        pipe.incr("stock").incr("order").incr("stock")
        first, error, last = pipe.execute(raise_on_error=False)
        assert (first, last) == (8, 9) and "wrong kind of value" in str(error), error
    # An error while commands are queued aborts the transaction.
    with r.pipeline() as pipe:
        pipe.set("stock", 0).execute_command("NOSUCHCOMMAND").set("stock", 1)
        try:
            pipe.execute()
            raise AssertionError("a command that is not known was taken")
        except redis.ResponseError as error:
            assert "unknown command" in str(error), error
    assert r.get("stock") == "9"
    with r.pipeline() as pipe:
        for n in range(5_000):
            pipe.rpush("many", n)
        assert pipe.execute() == list(range(1, 5_001))
    # Values that arrive in several pieces, queued between small ones.
    texts = [str(n) * size for n, size in enumerate((1, 40_000, 5, 300_000, 32_768, 3_000_000))]
    with r.pipeline() as pipe:
        for n, text in enumerate(texts):
            pipe.set(f"text:{n}", text).append(f"text:{n}", "!").get(f"text:{n}")
        assert pipe.execute()[2::3] == [text + "!" for text in texts]


def pipelines_are_seen_whole(r):
    """A reader of both counters always sees the same values, while two threads change them."""
    r.mset({"left": 0, "right": 0})

    def move():
        with r.pipeline() as pipe:
            for _ in range(200):
                pipe.incr("left").incr("right").execute()

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    looks = 0
    while any(thread.is_alive() for thread in threads) or looks == 0:
        left, right = r.mget("left", "right")
        assert left == right
        looks += 1
    for thread in threads:
        thread.join()
    assert r.mget("left", "right") == ["400", "400"]


def watching(r):
    """The increment of redis-py's documentation, and a conflict that restarts it."""

    def conflicts(change):
        r.set("watched", 1, ex=100)
        with r.pipeline() as pipe:
            pipe.watch("watched")
            pipe.multi()
            pipe.incr("watched")
            change()
            try:
                pipe.execute()
                return False
            except redis.WatchError:
                return True

    assert not conflicts(lambda: r.set("other", 1))
    assert not conflicts(lambda: r.get("watched"))
    for change in (
        lambda: r.set("watched", 1),
        lambda: r.delete("watched"),
        lambda: r.expire("watched", 50),
        lambda: r.rename("watched", "elsewhere"),
        lambda: r.flushdb(),
    ):
        assert conflicts(change)

    def add(times):
        for _ in range(times):
            with r.pipeline() as pipe:
                while True:
                    try:
                        pipe.watch("sequence")
                        value = int(pipe.get("sequence") or 0)
                        pipe.multi()
                        pipe.set("sequence", value + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        continue

    threads = [threading.Thread(target=add, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert r.get("sequence") == "200"

    def take(pipe):
        left = int(pipe.get("sequence"))
        pipe.multi()
        pipe.set("sequence", left - 1)
        return left - 1

    assert r.transaction(take, "sequence", value_from_callable=True) == 199


def subscribing(r):
    def next_of(pubsub):
        return eventually("a message", lambda: pubsub.get_message(timeout=1))

    with r.pubsub() as pubsub:
        pubsub.subscribe("news", "weather")
        pubsub.psubscribe("n*")
        confirmed = [next_of(pubsub) for _ in range(3)]
        assert [(m["type"], m["channel"], m["data"]) for m in confirmed] == [
            ("subscribe", "news", 1),
            ("subscribe", "weather", 2),
            ("psubscribe", "n*", 3),
        ]
        assert r.publish("news", "hello") == 2 and r.publish("weather", "rain") == 1 and r.publish("empty", "") == 0
        heard = [next_of(pubsub) for _ in range(3)]
        assert [(m["type"], m["pattern"], m["channel"], m["data"]) for m in heard] == [
            ("message", None, "news", "hello"),
            ("pmessage", "n*", "news", "hello"),
            ("message", None, "weather", "rain"),
        ], heard
        assert sorted(r.pubsub_channels()) == ["news", "weather"] and r.pubsub_channels("w*") == ["weather"]
        assert r.pubsub_numsub("news", "none") == [("news", 1), ("none", 0)] and r.pubsub_numpat() == 1
        pubsub.unsubscribe()
        assert {next_of(pubsub)["channel"] for _ in range(2)} == {"news", "weather"}
        pubsub.punsubscribe()
        assert next_of(pubsub)["data"] == 0 and not pubsub.subscribed
    eventually("the end of the subscriptions", lambda: r.pubsub_channels() == [] and r.pubsub_numpat() == 0)

    # All published messages arrive, in order, short or long.
    with r.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("log")
        eventually("the subscription", lambda: r.publish("log", "begin") == 1)
        lines = [f"{n}" * (1 + n % 7 * 1_000) for n in range(3_000)]
        with r.pipeline() as pipe:
            for line in lines:
                pipe.publish("log", line)
            assert pipe.execute() == [1] * len(lines)
        assert next_of(pubsub)["data"] == "begin"
        assert [next_of(pubsub)["data"] for _ in lines] == lines

    with r.pubsub() as pubsub:
        pubsub.ssubscribe("shard")
        assert next_of(pubsub)["type"] == "ssubscribe"
        assert r.spublish("shard", "one") == 1 and next_of(pubsub)["data"] == "one"
        assert r.pubsub_shardchannels() == ["shard"]


def a_listener_in_a_thread_survives_its_connection(r):
    heard = []
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(**{"jobs": lambda message: heard.append(message["data"])})
    # The thread exits at `stop`; a lost connection is opened again, with its subscriptions.
    thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
    try:
        eventually("the subscription", lambda: r.publish("jobs", "first") == 1)
        eventually("the first message", lambda: "first" in heard)
        assert r.client_kill_filter(_type="pubsub") == 1
        eventually("the subscription again", lambda: r.publish("jobs", "second") == 1)
        eventually("the second message", lambda: "second" in heard)
    finally:
        thread.stop()
        thread.join(left())


def notifications(r):
    before = r.config_get("notify-keyspace-events")
    r.config_set("notify-keyspace-events", "KEA")
    try:
        with r.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.psubscribe("__keyevent@0__:*")
            eventually("the subscription", lambda: r.pubsub_numpat() == 1)
            r.set("session", "x", px=20)
            r.lpush("list", "a")
            r.delete("list")
            heard = set()

            def expired():
                message = pubsub.get_message(timeout=0.1)
                if message:
                    heard.add((message["channel"].rpartition(":")[2], message["data"]))
                return ("expired", "session") in heard

            eventually("the event of an expired key", expired)
            wanted = {("set", "session"), ("expire", "session"), ("lpush", "list"), ("del", "list")}
            assert wanted <= heard, heard
    finally:
        r.config_set("notify-keyspace-events", before["notify-keyspace-events"])


async def asynchronous(protocol):
    async with redis.asyncio.Redis.from_url(URL, protocol=protocol, decode_responses=True) as r:
        async with r.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe("chat")

            async def lines():
                heard = []
                async for message in pubsub.listen():
                    heard.append(message["data"])
                    if heard[-1] == "bye":
                        return heard

            reader = asyncio.create_task(lines())
            while await r.publish("chat", "start") == 0:
                await asyncio.sleep(0.005)
            async with r.pipeline() as pipe:
                results = await pipe.publish("chat", "hello").set("k", "v").publish("chat", "bye").execute()
            assert results == [1, True, 1], results
            heard = await asyncio.wait_for(reader, left())
            assert heard[-3:] == ["start", "hello", "bye"], heard
        popped = asyncio.create_task(r.blpop("queue", timeout=left()))
        async with r.pipeline(transaction=True) as pipe:
            await pipe.rpush("queue", "a", "b").llen("queue").execute()
        assert list(await popped) == ["queue", "a"]


TESTS = (
    pipelines,
    pipelines_are_seen_whole,
    watching,
    subscribing,
    a_listener_in_a_thread_survives_its_connection,
    notifications,
)

passed = []
for protocol in (2, 3):
    with connect(protocol) as r:
        for test in TESTS:
            r.flushall()
            print(f"RESP{protocol} {test.__name__}", flush=True)
            test(r)
    asyncio.run(asynchronous(protocol))
    passed.append(f"RESP{protocol}")
print("all passed:", *passed)
