"""The local server: its answers, what it refuses, and its page in a browser."""

import contextlib
import json
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvg.errors import InputError
from nvg.store import Store
from nvg.view.html import Originals
from nvg.view.server import HOST, MOST_CLIENTS, Browser, make_server
from tests.nvg.store.makers import make_store
from tests.nvg.view.makers import NASTY


@pytest.fixture
def address(odd: Store, tmp_path: Path) -> Iterator[str]:
    """A server over the odd store, compared with a store of other tokens."""
    beside = make_store(tmp_path / "b.vgs", 8, seed=5)
    server = make_server(Browser(odd, beside), 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://{HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def get(url: str, **headers: str) -> tuple[int, bytes, str]:
    """Status, body and content type."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as reply:
            return reply.status, reply.read(), reply.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers["Content-Type"]


def test_lists_are_filtered_and_parted(address: str, odd: Store) -> None:
    """By class, status and part of the key, in slices, with the total count."""
    found = json.loads(get(f"{address}/list?count=3&offset=2")[1])
    assert found["total"] == 8
    assert [item["row"] for item in found["items"]] == [2, 3, 4]
    errors = json.loads(get(f"{address}/list?status=error")[1])
    assert [(item["row"], item["thumb"]) for item in errors["items"]] == [(5, None)]
    keyed = json.loads(get(f"{address}/list?search=IMAGE-7")[1])
    assert [item["row"] for item in keyed["items"]] == [7]
    name = odd.index["class"][1].as_py()
    classed = json.loads(get(f"{address}/list?class={name}")[1])
    assert {item["class"] for item in classed["items"]} == {name}


def test_lists_are_filtered_by_reason_and_residual(address: str, odd: Store) -> None:
    """What went wrong, and how much a stage leaves; both in one line where they are nonsense."""
    reason = odd.entry(5)["reason"]
    assert reason
    asked = urllib.parse.quote(reason[1:].upper())
    found = json.loads(get(f"{address}/list?reason={asked}")[1])
    assert [item["row"] for item in found["items"]] == [5]
    errors = {row: odd.entry(row)["stage_error"][2] for row in odd.ok_rows(None).tolist()}
    least = sorted(errors.values())[3]
    found = json.loads(get(f"{address}/list?stage=2&least={least!r}")[1])
    assert [item["row"] for item in found["items"]] == [r for r, e in errors.items() if e >= least]
    for query, words in (("least=x", b"must be a number"), ("least=inf", b"must be a number")):
        status, said, _ = get(f"{address}/list?{query}")
        assert (status, words in said) == (404, True)
    assert get(f"{address}/list?least=0&stage=9")[:2] == (404, b"there is no stage 9")


def test_a_map_of_all_images(address: str, odd: Store, tmp_path: Path) -> None:
    """Twelve bytes each; computed once; none without the decoder."""
    status, data, kind = get(f"{address}/map")
    assert (status, kind, len(data)) == (200, "application/octet-stream", 12 * 7)
    shown = Browser(odd, studio="../#row=")
    assert shown.map() is shown.map()
    assert shown.map() == data
    assert b'"studio": "../#row="' in shown.page()
    assert b'"studio"' not in Browser(odd).page()
    lost = make_store(tmp_path / "lost.vgs", 8)
    (Path(lost.path) / "detokenizer.safetensors").unlink()
    with pytest.raises(InputError, match="has lost its decoder"):
        Browser(lost).map()


def test_lists_are_filtered_by_split(tmp_path: Path) -> None:
    """The rows of either; a record says which it is of; a token is found in both."""
    shown = Browser(make_store(tmp_path / "a.vgs", 10, val=(8, 9)))
    for split, rows in (("train", list(range(8))), ("val", [8, 9]), ("", list(range(10)))):
        items = shown.list_rows({"split": split})["items"]
        assert [item["row"] for item in items] == rows
    assert [shown.image(row)["split"] for row in (0, 9)] == ["train", "val"]
    assert "10 images (8 train, 2 val)" in shown.page().decode()
    token = int(shown.store.content[9, 0, 0])
    same = shown.rows_with_code({"stage": "0", "code": str(token)})
    assert 9 in [entry["row"] for entry in same]


def test_an_image_and_its_like_in_the_other_store(address: str, odd: Store, tmp_path: Path) -> None:
    """Records of both stores, a thumbnail, and an error for a key that the other store lacks."""
    own = json.loads(get(f"{address}/image/3")[1])
    assert own["leaves"] == odd.leaves[3, 0].tolist()
    other = json.loads(get(f"{address}/image/3?other=1")[1])
    assert other["key"] == own["key"]
    assert other["content"] != own["content"]
    assert get(f"{address}/thumb/3")[1].startswith(b"\x89PNG")
    status, said, _ = get(f"{address}/image/0?other=1")
    assert status == 404
    assert b"has no image" in said


def test_images_with_the_same_token(address: str, odd: Store) -> None:
    """Equals a search through every row, without the image itself."""
    for stage in (0, 2, 4):
        part = odd.geometry.stage_slice(stage)
        code = int(odd.content[1, 0][part][0])
        found = json.loads(get(f"{address}/same?stage={stage}&code={code}&row=1")[1])
        wanted = [
            row
            for row in odd.ok_rows().tolist()
            if row != 1 and code in odd.content[row, 0][part].tolist()
        ]
        assert [item["row"] for item in found] == wanted


def test_nothing_else_is_served(address: str) -> None:
    """Unknown paths, rows out of range, bad numbers and foreign host names are refused."""
    for path in ("/manifest.json", "/../a.vgs", "/image/../0", "/image/99", "/thumb/5", "/list/x"):
        status, said, kind = get(address + path)
        assert status == 404, path
        assert kind.startswith("text/plain")
        assert said
    assert get(f"{address}/list?offset=a")[0] == 404
    assert get(f"{address}/same?stage=9")[0] == 404
    assert get(f"{address}/", Host="evil.example:8642")[0] == 403
    port = address.rpartition(":")[2]
    assert get(f"{address}/", Host=f"localhost:{port}")[0] == 200
    for host in ("localhost", "localhost:1", f"a.localhost:{port}", f"127.0.0.1:{port}:{port}"):
        assert get(f"{address}/", Host=host)[0] == 403


def raw(address: str, request: bytes) -> bytes:
    """The whole answer to bytes."""
    port = int(address.rpartition(":")[2])
    with socket.create_connection((HOST, port), timeout=20) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize(
    "path",
    [
        f"/image/{'9' * 5000}",
        f"/thumb/{10**30}",
        f"/same?stage=0&code={10**30}",
        f"/list?offset={10**30}",
        "/list?search=%ff%00",
        "//[",
        "/image/٣",
        "/same?stage=-1",
    ],
)
def test_nonsense_is_answered_in_one_line(
    address: str, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """An answer, never silence, and nothing on the terminal."""
    host = address.removeprefix("http://")
    answer = raw(address, f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.0 404", b"HTTP/1.0 200"))
    assert b"Traceback" not in answer
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"\0\r\n"]
)
def test_every_answer_forbids_to_load_and_to_tell(address: str, request_: bytes) -> None:
    """Refusals and errors of the protocol included."""
    answer = raw(address, request_)
    if request_ != b"\0\r\n":  # as of HTTP 0.9, which has no headers
        assert b"Content-Security-Policy: default-src 'none';" in answer
        assert b"Referrer-Policy: no-referrer" in answer
    assert b"Traceback" not in answer


def test_clients_that_say_nothing_keep_nobody_out(address: str) -> None:
    """A hundred open connections, some with half a request, and an answer all the same."""
    port, before = int(address.rpartition(":")[2]), threading.active_count()
    silent = [socket.create_connection((HOST, port)) for _ in range(100)]
    try:
        for client in silent[::2]:
            with contextlib.suppress(OSError):
                client.sendall(b"GET / HT")
        assert get(f"{address}/list?count=1")[0] == 200
        assert threading.active_count() < before + MOST_CLIENTS + 5
    finally:
        for client in silent:
            client.close()


def test_a_store_that_is_moved_is_said(
    address: str, odd: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each request is answered in one line; the server goes on when the store is back."""
    place = Path(odd.path)
    place.rename(tmp_path / "moved")
    status, body, kind = get(f"{address}/image/3")
    assert (status, kind) == (500, "text/plain; charset=utf-8") or status == 404
    assert len(body.decode().splitlines()) == 1
    (tmp_path / "moved").rename(place)
    assert get(f"{address}/image/3")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_taken_port_is_named(odd: Store) -> None:
    """So is a number that is not a port."""
    first = make_server(Browser(odd), 0)
    with first, pytest.raises(InputError, match=f"port {first.server_port} cannot be used"):
        make_server(Browser(odd), first.server_port)
    with pytest.raises(InputError, match="port 99999 is not a port"):
        make_server(Browser(odd), 99999)


def test_originals_are_asked_for(odd: Store) -> None:
    """The server reads originals by row from the store that it shows."""
    asked: list[list[int]] = []

    def read(store: Store, rows: list[int]) -> Originals:
        asked.append(rows)
        return {}

    Browser(odd, originals=read).image(2)
    assert asked == [[2]]


@pytest.mark.browser
def test_the_page_browses(address: str, browser: Any) -> None:
    """It lists, filters and compares; it requests nothing elsewhere; odd keys stay text."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, seen = context.new_page(), []
    page.on("request", lambda asked: seen.append(asked.url))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.goto(f"{address}/")
    page.locator("canvas[data-part=map]").wait_for()
    assert page.locator("#panes h1").text_content() == f"row 0: {NASTY}"
    assert page.locator("#count").text_content() == "8 images match; 1 to 8 shown"
    page.locator("#list button").nth(3).click()
    page.get_by_role("heading", name="row 3: image-3").wait_for()
    page.locator("#compare").check()
    page.locator("#panes section").nth(1).wait_for()
    assert page.locator("#panes h1").all_text_contents() == ["row 3: image-3"] * 2
    page.locator("canvas[data-part=map]").first.hover(position={"x": 5, "y": 5})
    page.locator("[data-part=ask-same]").first.click()
    page.locator("[data-part=same] span").first.wait_for()
    page.locator("#search").fill("image-6")
    page.get_by_text("1 images match; 1 to 1 shown").wait_for()
    page.locator("#search").fill("")
    page.locator("#map-box summary").click()
    page.get_by_text("7 images; those with like tokens").wait_for()
    page.locator("#compare").uncheck()
    page.locator("#store-map").click(position={"x": 200, "y": 100})
    assert page.locator("#panes h1").count() == 1
    assert [url for url in seen if not url.startswith((address, "data:"))] == []
    assert page.evaluate("window.hit") is None
    context.close()
