"""Flask with Flask-Caching and Flask-Session: flask_app.py URL.

Two applications with separate connections represent two processes, which share cached pages, results and sessions.
"""

import sys

import flask
import flask_caching
import flask_session
import redis
from checks import eventually

URL = sys.argv[1]
computed = []


def create():
    app = flask.Flask(__name__)
    app.config.update(
        CACHE_TYPE="RedisCache",
        CACHE_REDIS_URL=URL,
        CACHE_DEFAULT_TIMEOUT=60,
        SESSION_TYPE="redis",
        SESSION_REDIS=redis.Redis.from_url(URL),
    )
    cache = flask_caching.Cache(app)
    flask_session.Session(app)

    @app.get("/page")
    @cache.cached()
    def page():
        computed.append("page")
        return f"page {len(computed)}"

    @cache.memoize()
    def square(n):
        computed.append(n)
        return n * n

    @app.get("/square/<int:n>")
    def show(n):
        return str(square(n))

    @app.get("/visit")
    def visit():
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return str(flask.session["visits"])

    @app.get("/leave")
    def leave():
        flask.session.clear()
        return "left"

    return app, cache, square


def text(client, path):
    response = client.get(path)
    assert response.status_code == 200, response.status
    return response.text


def caching(one, two):
    (first, cache, square), (second, other, _) = one, two
    assert [text(app.test_client(), "/page") for app in (first, second, first)] == ["page 1"] * 3
    assert [text(app.test_client(), "/square/7") for app in (first, second)] == ["49"] * 2
    assert computed == ["page", 7]
    with first.app_context():
        cache.delete_memoized(square)
    assert text(second.test_client(), "/square/7") == "49" and computed == ["page", 7, 7]
    with first.app_context():
        assert cache.set_many({f"k{n}": [n] for n in range(100)})
        cache.set("soon", 1, timeout=1)
    with second.app_context():
        assert other.get_many("k0", "k99", "none") == [[0], [99], None]
        assert other.add("k0", 1) is False and other.delete_many("k0", "k1") and not other.has("k0")
        eventually("the end of a value", lambda: other.get("soon") is None)
        assert other.clear()
    with first.app_context():
        assert cache.get("k2") is None


def sessions(one, two):
    first, second = one[0], two[0]
    ann, bob = first.test_client(), second.test_client()
    assert [text(ann, "/visit"), text(ann, "/visit"), text(bob, "/visit")] == ["1", "2", "1"]
    # The same cookie in the other application.
    cookie = ann.get_cookie("session")
    elsewhere = second.test_client()
    elsewhere.set_cookie("session", cookie.value)
    assert text(elsewhere, "/visit") == "3" and text(ann, "/visit") == "4"
    assert text(elsewhere, "/leave") == "left" and text(ann, "/visit") == "1" and text(bob, "/visit") == "2"


both = create(), create()
for test in (caching, sessions):
    print(test.__name__, flush=True)
    test(*both)
print("all passed")
