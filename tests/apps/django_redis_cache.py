"""django-redis, the other cache of Django for Redis: django_redis_cache.py URL."""

import sys
import threading

import django
from checks import eventually, left
from django.conf import settings


def cache_in(database, **options):
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": sys.argv[1].removesuffix("/0") + f"/{database}",
        "OPTIONS": options,
    }


settings.configure(
    CACHES={
        "default": cache_in(0),
        "json": cache_in(
            1,
            SERIALIZER="django_redis.serializers.json.JSONSerializer",
            COMPRESSOR="django_redis.compressors.zlib.ZlibCompressor",
        ),
    }
)
django.setup()

from django.core.cache import cache, caches  # noqa: E402
from django_redis import get_redis_connection  # noqa: E402


def values(cache):
    cache.set("user", {"name": "ann", "tags": ["a", "b"]}, timeout=60)
    assert cache.get("user") == {"name": "ann", "tags": ["a", "b"]}
    assert cache.set("user", 1, nx=True) is False
    assert 0 < cache.ttl("user") <= 60 and cache.pttl("user") <= 60_000 and cache.ttl("none") == 0
    assert cache.expire("user", 5) and cache.ttl("user") <= 5
    assert cache.persist("user") and cache.ttl("user") is None
    cache.set_many({f"item:{n}": n for n in range(250)})
    assert cache.get_many([f"item:{n}" for n in range(250)]) == {f"item:{n}": n for n in range(250)}
    assert sorted(cache.keys("item:1*")) == sorted(f"item:{n}" for n in range(250) if str(n).startswith("1"))
    assert set(cache.iter_keys("item:*", itersize=10)) == {f"item:{n}" for n in range(250)}
    assert cache.delete_pattern("item:1*", itersize=10) == 111
    assert len(cache.keys("item:*")) == 139
    cache.set("short", 1, timeout=0.05)
    eventually("the end of a value", lambda: "short" not in cache)


def counters(cache):
    """Counters in scripts: they only change existing keys, and keep the expiry."""
    cache.set("count", 1, timeout=60)
    assert cache.incr("count") == 2 and cache.incr("count", 40) == 42 and cache.decr("count", 2) == 40
    assert 0 < cache.ttl("count") <= 60
    try:
        cache.incr("none")
        raise AssertionError("a key that is not there was incremented")
    except ValueError:
        assert "none" not in cache
    assert cache.incr("new", ignore_key_check=True) == 1
    # A number beyond Redis's integers is stored as a pickled value.
    cache.set("huge", 2**63 - 1, timeout=60)
    assert cache.incr("huge") == 2**63 and cache.get("huge") == 2**63
    assert cache.incr_version("count") == 2 and cache.get("count") is None and cache.get("count", version=2) == 40

    def count():
        for _ in range(50):
            cache.incr("count", version=2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(left())
    assert cache.get("count", version=2) == 240


def locks(cache):
    with cache.lock("lock", timeout=60):
        other = cache.lock("lock", timeout=60, blocking_timeout=0.05)
        assert not other.acquire()
    assert other.acquire()
    other.release()
    running = []

    def work():
        for _ in range(5):
            with cache.lock("crowd", timeout=60, sleep=0.002):
                running.append(len(running))
                running.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(left())
    assert running == []


def structures():
    """Redis types that the cache exposes."""
    assert cache.sadd("set", "a", "b") == 2 and cache.sismember("set", "a") and cache.smembers("set") == {"a", "b"}
    assert cache.hset("hash", "field", {"n": 1}) == 1 and cache.hexists("hash", "field")
    assert cache.hkeys("hash") == ["field"] and cache.hdel("hash", "field") == 1
    assert get_redis_connection("default").keys("*set") == [b":1:set"]
    cache.clear()
    assert get_redis_connection("default").dbsize() == 0


def main():
    for each in (cache, caches["json"]):
        for test in (values, counters, locks):
            print(test.__name__, flush=True)
            test(each)
    structures()
    assert caches["json"].get("user") is not None
    print("all passed")


main()
