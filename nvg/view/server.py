"""A local, read-only server to browse all rows of a store.

Every answer comes from the store, or for original images from its source.
"""

import base64
import contextlib
import json
import math
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nvg.errors import InputError
from nvg.format.base import OK
from nvg.store import Store
from nvg.view.html import (
    Originals,
    canvas_uris,
    decoder_or_none,
    fill_template,
    image_records,
    page_metadata,
)
from nvg.view.store_map import store_map
from nvg.view.summary import find_key

HOST = "127.0.0.1"
MOST_LISTED = 200
MOST_SEARCHED = 20_000  # rows that are looked through for a token
MOST_SAME = 24
MOST_CLIENTS = 32  # that have not asked yet
SILENT_SECONDS = 10  # until a client that says nothing is dropped
TEXT = "text/plain; charset=utf-8"
EVERY_ANSWER = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

OriginalReader = Callable[[Store, list[int]], Originals]
Query = dict[str, str]


class Browser:
    """What the page asks of a store, and of a second store of the same source to compare with."""

    def __init__(
        self,
        store: Store,
        other: Store | None = None,
        originals: OriginalReader | None = None,
        studio: str | None = None,
    ) -> None:
        self.store, self.other, self.originals = store, other, originals
        self.studio = studio
        """Address that opens a row in the studio, once its number is appended."""
        self.index: pa.Table = store.index
        self.lock, self.map_lock = Lock(), Lock()  # one decoder and one map, many requests
        self.points: bytes | None = None
        self.decoders = {each.path: decoder_or_none(each) for each in (store, other) if each}

    def page(self) -> bytes:
        """The page without images; it asks for them."""
        classes = sorted(pc.unique(self.index["class"]).to_pylist())
        data = page_metadata(self.store, classes) | {"images": [], "remote": True}
        if self.other:
            data["other"] = self.other.path
        if self.studio:
            data["studio"] = self.studio
        return fill_template(data)

    def list_rows(self, query: Query) -> dict[str, Any]:
        """Index entries that match, a slice at a time.

        By class, split, status, parts of key and reason, and the least residual after a stage.
        """
        chosen = self.index
        for name in ("class", "split", "status"):
            if query.get(name):
                chosen = chosen.filter(pc.equal(chosen[name], query[name]))
        for name, column in (("search", "key"), ("reason", "reason")):
            if query.get(name):
                found = pc.match_substring(chosen[column], query[name], ignore_case=True)
                chosen = chosen.filter(found)
        if query.get("least"):
            stage = _integer(query, "stage", self.store.geometry.K)
            self._require_stage(stage)
            error = pc.list_element(chosen["stage_error"], stage)
            chosen = chosen.filter(pc.greater_equal(error, _decimal(query, "least")))
        offset, count = _integer(query, "offset", 0), min(_integer(query, "count", 48), MOST_LISTED)
        columns = ["row", "key", "label", "class", "split", "status"]
        items = chosen.slice(offset, count).select(columns).to_pylist()
        for item in items:
            item["thumb"] = f"thumb/{item['row']}" if item["status"] == OK else None
        return {"total": len(chosen), "items": items}

    def image(self, row: int, beside: bool = False) -> dict[str, Any]:
        """The record of one image, or with `beside` of the same key in the other store."""
        store = self.store
        if beside:
            if self.other is None:
                raise InputError("no second store is open: start with --against")
            key = self._record(self.store, row)["key"]
            store, row = self.other, find_key(self.other, key)
        return self._record(store, row)

    def thumbnail(self, row: int) -> str:
        """The final canvas of an image as a data URI."""
        self.store.token_entries([row])
        last, decoder = self.store.geometry.K, self.decoders[self.store.path]
        if decoder is None:
            raise InputError(f"{self.store.path} has lost its decoder")
        with self.lock:
            return canvas_uris(self.store, [row], [last], decoder)[row][0]

    def rows_with_code(self, query: Query) -> list[dict[str, Any]]:
        """Images that use a code at a stage, among the first MOST_SEARCHED tokenized rows."""
        stage, code = _integer(query, "stage", 0), _integer(query, "code", 0)
        self._require_stage(stage)
        part = self.store.geometry.stage_slice(stage)
        found: list[int] = []
        good = set(self.store.ok_rows(None)[:MOST_SEARCHED].tolist())
        for chunk in self.store.committed():
            rows = self.store.chunk_slice(chunk)
            if rows.start > MOST_SEARCHED or len(found) > MOST_SAME:
                break
            with self.store.shown(f"chunk {chunk}"):
                tokens = self.store.stored("content", chunk)[:, 0, part]
            hits = rows.start + np.flatnonzero((tokens == code).any(1))
            found += [int(row) for row in hits if int(row) in good]
        own = _integer(query, "row", -1)
        rows_ = [row for row in found if row != own][:MOST_SAME]
        entries = self.store.entries(rows_)
        return [{"row": entry["row"], "key": entry["key"]} for entry in entries]

    def map(self) -> bytes:
        """All images as points (`nvg.view.store_map`), computed when first asked for."""
        decoder = self.decoders[self.store.path]
        if decoder is None:
            raise InputError(f"{self.store.path} has lost its decoder")
        with self.map_lock:
            if self.points is None:
                self.points = store_map(self.store, decoder.quantizer.codebook.numpy(force=True))
            return self.points

    def _require_stage(self, stage: int) -> None:
        if not 0 <= stage < self.store.geometry.stages:
            raise InputError(f"there is no stage {stage}")

    def _record(self, store: Store, row: int) -> dict[str, Any]:
        with self.lock:
            originals = self.originals(store, [row]) if self.originals else {}
            return image_records(store, [row], originals, self.decoders[store.path])[0]


class _Server(ThreadingHTTPServer):
    """At most MOST_CLIENTS connections: a newcomer takes the place of the one that waits longest.

    So that clients that say nothing, or a letter a minute, keep nobody out.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, browser: Browser, port: int) -> None:
        self.browser = browser
        self.waiting: dict[Any, None] = {}
        """Connections whose request is not read yet, in their order."""
        self.guard = Lock()
        super().__init__((HOST, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.guard:
            self.waiting[request] = None
            oldest = next(iter(self.waiting)) if len(self.waiting) > MOST_CLIENTS else None
            self.waiting.pop(oldest, None)
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.has_asked(request)
        super().shutdown_request(request)

    def has_asked(self, request: Any) -> None:
        """The request of a connection is read, or there will be none."""
        with self.guard:
            self.waiting.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the client's affair; answers have their own errors."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENT_SECONDS

    def do_GET(self) -> None:
        self.server.has_asked(self.request)
        # A foreign name that resolves to this machine must not read a store (DNS rebinding).
        port = self.server.server_port
        if self.headers.get("Host", "") not in {f"{HOST}:{port}", f"localhost:{port}"}:
            self._reply(HTTPStatus.FORBIDDEN, b"only localhost is served", TEXT)
            return
        try:
            address = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(address.query).items()}
            data, kind = respond(self.server.browser, address.path, query)
        except (InputError, ValueError, OverflowError) as error:
            self._reply(HTTPStatus.NOT_FOUND, str(error).encode(errors="replace"), TEXT)
        except Exception as error:  # the store is moved or damaged under the server
            first = (str(error).splitlines() or [type(error).__name__])[0]
            said = f"the store cannot be read just now: {first}"
            self._reply(HTTPStatus.INTERNAL_SERVER_ERROR, said.encode(errors="replace"), TEXT)
        else:
            self._reply(HTTPStatus.OK, data, kind)

    def end_headers(self) -> None:
        for name, value in EVERY_ANSWER.items():
            self.send_header(name, value)
        super().end_headers()

    def _reply(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        with contextlib.suppress(OSError):  # the page has closed the request
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *values: Any) -> None:
        """Requests are not logged."""


def make_server(browser: Browser, port: int) -> ThreadingHTTPServer:
    """A server on the loopback interface; InputError when the port is taken or is not one."""
    try:
        return _Server(browser, port)
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used ({error.strerror}): choose another --port"
        ) from None
    except OverflowError:
        raise InputError(f"port {port} is not a port: use 1..65535") from None


def respond(browser: Browser, path: str, query: Query) -> tuple[bytes, str]:
    """Body and content type for a path; InputError for a path that is not served."""
    as_json = "application/json"
    verb, _, rest = path.strip("/").partition("/")
    if verb == "" and not rest:
        return browser.page(), "text/html; charset=utf-8"
    if verb == "list" and not rest:
        return json.dumps(browser.list_rows(query)).encode(), as_json
    if verb == "same" and not rest:
        return json.dumps(browser.rows_with_code(query)).encode(), as_json
    if verb == "map" and not rest:
        return browser.map(), "application/octet-stream"
    if verb == "image" and rest.isdecimal():
        return json.dumps(browser.image(int(rest), "other" in query)).encode(), as_json
    if verb == "thumb" and rest.isdecimal():
        return base64.b64decode(browser.thumbnail(int(rest)).partition(",")[2]), "image/png"
    raise InputError(f"nothing is served at {path}")


def _decimal(query: Query, name: str) -> float:
    """A finite number of the query; InputError for anything else."""
    with contextlib.suppress(ValueError):
        if math.isfinite(found := float(query[name])):
            return found
    raise InputError(f"{name} must be a number, not {query[name]!r}")


def _integer(query: Query, name: str, default: int) -> int:
    """An integer of the query; InputError for anything else."""
    text = query.get(name, str(default))
    if not text.removeprefix("-").isdecimal():
        raise InputError(f"{name} must be an integer, not {text!r}")
    return max(int(text), 0) if name in ("offset", "count") else int(text)
