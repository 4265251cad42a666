"""The first photo finds every kernel compiled, and its page's neighbours did not wait for that."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba
import pytest
import torch

from nvg.quantizer import nearest
from nvg.structure import greedy
from pipeline.studio.models import Models
from pipeline.studio.warm import warm, warm_beside
from tests.nvg.tokenizer.makers import tiny_model

Types = tuple[Any, ...]


def counted(kernel: Callable[..., Any], calls: list[Types]) -> Callable[..., Any]:
    """A kernel whose calls are listed by their types: each new tuple is a compilation."""

    def call(*given: Any) -> Any:
        calls.append(tuple(map(numba.typeof, given)))
        return kernel(*given)

    return call


def test_a_photo_compiles_nothing_new(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types of all its calls were seen before; no network was used for that."""
    calls: list[Types] = []
    for module, name in ((greedy, "build"), (nearest, "search")):
        monkeypatch.setattr(module, name, counted(getattr(module, name), calls))
    assert models.tokenizer
    with monkeypatch.context() as patch:
        patch.setattr(type(models.tokenizer.encoder), "forward", None)
        warm(models.tokenizer)
    warmed = set(calls)
    assert len(warmed) == 2
    calls.clear()
    models.tokenized(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert calls
    assert set(calls) == warmed


def test_it_is_done_beside(models: Models) -> None:
    """In a thread that ends nothing; without a tokenizer, or beside a GPU, there is none."""
    thread = warm_beside(models)
    assert thread
    assert thread.daemon
    thread.join(60)
    assert not thread.is_alive()
    assert warm_beside(replace(models, tokenizer=None)) is None
    assert models.tokenizer
    elsewhere = copy.deepcopy(models.tokenizer).to("meta")
    assert warm_beside(replace(models, tokenizer=elsewhere)) is None


@pytest.mark.parametrize("builder", ["segments", "no_such:build"])
def test_a_builder_that_needs_more_is_left_to_the_upload(models: Models, builder: str) -> None:
    """Label maps, or code that is not there."""
    assert models.tokenizer
    model = type(models.tokenizer)(replace(tiny_model(), builder=builder))
    warm(model)
