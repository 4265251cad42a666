"""Features of images for Frechet distances, and the distance; torch-fidelity does both.

Legend: B image of a batch, F feature channel, D row or column of pixels or of the grid.
"""

import hashlib
import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nvg.errors import InputError

INCEPTION = "inception-v3-compat"
# Layers of the features that are compared, and of class logits where there are some.
LAYERS = {INCEPTION: ["2048", "logits_unbiased"], "vgg16": ["fc2_relu"]}


@dataclass(frozen=True)
class Extractor:
    """A network by name: uint8 images [B, 3, D, D] -> features [B, F], perhaps class logits."""

    name: str
    weights: str
    """SHA-256 of its weights file, "" where it has none."""
    network: nn.Module

    def __call__(self, pixels: Tensor) -> Tensor:
        """Features alone."""
        return self.both(pixels)[0]

    @torch.no_grad()
    def both(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features, and logits [B, L] where the network gives a second output."""
        found = self.network(pixels)
        values, *rest = found if isinstance(found, tuple) else (found,)
        return values.flatten(1), rest[0] if rest else None

    @property
    def distance_name(self) -> str:
        """What a distance of its features may be called: FID only where it is Inception's."""
        if self.name == INCEPTION:
            return "FID"
        return f"Frechet distance (features: {self.name})"


def load_extractor(name: str, weights: Path | None, device: torch.device) -> Extractor:
    """A network of torch-fidelity with local weights, or what MODULE:FUNCTION(weights) returns.

    Nothing is downloaded. InputError when the name is unknown or the weights cannot be used.
    """
    if weights is not None and not weights.is_file():
        raise InputError(f"{weights} is no file: it should hold the weights of {name}")
    identity = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else ""
    network = _own(name, weights) if ":" in name else _known(name, weights)
    return Extractor(name, identity, network.to(device).eval())


def _known(name: str, weights: Path | None) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as REGISTRY
    except ImportError:
        raise InputError(
            'Frechet distances need torch-fidelity: pip install -e ".[metrics]"'
        ) from None
    if name not in REGISTRY or name not in LAYERS:
        known = ", ".join(LAYERS)
        raise InputError(f"unknown extractor {name!r}: {known}, or your own MODULE:FUNCTION")
    if weights is None:
        raise InputError(f"{name} needs --weights: a local file, nothing is downloaded")
    try:
        torch.load(weights, map_location="cpu", weights_only=True)  # torch-fidelity would unpickle
        made: nn.Module = REGISTRY[name](
            name, list(LAYERS[name]), feature_extractor_weights_path=str(weights)
        )
    except Exception as error:  # whatever a foreign file causes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{weights} does not hold the weights of {name}: {reason}") from error
    return made


def _own(name: str, weights: Path | None) -> nn.Module:
    """What a user's function returns."""
    module, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)(weights)
    except (ImportError, AttributeError) as error:
        raise InputError(f"extractor {name} cannot be imported: {error}") from error
    if not isinstance(made, nn.Module):
        raise InputError(f"extractor {name} returned no torch module")
    return made
