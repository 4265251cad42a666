"""Extractors: networks by name whose features of images are compared.

Legend: B image of a batch, F feature channel, D row or column of pixels or of the grid.
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nvg.errors import InputError
from nvg.foreign import read_plain
from nvg.lazy import own_function
from nvg.precision import Part, numbers
from nvg.pretrained.efficientnet import efficientnet_lite0, packaged_weights
from nvg.pretrained.names import EFFICIENTNET, INCEPTION, LAYERS, require_extractor


@dataclass(frozen=True)
class NamedExtractor:
    """What is known of a network without having it, and what its measures may be called."""

    name: str
    weights: str
    """SHA-256 of its weights file, "" where it has none."""

    @property
    def distance_name(self) -> str:
        """What a distance of its features may be called: FID only where it is Inception's."""
        return "FID" if self.name == INCEPTION else f"Frechet distance ({self.name})"

    @property
    def kernel_name(self) -> str:
        """The same for the kernel distance: KID only where it is Inception's."""
        return "KID" if self.name == INCEPTION else "kernel distance"

    @property
    def score_name(self) -> str:
        """The same for the score of its classes."""
        return "IS" if self.name == INCEPTION else "class score"


@dataclass(frozen=True)
class Extractor(NamedExtractor):
    """A network by name: uint8 images [B, 3, D, D] -> features [B, F], perhaps class logits."""

    network: nn.Module

    def __call__(self, pixels: Tensor) -> Tensor:
        """Features alone."""
        return self.both(pixels)[0]

    @torch.no_grad()
    def both(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features, and logits [B, L] where the network gives a second output; in exact fp32."""
        with numbers(Part.FEATURES, pixels.device):
            found = self.network(pixels)
        values, *rest = found if isinstance(found, tuple) else (found,)
        return values.flatten(1), rest[0] if rest else None

    @property
    def named(self) -> NamedExtractor:
        """It without the network."""
        return NamedExtractor(self.name, self.weights)


def load_extractor(name: str, weights: Path | None, device: torch.device) -> Extractor:
    """A network by name with local or packaged weights, or what MODULE:FUNCTION(weights) returns.

    Nothing is downloaded. InputError when the name is unknown or the weights cannot be used.
    """
    require_extractor(name, weights)
    registry = _registry()
    if name == EFFICIENTNET:
        weights = weights or packaged_weights()
    identity = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else ""
    if ":" in name:
        network = _own(name, weights)
    else:
        assert weights  # required of all others
        is_lite = name == EFFICIENTNET
        network = efficientnet_lite0(weights) if is_lite else _known(name, weights, registry)
    return Extractor(name, identity, network.to(device).eval())


def _registry() -> Any:
    """torch-fidelity's networks by name; every distance needs that library."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as REGISTRY
    except ImportError:
        raise InputError(
            'Frechet distances need torch-fidelity: pip install -e ".[metrics]"'
        ) from None
    return REGISTRY


def _known(name: str, weights: Path, registry: Any) -> nn.Module:
    read_plain(weights, f"the weights of {name}")  # torch-fidelity would unpickle
    try:
        made: nn.Module = registry[name](
            name, list(LAYERS[name]), feature_extractor_weights_path=str(weights)
        )
    except Exception as error:  # whatever foreign names and shapes cause
        raise InputError(
            f"{weights} does not hold the weights of {name}: it holds those of another network"
        ) from error
    return made


def _own(name: str, weights: Path | None) -> nn.Module:
    """What a user's function returns."""
    made = own_function(name, "extractor")(weights)
    if not isinstance(made, nn.Module):
        raise InputError(f"extractor {name} returned no torch module: let it return a network")
    return made
