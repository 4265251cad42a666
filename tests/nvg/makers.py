"""Small networks of the authors' release, by formula, and the numbers its code gave for them."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@cache
def release() -> dict[str, Any]:
    """Names and shapes of small networks of the authors' release, and what its code made of them.

    The weights are `formula_weights` of the shapes, inputs are sines; only numbers were kept.
    """
    path = Path(__file__).resolve().parents[1] / "golden" / "release.json"
    golden: dict[str, Any] = json.loads(path.read_text())
    return golden


def formula_weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights of these shapes: a sine whose phase is the number of the name."""
    state = {}
    for number, name in enumerate(sorted(shapes)):
        shape, count = shapes[name], math.prod(shapes[name])
        wave = torch.sin(0.1 * torch.arange(count, dtype=torch.float64) ** 1.1 + number).view(shape)
        is_scale = "norm" in name and name.endswith(("weight", "scale"))
        if name.endswith(("embed.weight", "embedding.weight", "start_embed")):
            wave = 0.5 * wave
        elif len(shape) > 1:
            wave = wave * (count // shape[0]) ** -0.5 * 1.5
        else:
            wave = (1.0 if is_scale else 0.0) + 0.1 * wave
        state[name] = wave.float()
    return state


def waves(*shape: int, power: float, factor: float, shift: float = 0.0) -> Tensor:
    """Numbers in -1..1 that look random."""
    count = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(count**power * factor + shift).view(shape).float()


def release_autoencoder(prefix: str = "") -> dict[str, Tensor]:
    """The small autoencoder under the release's names."""
    weights = _weights_of("autoencoder")
    return {prefix + name: value.clone() for name, value in weights.items()}


@cache
def _weights_of(part: str) -> dict[str, Tensor]:
    return formula_weights(release()["shapes"][part])


def release_generators(with_autoencoder: bool = True) -> dict[str, Tensor]:
    """A checkpoint's tensors: generators of zeros, EMA weights by formula, and the autoencoder."""
    networks = _weights_of("generators")
    scales = torch.tensor(release()["scales"])
    state = {"nvgformer.scale_factors": scales, "ema_model.nvgformer.scale_factors": scales}
    for name, value in networks.items():
        state[f"nvgformer.{name}"] = torch.zeros_like(value)
        state[f"ema_model.nvgformer.{name}"] = value.clone()
    if with_autoencoder:
        state |= release_autoencoder("first_stage_model.")
    return state
