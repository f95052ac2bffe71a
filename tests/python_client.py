"""Uses a server through redis-py, in RESP2 and RESP3: python_client.py PORT [CERTIFICATES].

If CERTIFICATES, a directory, is given, it uses TLS.
"""

import sys

import redis


def refused(action, text):
    """Whether an action fails with an error that contains the text."""
    try:
        action()
    except redis.ResponseError as error:
        return text in str(error) or text in type(error).__name__.upper()
    return False


def strings(r):
    assert r.ping()
    assert r.set("k", "value") is True
    assert r.get("k") == b"value"
    assert r.get("none") is None
    assert r.set("k", "x", nx=True) is None
    assert r.set("k", "x", xx=True, get=True) == b"value"
    assert r.set("e", "v", ex=100) and 90 <= r.ttl("e") <= 100
    assert r.getex("e", persist=True) == b"v" and r.ttl("e") == -1
    assert r.getdel("e") == b"v" and not r.exists("e")
    assert r.append("k", "yz") == 3 and r.strlen("k") == 3
    assert r.mset({"a": 1, "b": 2}) and r.mget("a", "none", "b") == [b"1", None, b"2"]
    assert r.msetnx({"b": 1, "c": 2}) is False
    raw = bytes(range(256)) * 300
    assert r.set("raw", raw) and r.get("raw") == raw


def counters(r):
    assert r.incr("n") == 1 and r.incrby("n", 9) == 10 and r.decr("n") == 9 and r.decrby("n", 4) == 5
    assert r.incrbyfloat("f", 0.1) == 0.1 and abs(r.incrbyfloat("f", 0.2) - 0.3) < 1e-12
    r.set("word", "abc")
    assert refused(lambda: r.incr("word"), "value is not an integer or out of range")


def keys(r):
    r.flushall()
    with r.pipeline(transaction=False) as pipe:
        for n in range(500):
            pipe.set(f"key:{n}", n)
        assert pipe.execute() == [True] * 500
    wanted = {f"key:{n}".encode() for n in range(500)}
    assert r.dbsize() == 500
    assert set(r.scan_iter(match="key:*", count=17)) == wanted
    assert set(r.keys("key:1?")) == {f"key:1{n}".encode() for n in range(10)}
    assert r.randomkey() in wanted
    assert r.expire("key:1", 100) and r.pexpireat("key:2", 33177117420000) and r.expiretime("key:2") == 33177117420
    assert r.persist("key:1") and r.type("key:1") == b"string"
    assert r.object("encoding", "key:1") == b"int"
    assert r.delete("key:1", "key:2", "none") == 2 and r.unlink("key:3") == 1 and r.touch("key:4", "none") == 1


def ranges(r):
    assert r.set("k", "Hello World") and r.setrange("k", 6, "Redis") == 11 and r.getrange("k", -5, -1) == b"Redis"
    assert r.mset({"one": "ohmytext", "two": "mynewtext"}) and r.lcs("one", "two") == b"mytext"
    assert r.lcs("one", "two", len=True) == 6
    assert refused(lambda: r.setrange("k", -1, "x"), "offset is out of range")


def bitmaps(r):
    assert r.setbit("bits", 7, 1) == 0 and r.getbit("bits", 7) == 1 and r.getbit("bits", 100) == 0
    assert r.bitcount("bits") == 1 and r.bitpos("bits", 1) == 7 and r.bitcount("bits", 0, 6, "BIT") == 0
    assert r.bitop("not", "flipped", "bits") == 1 and r.get("flipped") == b"\xfe"
    field = r.bitfield("bits", "SAT").set("u8", 0, 200).incrby("u8", 0, 100).get("u4", "#1")
    assert field.execute() == [1, 255, 15]
    assert r.bitfield_ro("bits", "u8", 0) == [255]


def hyperloglogs(r):
    assert r.pfadd("one", "a", "b", "c") == 1 and r.pfadd("one", "a") == 0 and r.pfadd("two", "c", "d") == 1
    assert r.pfcount("one", "two") == 4 and r.pfmerge("all", "one", "two") and r.pfcount("all") == 4
    with r.pipeline(transaction=False) as pipe:
        for n in range(0, 20_000, 100):
            pipe.pfadd("many", *range(n, n + 100))
        pipe.execute()
    assert abs(r.pfcount("many") - 20_000) < 1_000


def moving(r):
    assert r.set("a", "1", ex=100) and r.rename("a", "b") and 90 < r.ttl("b") <= 100
    assert r.set("c", "2") and r.renamenx("b", "c") is False and r.copy("b", "d") and r.copy("b", "c", replace=True)
    assert r.move("d", 1) and r.swapdb(0, 1) and r.get("d") == b"1" and r.swapdb(0, 1)
    dump = r.dump("b")
    assert r.restore("restored", 0, dump) == b"OK" and r.get("restored") == b"1"
    assert refused(lambda: r.restore("restored", 0, dump), "BUSYKEY")
    assert refused(lambda: r.restore("bad", 0, b"nonsense"), "DUMP payload version or checksum are wrong")
    assert refused(lambda: r.rename("none", "other"), "no such key")
    assert r.wait(0, 10) == 0


def collections(r):
    assert r.rpush("list", 3, 1, 2) == 3 and r.lrange("list", 0, -1) == [b"3", b"1", b"2"]
    assert r.sort("list") == [b"1", b"2", b"3"] and r.sort("list", desc=True, start=0, num=1) == [b"3"]
    assert r.sort("list", store="sorted") == 3 and r.lpop("sorted") == b"1" and r.llen("sorted") == 2
    assert r.sadd("set", "a", "b") == 2 and r.smembers("set") == {b"a", b"b"} and r.sismember("set", "a")
    assert set(r.sscan_iter("set")) == {b"a", b"b"}
    assert r.hset("hash", mapping={"f": "v", "n": 1}) == 2 and r.hgetall("hash") == {b"f": b"v", b"n": b"1"}
    assert r.hincrby("hash", "n", 4) == 5 and dict(r.hscan_iter("hash"))[b"n"] == b"5"
    assert r.zadd("zset", {"a": 1, "b": 2.5}) == 2 and r.zscore("zset", "b") == 2.5 and r.zrank("zset", "b") == 1
    pairs = [tuple(pair) for pair in r.zrange("zset", 0, -1, withscores=True)]
    assert pairs == [(b"a", 1.0), (b"b", 2.5)], pairs
    assert refused(lambda: r.incr("list"), "WRONGTYPE")


def server(r):
    assert r.config_get("hz") == {"hz": "10"}
    assert r.config_set("timeout", 0) and r.config_resetstat()
    info = r.info()
    assert info["redis_mode"] == "standalone" and info["connected_clients"] >= 1, info
    assert r.info("everything")["redis_version"].startswith("7.") and "cmdstat_ping" not in r.info("commandstats")
    assert r.client_setname("me") and r.client_getname() in ("me", b"me")
    assert any(client["name"] == "me" for client in r.client_list())
    assert r.client_id() == int(r.client_info()["id"])
    assert r.client_pause(1) and r.client_unpause() and r.client_no_evict("ON") in (b"OK", "OK", True)
    assert r.command_count() > 100 and "get" in r.command()
    assert r.command_getkeys("MSET", "a", "1", "b", "2") in ([b"a", b"b"], ["a", "b"])
    assert r.echo("hello") == b"hello" and r.lastsave() and r.role()[0] in (b"master", "master")
    seconds, microseconds = r.time()
    assert seconds > 1_600_000_000 and 0 <= microseconds < 1_000_000


def looking_inside(r):
    r.set("k", "v")
    assert r.memory_usage("k") > 0 and r.memory_stats()["keys.count"] == 1 and r.memory_purge()
    assert r.object("refcount", "k") == 1 and r.object("idletime", "k") < 60
    assert r.config_set("slowlog-log-slower-than", 0) and r.set("slow", "1")
    slow = r.slowlog_get(1)[0]
    assert slow["duration"] >= 0 and slow["command"] == b"SET slow 1", slow
    assert r.config_set("slowlog-log-slower-than", 10_000) and r.slowlog_len() >= 1 and r.slowlog_reset()
    assert r.latency_latest() == [] and r.latency_history("command") == [] and r.latency_reset() == 0


def monitoring(r):
    with r.monitor() as monitor:
        r.set("watched", "x")
        lines = (monitor.next_command() for _ in range(100))
        seen = next(line for line in lines if "watched" in line["command"])
    assert seen["command"] == "SET watched x" and seen["db"] == 0, seen


TESTS = (
    strings,
    counters,
    keys,
    ranges,
    bitmaps,
    hyperloglogs,
    moving,
    collections,
    server,
    looking_inside,
    monitoring,
)


def encryption(directory):
    """The options for TLS."""
    return {
        "ssl": True,
        "ssl_ca_certs": f"{directory}/ca.crt",
        "ssl_certfile": f"{directory}/client.crt",
        "ssl_keyfile": f"{directory}/client.key",
    }


def main(port, directory=None):
    options = {"port": port, **(encryption(directory) if directory else {})}
    passed = []
    for protocol in (2, 3):
        with redis.Redis(**options, protocol=protocol, socket_timeout=30) as r:
            for test in TESTS:
                r.flushall()
                test(r)
        with redis.Redis(**options, protocol=protocol, db=5, decode_responses=True) as r:
            assert r.dbsize() == 0 and r.set("five", "5") and r.get("five") == "5"
        passed.append(f"RESP{protocol}")
    print("all passed:", *passed)


main(int(sys.argv[1]), *sys.argv[2:])
