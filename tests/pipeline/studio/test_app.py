"""The studio's addresses, as a page asks them."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.studio import app as module
from pipeline.studio import uploads
from pipeline.studio.app import STATIC, make_app
from pipeline.studio.models import Models
from pipeline.studio.worker import Worker
from tests.pipeline.sampling.makers import HALF, KEPT
from tests.pipeline.studio.makers import (
    FREE,
    bomb,
    decoded,
    names,
    parse_events,
    png,
    row_reference,
)

TOKEN = "token"


@pytest.fixture
def page(models: Models) -> Iterator[TestClient]:
    """A page that has opened the studio."""
    app = make_app(Worker(models), TOKEN, ("127.0.0.1",))
    with TestClient(app, base_url="http://127.0.0.1:8643") as client:
        assert client.get(f"/?token={TOKEN}").status_code == 200
        yield client


def made(page: TestClient, **parts: Any) -> Any:
    """The last event of a request."""
    begun = page.post("/api/jobs", json={**FREE, **parts})
    assert begun.status_code == 202, begun.text
    events = parse_events(page.get(f"/api/jobs/{begun.json()['id']}/events").text)
    assert names(events)[-1] == "done"
    return events[-1][1]


def test_the_page_and_its_files_come_from_here(page: TestClient) -> None:
    """The page, its modules, no way out of their folder."""
    found = page.get("/")
    assert found.headers["content-type"].startswith("text/html")
    assert 'src="static/studio.js"' in found.text
    preloaded = re.findall(r"</static/(\w+\.js)>; rel=modulepreload", found.headers["link"])
    assert preloaded == sorted(path.name for path in Path(str(STATIC)).glob("*.js"))
    script = page.get("/static/studio.js")
    assert "javascript" in script.headers["content-type"]
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/none.js", "/none"):
        assert page.get(path).status_code == 404
    facts = page.get("/api/run").json()
    assert facts["limits"]["upload_bytes"] == 16 * 2**20
    assert facts["limits"]["queue"] == 16


def test_a_request_from_end_to_end(page: TestClient) -> None:
    """Made, restored from one of its PNGs, made again: the same bytes."""
    first = made(page, seed=5)
    image = decoded(first["images"][3]["png"])
    found = page.post("/api/restore", content=image).json()
    assert (found["image"], found["warnings"]) == (3, [])
    assert found["request"] == first["request"]
    again = made(page, **found["request"])
    assert decoded(again["images"][3]["png"]) == image
    said = page.post("/api/say", json=found["request"]).json()
    assert said == {name: first[name] for name in ("request", "command", "python", "files")}
    other = page.post("/api/restore", content=image.replace(b'"number":2', b'"number":1'))
    assert other.status_code == 400  # the sum of the chunk is wrong


def test_a_result_is_kept_parts_of(page: TestClient, models: Models) -> None:
    """As tokens; shown, downloaded, and edited."""
    first = made(page)["images"][0]
    tokens = {name: first[name] for name in ("leaves", "content")}
    reference = {**tokens, "tokenizer": models.generators.tokenizer, "name": "result"}
    found = made(page, reference=reference, keep=KEPT)
    assert found["files"] == ["reference.json"]
    assert made(page, reference=reference, region=HALF)["files"] == ["mask.png", "reference.json"]
    film = page.post("/api/film", json={"reference": reference}).json()
    assert [each["stage"] for each in film["film"]] == [0, 1, 2, 3, 4]
    assert page.post("/api/files/gif", json={"reference": reference}).content[:4] == b"GIF8"
    many = {"references": [reference] * 2, "names": ["a"], "columns": 2}
    for name in ("sheet", "contact"):
        picture = page.post(f"/api/files/{name}", json=many)
        assert picture.content[:4] == b"\x89PNG"
        assert picture.headers["content-disposition"].startswith("attachment;")
    zipped = page.post("/api/files/bundle", json=found["request"]).content
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert json.loads(archive.read("reference.json"))["leaves"] == tokens["leaves"]


def test_drawings_and_uploads(page: TestClient, models: Models) -> None:
    """A drawing's hierarchy, a map, a mask, a photo, a row of the store."""
    drawn = page.post("/api/drawing", json={"regions": HALF})
    assert drawn.json()["determined"] == 2
    half = png(np.array([[0, 255]]))
    assert page.post("/api/map", content=half).json()["regions"] == HALF
    assert page.post("/api/mask", content=half).json()["region"] == HALF
    photo = page.post("/api/photo", content=png(np.zeros((9, 9, 3))), headers={"X-Name": "a%20b"})
    reference = photo.json()["reference"]
    assert reference["name"] == "a b"
    made(page, reference=reference, keep=KEPT)
    row = page.post("/api/film", json={"reference": row_reference(models)}).json()
    assert row["label"] is not None
    made(page, reference=row_reference(models), region=HALF)


def test_what_is_refused_is_one_line(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the status that fits."""
    monkeypatch.setattr(uploads, "MOST_BYTES", 1000)
    monkeypatch.setattr(module, "MOST_JSON", 1000)
    large = b"x" * 1001
    for path, body, status, words in (
        ("jobs", b"{", 400, "this is not JSON"),
        ("jobs", b'{"classes": [9]}', 400, "there is no class 9"),
        ("jobs", large, 413, "larger than 1,000 bytes"),
        ("drawing", b"null", 400, "a drawing is a JSON object"),
        ("drawing", b'{"regions": [0]}', 400, "regions has 1 entries"),
        ("map", large, 413, "larger than 1,000 bytes"),
        ("map", bomb(), 400, "too many pixels"),
        ("mask", b"", 400, "empty file"),
        ("photo", bomb(), 400, "too many pixels"),
        ("photo", b"x", 400, "not an image"),
        ("restore", b"x", 400, "not JSON"),
        ("restore", png(np.zeros((4, 4))), 400, "carries no request"),
        ("film", b"{}", 400, "a reference is a JSON object"),
        ("film", b'{"reference": {"store": "/etc", "row": 1}}', 400, "--store /etc"),
        ("files/contact", b"{}", 400, "name 1..64 references"),
    ):
        found = page.post(f"/api/{path}", content=body)
        assert found.status_code == status, (path, found.text)
        assert words in found.json()["error"]
        assert "\n" not in found.json()["error"]
    for method, path in (("GET", "/api/jobs/x/events"), ("DELETE", "/api/jobs/x")):
        found = page.request(method, path)
        assert (found.status_code, "not known" in found.json()["error"]) == (404, True)


def test_photos_need_a_tokenizer(models: Models) -> None:
    """The page is told, and refused."""
    without = Models(models.options, None, models.generators, None, None)
    app = make_app(Worker(without), TOKEN, ("127.0.0.1",))
    with TestClient(app, base_url="http://127.0.0.1:8643") as page:
        page.get(f"/?token={TOKEN}")
        assert page.get("/api/run").json()["photo"] is False
        found = page.post("/api/photo", content=png(np.zeros((9, 9, 3))))
        assert (found.status_code, "--tokenizer" in found.json()["error"]) == (409, True)
        assert page.get("/store/").status_code == 404


def test_a_stream_is_read_on(page: TestClient) -> None:
    """After a lost connection, from the event after the last one that came."""
    id = page.post("/api/jobs", json=FREE).json()["id"]
    path = f"/api/jobs/{id}/events"
    whole = page.get(path).text
    assert page.get(path).headers["content-type"].startswith("text/event-stream")
    rest = page.get(path, headers={"Last-Event-ID": "2"}).text
    assert whole.endswith(rest)
    assert rest.startswith("id: 3\n")
    assert page.get(path, headers={"Last-Event-ID": "x"}).text == whole
