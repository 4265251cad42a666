"""The pages of `nvgctl view` within the studio, under /store/: same answers, same policy."""

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from nvg.errors import InputError
from nvg.view.server import EVERY_ANSWER, Browser, respond
from pipeline.studio.models import Models

Answer = Callable[[Asked], Any]


def store_routes(models: Models) -> list[Route]:
    """Routes to the store, where one is open."""
    if models.store is None:
        return []
    usable = models.store.manifest.tokenizer == models.generators.tokenizer
    browser = Browser(models.store, studio="../#row=" if usable else None)

    async def answer(asked: Asked) -> Response:
        path, query = asked.path_params["path"], dict(asked.query_params)
        try:
            data, kind = await run_in_threadpool(respond, browser, path, query)
        except (InputError, ValueError, OverflowError) as error:
            return PlainTextResponse(str(error), 404, EVERY_ANSWER)
        return Response(data, media_type=kind, headers=EVERY_ANSWER)

    async def slash(asked: Asked) -> Response:
        return RedirectResponse("/store/", 307)

    return [Route("/store", slash), Route("/store/{path:path}", answer)]
