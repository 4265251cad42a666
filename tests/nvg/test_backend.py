"""Names of backends: the meaning of `auto`, and the error for an unknown name."""

import pytest
import torch

from nvg.backend import Backend, choose_backend


def test_auto_is_numba_on_a_cpu_and_torch_elsewhere() -> None:
    """`auto` is torch on any device but the CPU."""
    assert choose_backend("auto", torch.zeros(1)) is Backend.NUMBA
    assert choose_backend("auto", torch.zeros(1, device="meta")) is Backend.TORCH


@pytest.mark.parametrize("name", ["numba", "torch", "faiss"])
def test_a_name_is_itself(name: str) -> None:
    """A named backend is used on any device."""
    for device in ("cpu", "meta"):
        assert choose_backend(name, torch.zeros(1, device=device)).value == name


def test_an_unknown_name_is_told_the_known_ones() -> None:
    """One line with the name and the known ones."""
    with pytest.raises(ValueError, match=r"'abacus'.*auto, numba, torch, faiss"):
        choose_backend("abacus", torch.zeros(1))
