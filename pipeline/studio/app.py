"""The studio's addresses: what a page asks, and what answers it.

Bodies are read up to a bound; what needs the networks waits for the worker, what is only decoded
takes one of two threads.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from nvg.errors import InputError, WorkError
from pipeline.sampling.places import MOST_STAGED
from pipeline.sampling.request import json_of, read_drawing
from pipeline.studio import downloads, uploads
from pipeline.studio.drawing import preview
from pipeline.studio.guard import Guard
from pipeline.studio.job import Job
from pipeline.studio.models import Models
from pipeline.studio.pages import store_routes
from pipeline.studio.worker import MOST_QUEUED, BusyError, Worker

STATIC = files("pipeline.studio").joinpath("static")
MODULES = sorted(path.name for path in STATIC.iterdir() if path.name.endswith(".js"))
AT_ONCE = ", ".join(f"</static/{name}>; rel=modulepreload" for name in MODULES)
"""For a browser: else it finds a module only in the one that imports it, three deep."""
MOST_JSON = 2**20  # bytes
DECODERS = 2  # uploads decoded at once
Endpoint = Callable[[Asked], Awaitable[Response]]


class TooLargeError(InputError):
    """A body beyond its bound."""


class UnknownJobError(InputError):
    """A job that never was, or that is forgotten."""


class Studio:
    """Endpoints over one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.models = worker, worker.models
        self.decoders = anyio.CapacityLimiter(DECODERS)

    async def page(self, asked: Asked) -> Response:
        """The page itself."""
        return FileResponse(str(STATIC.joinpath("index.html")), headers={"Link": AT_ONCE})

    async def run(self, asked: Asked) -> Response:
        """What the run is, and the bounds."""
        facts = self.models.facts()
        bounds = {"upload_bytes": uploads.MOST_BYTES, "upload_pixels": uploads.MOST_PIXELS}
        facts["limits"] |= bounds | {"queue": MOST_QUEUED}
        return JSONResponse(facts)

    async def add(self, asked: Asked) -> Response:
        """A new job."""
        request = self.models.complete(await _json(asked))
        job = Job(request)
        place = self.worker.add(job)
        found = {"id": job.id, "place": place, "labels": request.labels}
        return JSONResponse(found | {"request": request.as_json()}, 202)

    async def events(self, asked: Asked) -> Response:
        """The events of a job, as they come."""
        last = asked.headers.get("last-event-id", "-1")
        after = int(last) if last.isdecimal() and len(last) < 9 else -1
        return StreamingResponse(self._job(asked).stream(after), media_type="text/event-stream")

    async def cancel(self, asked: Asked) -> Response:
        """The end of a job."""
        self.worker.cancel(self._job(asked))
        return Response(status_code=204)

    def _job(self, asked: Asked) -> Job:
        if job := self.worker.find(asked.path_params["id"]):
            return job
        raise UnknownJobError("this request is not known any more: make it again")

    async def say(self, asked: Asked) -> Response:
        """A request checked and put in words."""
        return JSONResponse(self.models.words(self.models.complete(await _json(asked))))

    async def drawing(self, asked: Asked) -> Response:
        """The hierarchy of a drawing."""
        table = await _json(asked)
        classes = [0] * bool(self.models.generators.classes)  # any will do
        self.models.complete({"classes": classes, "drawing": table})
        return JSONResponse(preview(read_drawing(table), self.models.geometry))

    async def label_map(self, asked: Asked) -> Response:
        """A picture's regions."""
        return JSONResponse(await self._decoded(asked, uploads.read_map, self.models.geometry))

    async def mask(self, asked: Asked) -> Response:
        """Where a picture is white."""
        return JSONResponse(await self._decoded(asked, uploads.read_mask, self.models.geometry))

    async def photo(self, asked: Asked) -> Response:
        """A photo as a reference."""
        if self.models.tokenizer is None:
            return _error("photos need the run's tokenizer: start with --tokenizer RUN", 409)
        pixels = await self._decoded(asked, uploads.read_pixels, self.models)
        name = unquote(asked.headers.get("x-name", "photo"))
        answer = partial(uploads.photo_answer, pixels=pixels, name=name)
        return JSONResponse(await self._ask(answer))

    async def restore(self, asked: Asked) -> Response:
        """The request that a file carries."""
        data = await _body(asked, uploads.MOST_BYTES)
        return JSONResponse(
            await run_sync(uploads.restored, self.models, data, limiter=self.decoders)
        )

    async def film(self, asked: Asked) -> Response:
        """The stages of a reference."""
        (reference,) = downloads.read_references(await _json(asked))
        return JSONResponse(await self._ask(partial(downloads.film, reference=reference)))

    async def gif(self, asked: Asked) -> Response:
        """An animation of one image."""
        (reference,) = downloads.read_references(await _json(asked))
        data = await self._ask(partial(downloads.gif, reference=reference))
        return _file(data, "stages.gif", "image/gif")

    async def sheet(self, asked: Asked) -> Response:
        """The stages of several."""
        references = downloads.read_references(await _json(asked), MOST_STAGED)
        data = await self._ask(partial(downloads.sheet, references=references))
        return _file(data, "stages.png", "image/png")

    async def contact(self, asked: Asked) -> Response:
        """Many finished images."""
        references, names, columns = downloads.read_contact(await _json(asked))
        make = partial(downloads.contact, references=references, names=names, columns=columns)
        return _file(await self._ask(make), "samples.png", "image/png")

    async def bundle(self, asked: Asked) -> Response:
        """A request with all that repeats it."""
        request = self.models.complete(await _json(asked))
        return _file(downloads.bundle(self.models, request), "request.zip", "application/zip")

    async def _decoded(self, asked: Asked, read: Callable[[bytes, Any], Any], what: Any) -> Any:
        data = await _body(asked, uploads.MOST_BYTES)
        return await run_sync(read, data, what, limiter=self.decoders)

    async def _ask(self, function: Callable[[Models], Any]) -> Any:
        return await asyncio.wrap_future(self.worker.ask(function))


async def _body(asked: Asked, most: int) -> bytes:
    """The body of a request; TooLargeError where it goes on beyond the bound."""
    data = bytearray()
    async for part in asked.stream():
        data += part
        if len(data) > most:
            raise TooLargeError(f"this is larger than {most:,} bytes")
    return bytes(data)


async def _json(asked: Asked) -> Any:
    return json_of(await _body(asked, MOST_JSON))


def _file(data: bytes, name: str, kind: str) -> Response:
    said = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=kind, headers=said)


def _error(said: str, status: int) -> Response:
    return Response(json.dumps({"error": said}).encode(), status, media_type="application/json")


CODES: dict[type[Exception], int] = {
    TooLargeError: 413,
    BusyError: 429,
    UnknownJobError: 404,
    InputError: 400,
    WorkError: 500,
    Exception: 500,
}


async def _said(asked: Asked, error: Exception) -> Response:
    """An error as one line."""
    code = next(CODES[kind] for kind in CODES if isinstance(error, kind))
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _error(first, code)


def make_app(worker: Worker, token: str, hosts: tuple[str, ...] | None) -> Any:
    """The app, guarded; the worker is closed with it."""
    studio = Studio(worker)
    posts = {
        **{"jobs": studio.add, "say": studio.say, "drawing": studio.drawing},
        **{"map": studio.label_map, "mask": studio.mask, "photo": studio.photo},
        **{"restore": studio.restore, "film": studio.film, "files/gif": studio.gif},
        **{"files/sheet": studio.sheet, "files/contact": studio.contact},
        "files/bundle": studio.bundle,
    }
    routes: list[Any] = [
        Route("/", studio.page),
        Mount("/static", StaticFiles(directory=str(STATIC))),
        Route("/api/run", studio.run),
        *(Route(f"/api/{path}", does, methods=["POST"]) for path, does in posts.items()),
        Route("/api/jobs/{id}/events", studio.events),
        Route("/api/jobs/{id}", studio.cancel, methods=["DELETE"]),
        *store_routes(worker.models),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_sync(worker.close)

    handlers: Any = dict.fromkeys(CODES, _said)
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    return Guard(app, token, hosts)
