"""Who may ask: the token, hosts, origins."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pipeline.studio.guard import EVERY_ANSWER, Guard, cookie_name

TOKEN = "secret-token"
LOCAL = ("127.0.0.1", "localhost")


async def answer(asked: Request) -> PlainTextResponse:
    return PlainTextResponse("in")


def client(hosts: tuple[str, ...] | None = LOCAL, url: str = "http://127.0.0.1:8643") -> TestClient:
    """A client of a guarded app that answers everything."""
    methods = ["GET", "POST", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", answer, methods=methods)])
    guard: Any = Guard(app, TOKEN, hosts)
    return TestClient(guard, base_url=url, follow_redirects=False)


def test_the_token_becomes_a_cookie() -> None:
    """Once it was in the address, it is in no address any more."""
    asking = client()
    assert asking.get("/").status_code == 403
    assert "ends in ?token=" in asking.get("/api/run").text
    assert asking.get("/?token=wrong").status_code == 403
    assert asking.get("/?token=%ff%00").status_code == 403
    assert asking.get("/api/run?token=secret-token").status_code == 403
    assert asking.get("/static/studio.js").text == "in"
    found = asking.get(f"/?token={TOKEN}")
    assert (found.status_code, found.headers["location"]) == (303, "/")
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert asking.get("/").text == "in"
    assert asking.post("/api/jobs").text == "in"


def test_every_answer_has_the_policy() -> None:
    """Refusals too."""
    for path in ("/", f"/?token={TOKEN}", "/static/a"):
        headers = client().get(path).headers
        assert {name: headers[name] for name in EVERY_ANSWER} == EVERY_ANSWER


@pytest.mark.parametrize("host", ["evil.example:8643", "evil.example", "[", "127.0.0.1.evil:1", ""])
def test_foreign_names_are_refused(host: str) -> None:
    """Even with the token: a name that resolves to this machine (DNS rebinding)."""
    found = client().get(f"/?token={TOKEN}", headers={"Host": host})
    assert (found.status_code, found.text) == (403, "only this machine is served")
    assert client(hosts=None).get("/static/a", headers={"Host": host}).text == "in"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:8643"}, True),
        ({"Origin": "http://127.0.0.1:8643", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://127.0.0.1:9"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
def test_only_the_page_itself_changes_anything(headers: dict[str, str], passes: bool) -> None:
    """Another page in the same browser has the cookie, and is refused."""
    asking = client()
    asking.get(f"/?token={TOKEN}")
    for method in ("POST", "DELETE"):
        found = asking.request(method, "/api/jobs", headers=headers)
        assert (found.status_code == 200) == passes
    assert asking.get("/api/run", headers=headers).status_code == 200


def test_cookies_are_of_a_port() -> None:
    """Two studios on one machine do not take each other's; nonsense is no cookie."""
    assert cookie_name("127.0.0.1:1") != cookie_name("127.0.0.1:2")
    assert cookie_name("studio") == "nvg-studio-80"
    for cookie in ("nvg-studio-8643=wrong", "=;;\x7f", "nvg-studio-1=secret-token"):
        assert client().get("/", headers={"Cookie": cookie}).status_code == 403
    good = {"Cookie": f"a=b; nvg-studio-8643={TOKEN}"}
    assert client().get("/", headers=good).status_code == 200
