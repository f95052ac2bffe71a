"""Uses a server through redis-py, in RESP2 and RESP3: python_client.py PORT."""

import sys

import redis


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
    try:
        r.incr("word")
    except redis.ResponseError as error:
        assert "value is not an integer or out of range" in str(error), error
    else:
        raise AssertionError("INCR of a word is no error")


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


def server(r):
    assert r.config_get("hz") == {"hz": "10"}
    assert r.config_set("timeout", 0)
    info = r.info()
    assert info["redis_mode"] == "standalone" and info["connected_clients"] >= 1, info
    assert r.client_setname("me") and r.client_getname() in ("me", b"me")
    assert any(client["name"] == "me" for client in r.client_list())
    assert r.client_id() > 0
    assert r.command_count() > 50
    assert r.echo("hello") == b"hello"
    seconds, microseconds = r.time()
    assert seconds > 1_600_000_000 and 0 <= microseconds < 1_000_000


def main(port):
    passed = []
    for protocol in (2, 3):
        with redis.Redis(port=port, protocol=protocol, socket_timeout=30) as r:
            r.flushall()
            for test in (strings, counters, keys, server):
                test(r)
        with redis.Redis(port=port, protocol=protocol, db=5, decode_responses=True) as r:
            assert r.dbsize() == 0 and r.set("five", "5") and r.get("five") == "5"
        passed.append(f"RESP{protocol}")
    print("all passed:", *passed)


main(int(sys.argv[1]))
