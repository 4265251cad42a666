"""A local, read-only server to browse all rows of a store.

Every answer comes from the store, or for original images from its source.
"""

import base64
import contextlib
import json
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nvg.errors import InputError
from nvg.store import Store
from nvg.store.format import OK
from nvg.view.html import (
    Originals,
    canvas_uris,
    decoder_or_none,
    fill_template,
    image_records,
    page_metadata,
)
from nvg.view.summary import find_key

HOST = "127.0.0.1"
MOST_LISTED = 200
MOST_SEARCHED = 20_000  # rows that are looked through for a token
MOST_SAME = 24

OriginalReader = Callable[[Store, list[int]], Originals]
Query = dict[str, str]


class Browser:
    """What the page asks of a store, and of a second store of the same source to compare with."""

    def __init__(
        self, store: Store, other: Store | None = None, originals: OriginalReader | None = None
    ) -> None:
        self.store, self.other, self.originals = store, other, originals
        self.index: pa.Table = store.index
        self.lock = Lock()  # one decoder, many requests
        self.decoders = {each.path: decoder_or_none(each) for each in (store, other) if each}

    def page(self) -> bytes:
        """The page without images; it asks for them."""
        classes = sorted(pc.unique(self.index["class"]).to_pylist())
        data = page_metadata(self.store, classes) | {"images": [], "remote": True}
        if self.other:
            data["other"] = self.other.path
        return fill_template(data)

    def list_rows(self, query: Query) -> dict[str, Any]:
        """Index entries that match class, split, status and part of the key, a slice at a time."""
        chosen = self.index
        for name in ("class", "split", "status"):
            if query.get(name):
                chosen = chosen.filter(pc.equal(chosen[name], query[name]))
        if query.get("search"):
            found = pc.match_substring(chosen["key"], query["search"], ignore_case=True)
            chosen = chosen.filter(found)
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
        if not 0 <= stage < self.store.geometry.stages:
            raise InputError(f"there is no stage {stage}")
        part = self.store.geometry.stage_slice(stage)
        found: list[int] = []
        good = set(self.store.ok_rows(None)[:MOST_SEARCHED].tolist())
        for chunk in self.store.committed():
            rows = self.store.chunk_slice(chunk)
            if rows.start > MOST_SEARCHED or len(found) > MOST_SAME:
                break
            tokens = self.store.content[rows][:, 0, part]
            hits = rows.start + np.flatnonzero((tokens == code).any(1))
            found += [int(row) for row in hits if int(row) in good]
        own = _integer(query, "row", -1)
        rows_ = [row for row in found if row != own][:MOST_SAME]
        entries = self.store.entries(rows_)
        return [{"row": entry["row"], "key": entry["key"]} for entry in entries]

    def _record(self, store: Store, row: int) -> dict[str, Any]:
        with self.lock:
            originals = self.originals(store, [row]) if self.originals else {}
            return image_records(store, [row], originals, self.decoders[store.path])[0]


def make_server(browser: Browser, port: int) -> ThreadingHTTPServer:
    """A server on the loopback interface; InputError when the port is taken or is not one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A foreign name that resolves to this machine must not read a store (DNS rebinding).
            name = self.headers.get("Host", "").rsplit(":", 1)[0]
            if name not in (HOST, "localhost"):
                self._reply(HTTPStatus.FORBIDDEN, b"only localhost is served", "text/plain")
                return
            address = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(address.query).items()}
            try:
                data, kind = respond(browser, address.path, query)
            except InputError as error:
                self._reply(HTTPStatus.NOT_FOUND, str(error).encode(), "text/plain; charset=utf-8")
            else:
                self._reply(HTTPStatus.OK, data, kind)

        def _reply(self, status: HTTPStatus, data: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the page has closed the request
                self.wfile.write(data)

        def log_message(self, format: str, *values: Any) -> None:
            """Requests are not logged."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
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
    if verb == "image" and rest.isdecimal():
        return json.dumps(browser.image(int(rest), "other" in query)).encode(), as_json
    if verb == "thumb" and rest.isdecimal():
        return base64.b64decode(browser.thumbnail(int(rest)).partition(",")[2]), "image/png"
    raise InputError(f"nothing is served at {path}")


def _integer(query: Query, name: str, default: int) -> int:
    """An integer of the query; InputError for anything else."""
    text = query.get(name, str(default))
    if not text.removeprefix("-").isdecimal():
        raise InputError(f"{name} must be an integer, not {text!r}")
    return max(int(text), 0) if name in ("offset", "count") else int(text)
