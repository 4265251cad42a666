"""hf:// through huggingface_hub's own file system, against a small hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.makers import files_below
from tests.processes import ROOT

COMMIT = "0123456789" * 4
WEIGHTS = b"weights" * 1000
FILES = {"autoencoder.safetensors": WEIGHTS, "config.toml": b"[data]\n", "notes.txt": b"none"}


class Hub(BaseHTTPRequestHandler):
    """One repository, `someone/run`, as the hub's interface tells it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = json.loads(body)["paths"] if body.startswith("{") else []
        self._json([_about(path) for path in asked if path in FILES])

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path.startswith("/someone/run/resolve/"):
            data = FILES.get(path.rpartition("/")[2])
            self._send(data, 200 if data else 404, "application/octet-stream")
        elif path.startswith("/api/models/someone/run/tree/"):
            self._json([_about(name) for name in FILES])
        elif path.startswith("/api/models/someone/run"):
            self._json({"id": "someone/run", "sha": COMMIT, "siblings": []})
        else:
            self._send(b"{}", 404, "application/json")

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), 200, "application/json")

    def _send(self, data: bytes | None, status: int, kind: str) -> None:
        data = data or b""
        part = self.headers.get("Range", "").removeprefix("bytes=")
        whole = len(data)
        if part and status == 200:
            first, _, last = part.partition("-")
            data, status = data[int(first) : int(last) + 1 if last else None], 206
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 206:
            end = int(part.partition("-")[0]) + len(data) - 1
            self.send_header("Content-Range", f"bytes {part.partition('-')[0]}-{end}/{whole}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        if status == 404:
            missing = "EntryNotFound" if "/resolve/" in self.path else "RepoNotFound"
            self.send_header("X-Error-Code", missing)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _about(path: str) -> dict[str, Any]:
    found = {"type": "file", "path": path, "size": len(FILES[path]), "oid": path.ljust(40, "0")}
    if path.endswith(".safetensors"):
        oid = hashlib.sha256(FILES[path]).hexdigest()
        found["lfs"] = {"oid": oid, "size": len(FILES[path]), "pointerSize": 130}
    return found


@pytest.fixture
def hub() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,)).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def fetch(hub: str, cache: Path, url: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library reads HF_ENDPOINT when it is imported."""
    code = f"from nvg.fetch import fetched; print(fetched({url!r}))"
    own = {"HF_ENDPOINT": hub, "NVG_CACHE": str(cache), "HF_HOME": str(cache / "hf")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.thorough
def test_a_run_at_hugging_face_is_fetched(hub: str, tmp_path: Path) -> None:
    """As it lies there, without a list: what a run consists of, and one file alone."""
    done = fetch(hub, tmp_path, "hf://someone/run")
    assert done.returncode == 0, done.stderr
    wanted = {name: data for name, data in FILES.items() if name != "notes.txt"}
    assert files_below(done.stdout.strip()) == wanted
    done = fetch(hub, tmp_path, "hf://someone/run/autoencoder.safetensors")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == WEIGHTS
    done = fetch(hub, tmp_path, "hf://someone/other")
    assert done.stderr.strip().endswith("there is nothing at hf://someone/other")
