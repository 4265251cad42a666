"""A studio over a tiny run, and its visitors."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.pipeline.studio.page.visitor import Visitor


@pytest.fixture(scope="module")
def address() -> str:
    return os.environ["NVG_FAKE"]


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
