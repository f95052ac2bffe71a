"""django-cacheops: results of queries, cached until their rows change: django_cacheops.py URL.

Scripts find the results that a change affects, from the conditions of the queries.
"""

import sys
import threading

import django
from checks import eventually, left
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["cacheops"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:cacheops?mode=memory&cache=shared"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    CACHEOPS_REDIS=sys.argv[1],
    CACHEOPS_DEFAULTS={"timeout": 60},
    CACHEOPS={"cacheops.*": {"ops": "all"}},
)
django.setup()

import cacheops  # noqa: E402
from cacheops.redis import redis_client  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.db.models import Q  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402


# Models must belong to an installed application: this module is the only one.
class Category(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        app_label = "cacheops"


class Article(models.Model):
    title = models.CharField(max_length=50)
    price = models.FloatField(default=1.5)
    hidden = models.BooleanField(default=False)
    category = models.ForeignKey(Category, null=True, on_delete=models.CASCADE)

    class Meta:
        app_label = "cacheops"


def queries(work):
    """The result of `work`, and the number of its database queries."""
    with CaptureQueriesContext(connection) as asked:
        result = work()
    return result, len(asked)


def kept(work):
    """The second call does not query the database."""
    result, _ = queries(work)
    assert queries(work) == (result, 0), work
    return result


def invalidation():
    books, films = (Category.objects.create(name=name) for name in ("books", "films"))
    for n in range(10):
        Article.objects.create(title=f"Größe {n}", price=n + 0.25, hidden=n % 2 == 0, category=books if n < 5 else films)
    of = {
        "books": lambda: sorted(a.title for a in Article.objects.filter(category=books)),
        "films": lambda: sorted(a.title for a in Article.objects.filter(category=films)),
        "none": lambda: sorted(a.title for a in Article.objects.filter(category=None)),
        "hidden": lambda: Article.objects.filter(hidden=True).count(),
        "either": lambda: sorted(a.id for a in Article.objects.filter(Q(category=books, hidden=True) | Q(price=7.25))),
        "one": lambda: Article.objects.get(pk=1).title,
    }
    for work in of.values():
        kept(work)

    def asks(change):
        """The queries whose results a change of an article has invalidated."""
        change()
        return {name for name, work in of.items() if queries(work)[1]}

    article = Article.objects.get(pk=10)
    article.title = "changed"
    assert asks(article.save) == {"films"}
    assert "changed" in of["films"]()
    article.category = None
    assert asks(article.save) == {"films", "none"}
    assert of["none"]() == ["changed"]
    first = Article.objects.get(pk=1)
    first.hidden = False
    assert asks(first.save) == {"books", "hidden", "either", "one"}
    assert asks(lambda: Article.objects.create(title="new", category=books)) == {"books"}
    assert asks(lambda: Article.objects.filter(pk=2).invalidated_update(price=7.25)) >= {"books", "either"}
    assert asks(lambda: cacheops.invalidate_obj(article)) == {"none"}
    assert asks(lambda: cacheops.invalidate_model(Article)) == set(of)
    for work in of.values():
        kept(work)
    cacheops.invalidate_all()
    assert redis_client.dbsize() == 0


def functions():
    calls = []

    @cacheops.cached_as(Article, timeout=60)
    def report():
        calls.append(1)
        return {"articles": Article.objects.count(), "calls": len(calls)}

    assert report() == report() == {"articles": 11, "calls": 1}
    Article.objects.create(title="another")
    assert report()["calls"] == 2 and report()["articles"] == 12
    # Only one of many concurrent readers computes the result.
    once = []

    @cacheops.cached_as(Category, timeout=60, lock=True)
    def slow():
        once.append(1)
        return sum(range(200_000))

    threads = [threading.Thread(target=slow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(left())
    assert len(once) == 1
    # Many keys are deleted in pieces.
    for n in range(1_500):
        Article.objects.filter(hidden=False, title=f"none {n}").count()
        if n % 500 == 0:
            assert queries(lambda n=n: Article.objects.filter(hidden=False, title=f"none {n}").count())[1] == 0
    cacheops.invalidate_model(Article)
    eventually("the end of what was kept", lambda: not redis_client.keys("q:*Article*"))


def main():
    with connection.schema_editor() as editor:
        editor.create_model(Category)
        editor.create_model(Article)
    for test in (invalidation, functions):
        print(test.__name__, flush=True)
        test()
    print("all passed")


main()
