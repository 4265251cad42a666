"""The studio over real sockets: two visitors, streams, its end."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvicorn

from nvg.errors import InputError
from nvg.tokenizer.autoencoder import Autoencoder
from pipeline.studio.models import Models, StudioOptions
from pipeline.studio.serve import bound_socket, is_loopback, serve_studio
from tests.pipeline.studio.makers import FREE, TOKEN, names, parse_events, running


@pytest.fixture
def port(models: Models) -> Iterator[int]:
    """The port of a studio on this machine."""
    with running(models) as (found, _):
        yield found


class Visitor:
    """A browser with its cookie."""

    def __init__(self, port: int) -> None:
        self.port, self.headers = port, {"Cookie": f"nvg-studio-{port}={TOKEN}"}
        self.open: list[Any] = []

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.open:
            each.close()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body."""
        answer = self._answer(method, path, None if body is None else json.dumps(body))
        return answer.status, answer.read()

    def stream(self, id: str) -> http.client.HTTPResponse:
        """The stream of a job, being read."""
        return self._answer("GET", f"/api/jobs/{id}/events")

    def _answer(self, method: str, path: str, body: str | None = None) -> http.client.HTTPResponse:
        there = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        there.request(method, path, body, self.headers)
        self.open += [there.getresponse(), there]
        found: http.client.HTTPResponse = self.open[-2]
        return found

    def begin(self, **parts: Any) -> str:
        """The id of a new job."""
        status, body = self.ask("POST", "/api/jobs", {**FREE, **parts})
        assert status == 202, body
        return str(json.loads(body)["id"])


def test_two_visitors_at_once(port: int) -> None:
    """Each gets the events of their own request, whole and in order."""

    def visit(seed: int) -> list[tuple[str, Any]]:
        with Visitor(port) as visitor:
            return parse_events(visitor.stream(visitor.begin(seed=seed)).read().decode())

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(visit, range(4)))
    for seed, events in enumerate(found):
        assert names(events)[-6:] == [*["stage"] * 5, "done"]
        assert events[-1][1]["request"]["seed"] == seed


def test_stages_come_before_the_end_and_a_cancelled_request_ends(port: int) -> None:
    """The first stage is there while hundreds of steps are still to come."""
    with Visitor(port) as visitor:
        id = visitor.begin(settings={"flow_steps": 200}, number=32)
        stream = visitor.stream(id)
        text = b""
        while b"event: stage" not in text:
            text += stream.readline()
        assert visitor.ask("DELETE", f"/api/jobs/{id}") == (204, b"")
        assert names(parse_events((text + stream.read()).decode()))[-1] == "cancelled"


def test_a_server_ends_with_its_streams_open(models: Models) -> None:
    """Nobody has to close a page first; what runs is cancelled."""
    with running(models) as (port, server), Visitor(port) as visitor:
        stream = visitor.stream(visitor.begin(settings={"flow_steps": 200}, number=32))
        assert stream.readline().startswith(b"id: 0")
        server.should_exit = True


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which only this machine reaches; what cannot be bound is one line."""
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [
        True
    ] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "192.168.0.1", "::", "host")] == [False] * 4
    with bound_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="choose another --port"):
            bound_socket("127.0.0.1", port)
    with pytest.raises(InputError, match="port 70000"):
        bound_socket("127.0.0.1", 70_000)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InputError, match="--host nowhere is no address"):
        bound_socket("nowhere", 0)


def test_kernels_are_compiled_beside_the_server(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves while the compiler is at work."""
    compiling, served = threading.Event(), threading.Event()

    def compile_long(model: Autoencoder) -> None:
        compiling.set()
        assert served.wait(20)

    def serve(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        assert compiling.wait(20)
        served.set()

    monkeypatch.setattr("pipeline.studio.warm.warm", compile_long)
    monkeypatch.setattr(uvicorn.Server, "run", serve)
    serve_studio(models.options, "127.0.0.1", 0, opens=False)
    assert served.is_set()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_address_is_printed(
    models: Models,
    host: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the token; more than this machine only with a warning."""
    opened: list[str] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr("webbrowser.open", opened.append)
    serve_studio(StudioOptions(run=models.options.run), host, 0, opens=True)
    said = capsys.readouterr().out
    assert said.startswith(f"{opened[0]} is the studio of {models.options.run}; stop with Ctrl-C")
    assert opened[0].startswith(f"http://{host}:")
    assert len(opened[0].partition("?token=")[2]) > 30
    assert ("nothing is encrypted" in caplog.text) == (host == "0.0.0.0")
