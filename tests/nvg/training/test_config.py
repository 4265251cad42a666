"""What every training has in its settings: their limits, and the optimizer they make."""

from typing import Any

import pytest
import torch

from nvg.training.config import LoopConfig
from nvg.training.optim import optimizer_of


def settings(**changed: Any) -> LoopConfig:
    """Settings of any training."""
    usual: dict[str, Any] = {
        "steps": 10,
        "batch_size": 4,
        "lr": 1e-3,
        "warmup": 2,
        "betas": (0.8, 0.9),
        "weight_decay": 0.1,
        "clip": 1.0,
    }
    return LoopConfig(**usual | changed)


@pytest.mark.parametrize("name", ["steps", "batch_size", "log_every", "checkpoint_every", "keep"])
def test_counts_start_at_one(name: str) -> None:
    """The error names the key."""
    assert getattr(settings(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=name):
        settings(**{name: 0})


@pytest.mark.parametrize("name", ["lr", "warmup", "weight_decay", "clip", "seed"])
def test_zero_is_the_least_of_the_others(name: str) -> None:
    """0 switches them off."""
    assert getattr(settings(**{name: 0}), name) == 0
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        settings(**{name: -1})


@pytest.mark.parametrize("betas", [(), (0.9,), (0.9, 0.9, 0.9)])
def test_betas_are_two(betas: tuple[float, ...]) -> None:
    """As many as AdamW has."""
    with pytest.raises(ValueError, match="betas must be two numbers"):
        settings(betas=betas)


def test_the_optimizer_has_these_settings() -> None:
    """AdamW; biases are not decayed."""
    optimizer = optimizer_of(torch.nn.Linear(3, 2), settings())
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.9)}
    decay = {
        tensor.ndim: group["weight_decay"]
        for group in optimizer.param_groups
        for tensor in group["params"]
    }
    assert decay == {2: 0.1, 1: 0.0}
