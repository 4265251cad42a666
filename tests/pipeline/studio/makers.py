"""A running studio, jobs, and what a page hears of them."""

import asyncio
import base64
import contextlib
import io
import json
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from pipeline.studio.app import make_app
from pipeline.studio.job import Job
from pipeline.studio.models import Models
from pipeline.studio.serve import QUIET, bound_socket
from pipeline.studio.worker import Worker

FREE: dict[str, Any] = {"classes": [1, 0], "number": 2, "settings": {"flow_steps": 2}}
"""Two images of each of two classes."""
TOKEN = "token"


@contextlib.contextmanager
def running(models: Models) -> Iterator[tuple[int, uvicorn.Server]]:
    """A studio and its port; at the end it stops within seconds."""
    app = make_app(Worker(models), TOKEN, ("127.0.0.1",))
    with bound_socket("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, **QUIET, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield listening.getsockname()[1], server
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def parse_events(text: str) -> list[tuple[str, Any]]:
    """Name and data of each event of a stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def heard(job: Job, after: int = -1) -> list[tuple[str, Any]]:
    """All events of a job, once it is over."""

    async def listen() -> str:
        return "".join([event async for event in job.stream(after)])

    return parse_events(asyncio.run(asyncio.wait_for(listen(), 60)))


def names(events: list[tuple[str, Any]]) -> list[str]:
    """What is told, without the progress."""
    return [name for name, _ in events if name != "progress"]


def decoded(uri: str) -> bytes:
    """The bytes of a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def pixels_of(data: bytes) -> Any:
    """A picture file as an array."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def png(values: Any) -> bytes:
    """An array as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def row_reference(models: Models, row: int = 1) -> dict[str, Any]:
    """A row of the store that is open."""
    assert models.store
    return {"store": models.store.path, "row": row}


def bomb() -> bytes:
    """A PNG of few bytes that says 10,000 x 10,000 pixels."""
    data = bytearray(png(np.zeros((4, 4))))
    data[16:24] = (10_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)
