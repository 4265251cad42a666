"""A server of files on this machine that counts requests and can be told to misbehave."""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class FileServer(ThreadingHTTPServer):
    """Serves a folder; `url` names it."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.asked: list[str] = []
        """`GET /path` of every request, with `bytes=...` where it asks for a part."""
        self.cut: dict[str, int] = {}
        """Path -> bytes after which the next answers of the whole file break off, once each."""
        self.status: dict[str, int] = {}
        """Path -> the status that is answered instead of the file."""
        self.knows_ranges = True
        self.delay = 0.0
        """Seconds before each answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that went away."""


class Handler(SimpleHTTPRequestHandler):
    """Files with an ETag, and parts of them."""

    server: FileServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, with_body: bool) -> None:
        part = self.headers.get("Range", "")
        self.server.asked.append(f"{self.command} {self.path} {part}".strip())
        time.sleep(self.server.delay)
        file = Path(self.translate_path(self.path.partition("?")[0]))
        status = self.server.status.get(self.path, 200 if file.is_file() else 404)
        if status != 200:
            self.send_error(status)
            return
        data = file.read_bytes()
        whole, code, offset = len(data), 200, 0
        if part and self.server.knows_ranges:
            first, _, last = part.removeprefix("bytes=").partition("-")
            offset, code = int(first) if first else max(whole - int(last), 0), 206
            data = data[offset : int(last) + 1 if first and last else None]
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{file.stat().st_mtime_ns}-{whole}"')
        if self.server.knows_ranges:
            self.send_header("Accept-Ranges", "bytes")
        if code == 206:
            self.send_header("Content-Range", f"bytes {offset}-{offset + len(data) - 1}/{whole}")
        self.end_headers()
        if with_body:
            cut = self.server.cut.pop(self.path, None) if code == 200 else None
            self.wfile.write(data[:cut])
            if cut is not None:
                self.close_connection = True


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """A server of the files below a folder."""
    server = FileServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
