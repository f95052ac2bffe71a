"""redis-py's RedisCluster during failovers and resharding: redis_py_cluster.py PORTS TAGS.

See tests/apps/cluster.rs for the commands on standard input.
"""

import sys
import threading
import time

import redis
from checks import eventually
from redis.cluster import ClusterNode, RedisCluster

PORTS, TAGS = (words.split(",") for words in sys.argv[1:])

PAIR = "return {redis.call('INCR', KEYS[1]), redis.call('INCR', KEYS[2])}"


def connect():
    nodes = [ClusterNode("127.0.0.1", int(port)) for port in PORTS]
    # A pause of writes during a failover may take seconds on a busy machine.
    return RedisCluster(startup_nodes=nodes, decode_responses=True, socket_timeout=60)


def typical_requests(r):
    assert r.set("key", "value") and r.get("key") == "value"
    assert r.mset_nonatomic({f"many:{n}": n for n in range(300)})
    assert r.mget_nonatomic([f"many:{n}" for n in range(300)]) == [str(n) for n in range(300)]
    assert r.mset({"{tag}:a": 1, "{tag}:b": 2}) and r.mget("{tag}:a", "{tag}:b") == ["1", "2"]
    try:
        r.mset({"a": 1, "b": 2})
        raise AssertionError("keys of two slots were written by one command")
    except redis.RedisClusterException as error:
        assert "same" in str(error), error
    assert sorted(r.scan_iter("many:*", count=7)) == sorted(f"many:{n}" for n in range(300))
    assert sum(r.dbsize(target_nodes=node) for node in r.get_primaries()) == 303
    with r.pipeline() as pipe:
        for n in range(300):
            pipe.incr(f"many:{n}")
        assert pipe.execute() == list(range(1, 301))
    with r.pipeline(transaction=True) as pipe:
        pipe.watch("{tag}:a")
        before = int(pipe.get("{tag}:a"))
        pipe.multi()
        pipe.set("{tag}:a", before + 10).incr("{tag}:b")
        replies = pipe.execute()
        assert replies == ["OK", 3], replies
    assert r.get("{tag}:a") == "11"
    pair = r.register_script(PAIR)
    assert pair(keys=["{tag}:a", "{tag}:b"]) == [12, 4]
    assert r.eval("return redis.call('GET', KEYS[1])", 1, "{tag}:b") == "4"
    assert r.delete(*(f"many:{n}" for n in range(300)), "key", "{tag}:a", "{tag}:b") == 303
    assert not list(r.scan_iter())


def messages(r):
    """Pub/sub and sharded pub/sub, on channels of all nodes."""
    sharded, plain = r.pubsub(), r.pubsub()
    for tag in TAGS:
        sharded.ssubscribe(f"{{{tag}}}:news")
    plain.subscribe("news")
    heard = set()

    def hear():
        for tag in TAGS:
            r.spublish(f"{{{tag}}}:news", tag)
        r.publish("news", "plain")
        while message := sharded.get_sharded_message(timeout=0.01):
            heard.add(message["data"])
        while message := plain.get_message(timeout=0.01):
            heard.add(message["data"])
        return heard >= {*TAGS, "plain"}

    eventually("messages of all channels", hear)
    sharded.close()
    plain.close()


class Worker(threading.Thread):
    """Sends requests for the keys of one tag, whose values it knows. Collects errors and wrong values."""

    def __init__(self, r, tag, period, mode):
        super().__init__(daemon=True)
        self.r, self.tag, self.period, self.mode = r, tag, period, mode
        self.pair = r.register_script(PAIR)
        self.rounds, self.stopped = 0, False
        self.errors = set()
        self.generation = 0
        self.renew()

    def renew(self):
        """Switches to new keys: after an error, the values of the old ones are unknown."""
        prefix = f"{{{self.tag}}}:{self.period}:{self.generation}"
        self.single, self.left, self.right = (f"{prefix}:{name}" for name in ("single", "left", "right"))
        self.texts = [f"{prefix}:text:{n}" for n in range(2)]
        self.count, self.pairs = 0, 0
        self.generation += 1

    def failed(self, kind, error):
        if kind not in self.errors:
            # In one write, and to stderr, which has no replies to the harness: other threads print too.
            sys.stderr.write(f"{self.mode} {self.tag} {kind} {error}\n")
        self.errors.add(kind)
        self.renew()

    def requests(self):
        """The requests of a round: each returns its reply and the expected one."""
        yield lambda: (self.r.incr(self.single), self.count + 1)
        yield lambda: (self.r.get(self.single), str(self.count + 1))
        self.count += 1
        yield lambda: (self.r.mset(dict.fromkeys(self.texts, self.rounds)), True)
        yield lambda: (self.r.mget(self.texts), [str(self.rounds)] * 2)
        self.pairs += 1
        yield lambda: (self.pair(keys=[self.left, self.right]), [self.pairs] * 2)
        self.pairs += 1
        yield lambda: (self.r.pipeline().incr(self.left).incr(self.right).execute(), [self.pairs] * 2)
        # During a resharding no client can send a transaction to a slot that moves.
        if self.mode == "failover":
            self.pairs += 1
            transaction = self.r.pipeline(transaction=True)
            yield lambda: (transaction.incr(self.left).incr(self.right).execute(), [self.pairs] * 2)

    def run(self):
        while not self.stopped:
            for request in self.requests():
                try:
                    reply, wanted = request()
                    if self.mode != "crash" and reply != wanted:
                        self.failed(f"wrong value: {reply}, not {wanted}", "")
                        break
                except Exception as error:
                    self.failed(type(error).__name__, error)
                    break
            self.rounds += 1
            # Without a pause the workers would use all cores.
            time.sleep(0.002)


def reply(word, *words):
    print(">", word, *words, flush=True)


def main():
    r = connect()
    typical_requests(r)
    messages(r)
    reply("ready")
    workers, period = [], 0
    for line in sys.stdin:
        command, *words = line.split()
        if command == "start":
            period += 1
            workers = [Worker(r, tag, period, words[0]) for tag in TAGS]
            for worker in workers:
                worker.start()
        if command == "advance":
            goals = [(worker, worker.rounds + 3) for worker in workers]
            for worker, goal in goals:
                eventually(f"{worker.tag} goes on", lambda: worker.rounds >= goal)
            reply("advanced")
        if command == "stop":
            for worker in workers:
                worker.stopped = True
            for worker in workers:
                worker.join()
            for kind in {kind for worker in workers for kind in worker.errors}:
                reply("error", kind)
            reply("stopped", sum(worker.rounds for worker in workers))


main()
