"""User-defined builders in detail: their input, the order of leaves, failed imports."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nvg.errors import InputError
from nvg.structure import (
    build_leaves,
    builder_names,
    builders,
    find_builder,
    names,
    register_builder,
)
from tests.nvg.structure import reference

# B image, N position, C latent channel
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write source text as a module and return its name; unloaded after the test."""
    written: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)

    def write_module(source: str) -> str:
        written.append(f"builders_of_{tmp_path.name.replace('-', '_')}_{len(written)}")
        (tmp_path / f"{written[-1]}.py").write_text(source)
        return written[-1]

    yield write_module
    for name in written:
        sys.modules.pop(name, None)
    builders._import.cache_clear()


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., Tensor]], str]]:
    """Registers a builder as `own` for one test."""

    def register(builder: Callable[..., Tensor]) -> str:
        register_builder("own", builder)
        return "own"

    monkeypatch.setattr(builders, "BUILDERS", dict(builders.BUILDERS))
    known = builder_names()
    yield register
    names.NAMES[:] = known


Own = Callable[[Callable[..., Tensor]], str]


@pytest.mark.parametrize("size", [2, 4, 16, 64, 512])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint16])
def test_any_order_becomes_canonical(own: Own, size: int, dtype: torch.dtype) -> None:
    """Any permutation in any integer dtype becomes canonical child order."""
    rng = np.random.default_rng(size)
    leaves = [rng.permutation(size).tolist() for _ in range(3)]
    name = own(lambda latents: torch.tensor(leaves).to(dtype))
    got_BN = build_leaves(torch.zeros(3, size, 1), name)
    assert got_BN.tolist() == [reference.canonical(leaves_N) for leaves_N in leaves]
    assert got_BN.dtype == (torch.uint16 if size > 256 else torch.uint8)


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_a_builder_is_given_float32_or_float64(
    own: Own, given: torch.dtype, received: torch.dtype
) -> None:
    """Half precision becomes float32, and no gradient is recorded."""
    seen: list[tuple[torch.dtype, bool, bool]] = []

    def builder(latents: Tensor) -> Tensor:
        seen.append((latents.dtype, latents.requires_grad, torch.is_grad_enabled()))
        return torch.arange(latents.shape[1]).expand(latents.shape[:2])

    build_leaves(torch.zeros(1, 4, 2, dtype=given, requires_grad=True), own(builder))
    assert seen == [(received, False, False)]


@pytest.mark.parametrize(
    "leaves",
    [
        [[0, 1, 2, 2]],
        [[1, 2, 3, 4]],
        [[0, 1, 2, -1]],
        [[0, 1, 2]],
        [0, 1, 2, 3],
        [[0, 1, 2, 3], [0, 1, 2, 3]],
        [[[0, 1, 2, 3]]],
    ],
)
def test_wrong_leaves_are_refused(own: Own, leaves: list[object]) -> None:
    """Repeats, labels out of range, other shapes: the error names the builder and the shape."""
    name = own(lambda latents: torch.tensor(leaves))
    with pytest.raises(InputError, match="'own'") as error:
        build_leaves(torch.zeros(1, 4, 3), name)
    assert "(1, 4, 3)" in str(error.value)


def test_the_latents_are_no_option(own: Own) -> None:
    """Options are the parameters after the first, keyword-only ones among them."""

    def builder(latents: Tensor, *, turn: int = 0) -> Tensor:
        return torch.arange(latents.shape[1]).roll(turn).expand(latents.shape[:2])

    name = own(builder)
    assert build_leaves(torch.zeros(1, 4, 1), name, turn=1).tolist() == [[0, 2, 3, 1]]
    with pytest.raises(ValueError, match=r"'own'.*'turns'.*turn"):
        build_leaves(torch.zeros(1, 4, 1), name, turns=1)
    with pytest.raises(ValueError, match="no option 'latents_BNC'"):
        build_leaves(torch.zeros(1, 4, 1), "spatial", latents_BNC=1)


def test_a_failed_import_is_tried_again(write: Write, tmp_path: Path) -> None:
    """Successful imports are cached, failed ones are not."""
    module = write("import no_such_package_anywhere")
    with pytest.raises(ValueError, match="no_such_package_anywhere") as error:
        find_builder(f"{module}:build")
    assert f"{module}:build" in str(error.value)
    (tmp_path / f"{module}.py").write_text("def build(latents): return latents")
    assert find_builder(f"{module}:build") is find_builder(f"{module}:build")


@pytest.mark.parametrize("name", [":build", "math:", "math:nothing", "no_such_package_anywhere:f"])
def test_what_cannot_be_imported_is_named(name: str) -> None:
    """Module or function missing or empty: the error repeats the name."""
    with pytest.raises(ValueError, match="cannot be imported") as error:
        find_builder(name)
    assert repr(name) in str(error.value)


def test_an_error_inside_a_builder_stays_its_own(own: Own) -> None:
    """An error inside the function is not reported as an unknown name."""

    def builder(latents: Tensor) -> Tensor:
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        build_leaves(torch.zeros(1, 4, 1), own(builder))
