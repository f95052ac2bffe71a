"""Django's own RedisCache, and features built on it: django_cache.py URL.

The cache's methods, pages that it keeps, and sessions.
"""

import sys

import django
from checks import eventually
from django.conf import settings

settings.configure(
    SECRET_KEY="not a secret",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": sys.argv[1]},
        "other": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": sys.argv[1].removesuffix("/0") + "/3",
            "KEY_PREFIX": "other",
            "TIMEOUT": None,
        },
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
django.setup()

from django.core.cache import cache, caches  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.cache import cache_page  # noqa: E402

rendered = []


@cache_page(60)
def page(request):
    rendered.append(request.path)
    return HttpResponse(f"page {len(rendered)}")


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


def leave(request):
    request.session.flush()
    return HttpResponse("left")


urlpatterns = [path("page", page), path("visits", visits), path("leave", leave)]


def values():
    cache.set("user", {"name": "ann", "tags": ["a", "b"]})
    assert cache.get("user") == {"name": "ann", "tags": ["a", "b"]}
    assert cache.get("none") is None and cache.get("none", "default") == "default"
    assert cache.add("user", 1) is False and cache.add("new", 1) is True
    assert cache.get_or_set("made", lambda: 42) == 42 and cache.get_or_set("made", 0) == 42
    assert cache.incr("made") == 43 and cache.decr("made", 3) == 40 and cache.get("made") == 40
    try:
        cache.incr("none")
        raise AssertionError("a key that is not there was incremented")
    except ValueError:
        pass
    assert cache.has_key("user") and "user" in cache
    assert cache.delete("user") is True and cache.delete("user") is False
    cache.set("page", "old", version=1)
    assert cache.incr_version("page") == 2 and cache.get("page", version=2) == "old" and cache.get("page") is None


def many():
    # One MULTI with a SET and an expiry for each.
    assert cache.set_many({f"k{n}": n for n in range(100)}, timeout=60) == []
    assert cache.get_many([f"k{n}" for n in range(100)] + ["none"]) == {f"k{n}": n for n in range(100)}
    cache.delete_many([f"k{n}" for n in range(50)])
    assert len(cache.get_many([f"k{n}" for n in range(100)])) == 50


def lifetimes():
    cache.set("soon", 1, timeout=1)
    cache.set("touched", 1, timeout=60)
    assert cache.touch("touched", 1) is True and cache.touch("none") is False
    cache.set("kept", 1, timeout=60)
    eventually("the end of two values", lambda: cache.get_many(["soon", "touched"]) == {})
    assert cache.get("kept") == 1
    cache.set("never", 1, timeout=0)
    assert cache.get("never") is None


def databases():
    cache.set("k", "here")
    caches["other"].set("k", "there")
    assert (cache.get("k"), caches["other"].get("k")) == ("here", "there")
    cache.clear()
    assert (cache.get("k"), caches["other"].get("k")) == (None, "there")


def pages():
    bodies = [Client().get("/page").content for _ in range(3)]
    assert bodies == [b"page 1"] * 3 and rendered == ["/page"], bodies
    cache.clear()
    assert Client().get("/page").content == b"page 2"


def sessions():
    ann, bob = Client(), Client()
    assert [ann.get("/visits").content for _ in range(3)] == [b"1", b"2", b"3"]
    assert bob.get("/visits").content == b"1"
    assert ann.get("/leave").content == b"left" and ann.get("/visits").content == b"1"
    assert bob.get("/visits").content == b"2"


for test in (values, many, lifetimes, databases, pages, sessions):
    cache.clear()
    print(test.__name__, flush=True)
    test()
print("all passed")
