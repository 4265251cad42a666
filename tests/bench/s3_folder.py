"""As much of S3 as a reader and a writer of stores need, over the files of a folder.

moto reads a whole object for each of its parts; here a part is read. Buckets are folders.
"""

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from tests.s3_server import Server, serve_apart

Given = tuple[str, list[tuple[str, str]], bytes]
"""Status, headers and body of an answer."""
LAST_CHANGE = "2020-01-01T00:00:00.000Z"
MISSING = b"<Error><Code>NoSuchKey</Code><Message>There is none.</Message></Error>"


class Folder:
    """A WSGI application."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if method == "PUT":
            status, headers, answer = self._put(path, body)
        elif method == "DELETE" or "delete" in query:
            status, headers, answer = self._remove(path, body)
        elif "list-type" in query or (method == "GET" and "/" not in path):
            status, headers, answer = self._list(path, query)
        else:
            status, headers, answer = self._get(path, method, environ.get("HTTP_RANGE", ""))
        start_response(status, headers)
        return [answer]

    def _put(self, path: str, body: bytes) -> Given:
        file = self.folder / path
        if "/" not in path:
            file.mkdir(parents=True, exist_ok=True)
            return "200 OK", [], b""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        return "200 OK", [("ETag", '"0"')], b""

    def _remove(self, path: str, body: bytes) -> Given:
        if not body:
            (self.folder / path).unlink(missing_ok=True)
            return "204 No Content", [], b""
        for key in ET.fromstring(body).iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key"):
            (self.folder / path / str(key.text)).unlink(missing_ok=True)
        return "200 OK", [("Content-Type", "text/xml")], b"<DeleteResult></DeleteResult>"

    def _get(self, path: str, method: str, span: str) -> Given:
        file = self.folder / path
        if not file.is_file():
            return "404 Not Found", [("Content-Type", "text/xml")], MISSING * (method == "GET")
        size, status = file.stat().st_size, "200 OK"
        first, stop, headers = 0, size, [("ETag", '"0"'), ("Accept-Ranges", "bytes")]
        if span:
            start, _, last = span.removeprefix("bytes=").partition("-")
            first = int(start) if start else max(0, size - int(last))
            stop = min(size, int(last) + 1) if start and last else size
            status = "206 Partial Content"
            headers.append(("Content-Range", f"bytes {first}-{stop - 1}/{size}"))
        headers.append(("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT"))
        if method == "HEAD":
            return status, [*headers, ("Content-Length", str(stop - first))], b""
        with file.open("rb") as opened:
            data = os.pread(opened.fileno(), stop - first, first)
        return status, headers, data

    def _list(self, bucket: str, query: dict[str, list[str]]) -> Given:
        prefix, sign = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        files, folders = [], set()
        for key, size in self._below(bucket, prefix):
            rest = key[len(prefix) :]
            if sign and sign in rest:
                folders.add(prefix + rest.partition(sign)[0] + sign)
            else:
                files.append((key, size))
        items = [
            f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size><ETag>0</ETag>"
            f"<LastModified>{LAST_CHANGE}</LastModified></Contents>"
            for key, size in sorted(files)
        ]
        items += [f"<CommonPrefixes><Prefix>{f}</Prefix></CommonPrefixes>" for f in sorted(folders)]
        text = "".join(items)
        answer = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<KeyCount>{len(items)}</KeyCount><IsTruncated>false</IsTruncated>{text}"
            "</ListBucketResult>"
        )
        return "200 OK", [("Content-Type", "text/xml")], answer.encode()

    def _below(self, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of what begins so."""
        root = self.folder / bucket
        for parent, _, names in os.walk(root / prefix.rpartition("/")[0]):
            for name in names:
                file = Path(parent, name)
                key = file.relative_to(root).as_posix()
                if key.startswith(prefix):
                    yield key, file.stat().st_size


def serve_folder(folder: Path, end: Connection) -> None:
    """Serve it in a process of its own, see `serve_apart`."""
    serve_apart(end, Server(Folder(folder)))
