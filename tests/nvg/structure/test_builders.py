"""Builders by name: built-in and user-defined ones, and errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nvg.structure import (
    build_leaves,
    builder_names,
    builders,
    find_builder,
    names,
    register_builder,
    takes_segments,
)
from nvg.tokenizer.config import AutoencoderConfig

MODULE = """
import torch

def reverse(latents, step=1):
    order = torch.arange(latents.shape[1] - 1, -1, -step)
    return order.expand(latents.shape[:2])

def flat(latents):
    return torch.zeros(latents.shape[:2]).long()

def nothing(latents):
    return None

def real(latents):
    return torch.arange(float(latents.shape[1])).expand(latents.shape[:2])

def short(latents):
    return torch.zeros(len(latents), 3).long()

def by_map(latents, segments):
    return segments.argsort(dim=1, stable=True).argsort(1)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable module with user-defined builders."""
    name = f"their_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def registry() -> Iterator[None]:
    """The registry, restored after the test."""
    before, known = dict(builders.BUILDERS), builder_names()
    yield
    names.NAMES[:] = known
    builders.BUILDERS.clear()
    builders.BUILDERS.update(before)


def test_the_names() -> None:
    """The names in the documentation."""
    assert builder_names() == list(builders.BUILDERS)
    assert [name for name in builder_names() if takes_segments(name)] == ["segments"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("greedy", {}),
        ("greedy+2opt", {}),
        ("greedy+space", {"space_weight": 0.5}),
        ("optimal", {}),
        ("spatial", {}),
    ],
)
def test_every_builder_is_called_the_same_way(name: str, options: dict[str, Any]) -> None:
    """One permutation per image, one byte per leaf."""
    leaves_BN = build_leaves(torch.randn(2, 16, 3), name, **options)
    assert leaves_BN.dtype == torch.uint8
    assert leaves_BN.sort(1).values.tolist() == [list(range(16))] * 2


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("greedy", {"colour": 1}, ["colour", "backend"]),
        ("spatial", {"backend": "torch"}, ["backend", "none"]),
        ("greedy", {"backend": "abacus"}, ["abacus"]),
        ("greedy", {"space_weight": 0.5}, ["space_weight", "backend"]),
        ("greedy+space", {}, ["greedy+space", "space_weight"]),
        ("segments", {}, ["segments", "label map"]),
        ("segments", {"segments": None}, ["label map"]),
        ("magic", {}, ["magic", "greedy"]),
        ("no_such_module:builder", {}, ["no_such_module:builder"]),
        ("nvg.structure:nothing", {}, ["nvg.structure:nothing"]),
        ("..relative:builder", {}, ["..relative:builder"]),
        ("math:pi", {}, ["math:pi", "not a function"]),
        (":", {}, [":"]),
    ],
)
def test_unknown_names_and_options_are_refused(
    name: str, options: dict[str, Any], named: list[str]
) -> None:
    """The error names the fault and the alternatives."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        build_leaves(torch.zeros(1, 4, 1), name, **options)
    assert [word for word in named if word not in str(error.value)] == []


def test_a_recipe_may_name_a_function(module: str) -> None:
    """`module:function` is imported, takes its own options, and its leaves become canonical."""
    latents_BNC = torch.zeros(2, 8, 1)
    name = f"{module}:reverse"
    assert build_leaves(latents_BNC, name).tolist() == [list(range(8))] * 2
    assert build_leaves(latents_BNC, name).dtype == torch.uint8
    assert build_leaves(torch.zeros(1, 512, 1), name, step=1).dtype == torch.uint16
    with pytest.raises(ValueError, match="step"):
        build_leaves(latents_BNC, name, backend="torch")
    assert AutoencoderConfig(builder=name).builder == name
    assert not takes_segments(name)


def test_a_function_may_take_label_maps(module: str) -> None:
    """A builder with the parameter `segments` gets label maps; without them it is an error."""
    name = f"{module}:by_map"
    label_BN = torch.tensor([[1, 0, 1, 0]])
    assert takes_segments(name)
    assert build_leaves(torch.zeros(1, 4, 1), name, segments=label_BN).tolist() == [[0, 2, 1, 3]]
    with pytest.raises(ValueError, match="label map"):
        build_leaves(torch.zeros(1, 4, 1), name)


@pytest.mark.parametrize(
    ("function", "named"),
    [("flat", "permutation"), ("short", "2, 3"), ("nothing", "NoneType"), ("real", "integer")],
)
def test_what_a_function_returns_is_checked(module: str, function: str, named: str) -> None:
    """Wrong leaves raise an error that names the builder."""
    with pytest.raises(ValueError, match=named) as error:
        build_leaves(torch.zeros(2, 4, 1), f"{module}:{function}")
    assert f"{module}:{function}" in str(error.value)


def test_a_registered_builder_has_a_name(registry: None) -> None:
    """It works like the built-in ones, also in recipes of this process."""

    def upside_down(latents: Tensor) -> Tensor:
        return torch.arange(latents.shape[1]).flip(0).expand(latents.shape[:2])

    register_builder("upside down", upside_down)
    assert build_leaves(torch.zeros(1, 4, 1), "upside down").tolist() == [[0, 1, 2, 3]]
    assert "upside down" in builder_names()
    assert AutoencoderConfig(builder="upside down").builder == "upside down"
    for name in ("upside down", "greedy", "", "a:b"):
        with pytest.raises(ValueError, match="cannot name"):
            register_builder(name, upside_down)


def test_a_function_gets_finite_latents(module: str) -> None:
    """NaN raises before the builder is called."""
    with pytest.raises(ValueError, match="1, 4, 1"):
        build_leaves(torch.full((1, 4, 1), torch.nan), f"{module}:reverse")


def test_a_config_refuses_an_unknown_builder() -> None:
    """A config with an unknown builder fails at once; `module:function` is not imported."""
    for name in ("magic", ":", "module:", ":function"):
        with pytest.raises(ValueError, match=name):
            AutoencoderConfig(builder=name)
    assert AutoencoderConfig(builder="no_such_module:builder").builder == "no_such_module:builder"
    assert find_builder("greedy") is find_builder("greedy")
