"""The view's pages within the studio."""

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from nvg.view.server import EVERY_ANSWER
from pipeline.studio.models import Models
from pipeline.studio.pages import store_routes


@pytest.fixture
def page(models: Models) -> TestClient:
    return TestClient(Starlette(routes=store_routes(models)))


def test_answers_are_those_of_the_view(page: TestClient, models: Models) -> None:
    """The page, lists, records and thumbnails, by their relative addresses; its own policy."""
    found = page.get("/store")
    assert found.url.path == "/store/"
    assert "<html" in found.text
    assert '"studio": "../#row="' in found.text
    assert {name: found.headers[name] for name in EVERY_ANSWER} == EVERY_ANSWER
    listed = page.get("/store/list?count=2&offset=1").json()
    assert (listed["total"], [item["row"] for item in listed["items"]]) == (10, [1, 2])
    thumb = page.get(f"/store/{listed['items'][0]['thumb']}")
    assert thumb.content[:4] == b"\x89PNG"
    assert models.store
    assert page.get("/store/image/1").json()["key"] == models.store.entry(1)["key"]


def test_nonsense_is_not_found(page: TestClient) -> None:
    """In one line."""
    for path in ("none", "image/x", "image/99", "list?count=x", "../api/run"):
        found = page.get(f"/store/{path}")
        assert found.status_code == 404
        assert "\n" not in found.text
