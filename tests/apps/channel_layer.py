"""Django Channels over both layers of channels_redis, queues in lists and pub/sub: channel_layer.py URL."""

import asyncio
import sys

from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from checks import left


async def receive(layer, channel):
    return await asyncio.wait_for(layer.receive(channel), left())


async def conversations(here, there):
    """Two layers, as in two processes."""
    ann, bob, eve = await here.new_channel(), await there.new_channel(), await there.new_channel()
    await here.send(bob, {"type": "hello", "text": "für Bob", "n": [1, 2.5, None]})
    assert await receive(there, bob) == {"type": "hello", "text": "für Bob", "n": [1, 2.5, None]}
    await here.group_add("room", ann)
    await there.group_add("room", bob)
    await there.group_add("room", eve)
    await there.group_send("room", {"type": "chat", "text": "to all"})
    for layer, channel in ((here, ann), (there, bob), (there, eve)):
        assert await receive(layer, channel) == {"type": "chat", "text": "to all"}
    await there.group_discard("room", eve)
    await here.group_send("room", {"type": "chat", "text": "without eve"})
    await here.send(eve, {"type": "only", "text": "eve"})
    assert (await receive(there, bob))["text"] == "without eve"
    assert (await receive(there, eve))["text"] == "eve"
    for n in range(200):
        await here.send(bob, {"type": "n", "n": n})
        assert (await receive(there, bob))["n"] == n


async def queues(here, there):
    """Further features of the layer that stores messages, most of them in scripts."""
    for n in range(3):
        await here.send("work", {"type": "job", "n": n})
    try:
        await here.send("work", {"type": "job", "n": 3})
        raise AssertionError("a fourth message in a channel for three")
    except ChannelFull:
        pass
    # A group message is stored only for members with room.
    await here.group_add("workers", "work")
    await here.group_add("workers", "idle")
    await here.group_send("workers", {"type": "job", "n": "all"})
    assert [(await receive(there, "work"))["n"] for _ in range(3)] == [0, 1, 2]
    assert (await receive(there, "idle"))["n"] == "all"
    await here.send("work", {"type": "job", "n": "last"})
    assert (await receive(there, "work"))["n"] == "last"
    many = [f"member{n}" for n in range(50)]
    for member in many:
        await here.group_add("many", member)
    await here.group_send("many", {"type": "job", "n": "many"})
    assert [(await receive(there, member))["n"] for member in many] == ["many"] * 50
    await here.send("gone", {"type": "job"})
    await here.flush()
    await here.send("gone", {"type": "job", "n": "new"})
    assert (await receive(here, "gone"))["n"] == "new"


async def main():
    for tests, layer, options in (
        ((conversations,), RedisPubSubChannelLayer, {}),
        ((conversations, queues), RedisChannelLayer, {"channel_capacity": {"work": 3}}),
    ):
        here, there = (layer(hosts=[sys.argv[1]], **options) for _ in range(2))
        try:
            for test in tests:
                print(f"{test.__name__} over {layer.__name__}", flush=True)
                await test(here, there)
        finally:
            await here.flush()
            await there.flush()
    print("all passed")


asyncio.run(main())
