"""An S3 server on this machine, moto's, that can be told to misbehave.

What goes wrong is counted, not drawn, so that a test sees the same each time: every n-th request
fails, which none of the next attempts does. Fixtures that lend it are in `tests/conftest.py`.
"""

import itertools
import logging
import socket
import struct
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs

import fsspec
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"
Environ = dict[str, Any]
Answer = Iterable[bytes]


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How the server misbehaves; 0 is never."""

    delay: float = 0.0
    """Seconds before each answer."""
    slow_every: int = 0
    """Every so many requests one is answered 503 SlowDown, and not done."""
    reset_every: int = 0
    """Every so many one is done, and its connection reset: in the middle of what is read."""
    cut_every: int = 0
    """Every so many answers with a body one ends in its middle."""
    lag: int = 0
    """Listings of the server that pass until one shows a new object, or lacks a removed one."""


class Server:
    """An S3, moto's, behind what `faults` says, and a switch that makes chosen puts fail."""

    def __init__(self, app: Any = None) -> None:
        self.app = app or DomainDispatcherApplication(create_backend_app)
        self.answers: dict[str, list[str]] = {}  # part of a path -> statuses of the next puts
        self.refused = 0
        self.sent: Counter[str] = Counter()  # bytes by path of what was asked for
        self.done: Counter[str] = Counter()  # requests by method, and what went wrong by its name
        self.faults = Faults()
        self._count, self._bodies = itertools.count(1), itertools.count(1)
        self._listings = 0
        self._since: dict[str, int] = {}  # path of an object -> listings before it was there
        self._gone: dict[str, int] = {}  # and before it was removed

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Answer:
        faults, number = self.faults, next(self._count)
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        self.done[method] += 1
        time.sleep(faults.delay)
        if method == "PUT":
            for part, statuses in self.answers.items():
                if part in path and statuses:
                    self.refused += 1
                    return refuse(environ, start_response, statuses.pop(0), b"")
        if faults.slow_every and number % faults.slow_every == 0:
            self.done["slow"] += 1
            return refuse(environ, start_response, "503 Slow Down", SLOW_DOWN)
        begun: list[Any] = []
        answer = b"".join(self.app(environ, lambda *given: begun.append(given[:2])))
        status, headers = begun[-1]
        if status.startswith("2"):
            answer = self._listed(environ, answer)
        headers = [(k, v) for k, v in headers if k.lower() != "content-length" or method == "HEAD"]
        if method != "HEAD":
            headers.append(("Content-Length", str(len(answer))))
        if method == "GET":
            self.sent[path] += len(answer)
        if faults.reset_every and number % faults.reset_every == 0:
            self.done["reset"] += 1
            return self._broken(environ, start_response, status, headers, answer, True)
        is_cut = method == "GET" and len(answer) > 1 and faults.cut_every
        if is_cut and next(self._bodies) % faults.cut_every == 0:
            self.done["cut"] += 1
            return self._broken(environ, start_response, status, headers, answer, False)
        start_response(status, headers)
        return [answer]

    def written(self) -> list[str]:
        """Paths of the objects that are there."""
        return list(self._since)

    def _broken(
        self,
        environ: Environ,
        start_response: Callable[..., Any],
        status: str,
        headers: list[tuple[str, str]],
        answer: bytes,
        is_reset: bool,
    ) -> Iterator[bytes]:
        """Half of an answer, or none of what has no body; then the connection ends."""
        connection: socket.socket = environ["werkzeug.socket"]
        if answer:
            start_response(status, headers)
            yield answer[: len(answer) // 2]
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RD)  # the server then closes it, which resets it
        else:
            connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError

    def _listed(self, environ: Environ, answer: bytes) -> bytes:
        """Note what was written or removed; of a listing what it shows so far."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        if method == "GET" and "list-type" in query:
            self._listings += 1
            return self._late(path.strip("/"), query, answer) if self.faults.lag else answer
        if (method == "PUT" and "partNumber" not in query) or "uploadId" in query:
            self._since.setdefault(path, self._listings)
            self._gone.pop(path, None)
        removed = [path] if method == "DELETE" else []
        if method == "POST" and "delete" in query:
            found = ET.fromstring(answer).iter(f"{XML}Key")
            removed = [f"{path.rstrip('/')}/{key.text}" for key in found]
        for each in removed:
            if self._since.pop(each, None) is not None:
                self._gone[each] = self._listings
        return answer

    def _late(self, bucket: str, query: dict[str, list[str]], answer: bytes) -> bytes:
        """A listing without what is new, with what was just removed."""
        ET.register_namespace("", XML.strip("{}"))
        root, start = ET.fromstring(answer), f"/{bucket}/"
        now, prefix = self._listings - self.faults.lag, query.get("prefix", [""])[0]
        seen = {path for path, since in list(self._since.items()) if since <= now}
        late = {path for path, since in list(self._gone.items()) if since > now}
        for each in [*root.findall(f"{XML}Contents"), *root.findall(f"{XML}CommonPrefixes")]:
            name = f"{start}{(each.find(f'{XML}Key') or each[0]).text}"
            if not any(path == name or path.startswith(name) for path in seen | late):
                root.remove(each)
        if "delimiter" not in query:
            for path in sorted(each for each in late if each.startswith(start + prefix)):
                item = ET.SubElement(root, f"{XML}Contents")
                ET.SubElement(item, f"{XML}Key").text = path.removeprefix(start)
                ET.SubElement(item, f"{XML}Size").text = "1"
        return ET.tostring(root)


def refuse(
    environ: Environ, start_response: Callable[..., Any], status: str, body: bytes
) -> list[bytes]:
    """An answer instead of the work; what was sent is read, or the client would see a reset."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
    start_response(status, [("Content-Length", str(len(body))), ("Content-Type", "text/xml")])
    return [body]


@contextmanager
def serving(server: Server | None = None) -> Iterator[tuple[Server, str]]:
    """A server and its address."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # one line per request otherwise
    server = server or Server()
    http = make_server("127.0.0.1", 0, server, threaded=True)
    http.shutdown_request = http.close_request  # type: ignore[method-assign]  # a reset is one
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield server, f"http://127.0.0.1:{http.port}"
    http.shutdown()


def serve_apart(end: Connection, server: Server) -> None:
    """Serve in a process of its own: says its address, takes `Faults`, ends with None.

    For each it says what it has done since the last.
    """
    with serving(server) as (server, address):
        end.send(address)
        while (faults := end.recv()) is not None:
            server.faults = faults
            end.send(dict(server.done))
            server.done.clear()


def variables(address: str) -> dict[str, str]:
    """What a user would set to reach the server."""
    return {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }


def objects(url: str) -> dict[str, bytes]:
    """Every object below a URL, by its relative key."""
    fs, root = fsspec.core.url_to_fs(url)
    fs.invalidate_cache()
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
