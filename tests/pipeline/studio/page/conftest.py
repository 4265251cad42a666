"""A studio over a tiny run, and its visitors.

With NVG_STUDIO=ADDRESS the tests visit a studio that runs already, such as one of the demo's run.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from pipeline.studio.models import Models
from tests.pipeline.studio.makers import TOKEN, running
from tests.pipeline.studio.page.visitor import Visitor


@pytest.fixture(scope="package")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a studio, with its token."""
    if found := os.environ.get("NVG_STUDIO"):
        yield found
        return
    models: Models = request.getfixturevalue("models")
    # The first photo of all waits for a compiler; no visitor of a test does.
    size = models.generators.detokenizer.config.image_size
    models.tokenized(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    with running(models) as (port, _):
        yield f"http://127.0.0.1:{port}/?token={TOKEN}"


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Visitor]]:
    """Opens tabs on the studio; at the end each is asked whether anything went wrong."""
    visitors: list[Visitor] = []

    def come(**options: Any) -> Visitor:
        visitors.append(Visitor(browser, address, **options))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.leave()
