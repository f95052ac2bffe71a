"""Django Channels over its pub/sub layer: channel_layer.py URL.

The other layer of channels_redis counts capacities in scripts.
"""

import asyncio
import sys

from channels_redis.pubsub import RedisPubSubChannelLayer
from checks import left


async def main():
    # Two processes' worth of layers.
    here, there = (RedisPubSubChannelLayer(hosts=[sys.argv[1]]) for _ in range(2))
    try:
        ann, bob, eve = await here.new_channel(), await there.new_channel(), await there.new_channel()

        async def receive(layer, channel):
            return await asyncio.wait_for(layer.receive(channel), left())

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
    finally:
        await here.flush()
        await there.flush()
    print("all passed")


asyncio.run(main())
