"""Extractors and their weights by name, so that a command line is checked without torch."""

from pathlib import Path

from nvg.errors import InputError
from nvg.files import fault_of_weights
from nvg.lazy import own_function

INCEPTION, VGG, EFFICIENTNET = "inception-v3-compat", "vgg16", "efficientnet-lite0"
# Layers of the features that are compared, and of class logits where there are some.
LAYERS = {INCEPTION: ["2048", "logits_unbiased"], VGG: ["fc2_relu"]}
VGG_WEIGHTS = "torchvision's VGG16 weights"  # which LPIPS needs
RANDOM = "random"  # instead of a weights file: an untrained VGG16, for trials without weights


def brings_weights(name: str) -> bool:
    """Whether an extractor needs no weights file: a packaged one, or a user's own."""
    return name == EFFICIENTNET or ":" in name


def require_extractor(name: str, weights: Path | None) -> None:
    """InputError for an unknown name, or weights that are missing or none; imports a user's own."""
    if ":" in name:
        own_function(name, "extractor")
    elif name not in (*LAYERS, EFFICIENTNET):
        known = ", ".join((*LAYERS, EFFICIENTNET))
        raise InputError(f"unknown extractor {name!r}: {known}, or your own MODULE:FUNCTION")
    if weights is None and not brings_weights(name):
        raise InputError(f"{name} needs --weights: a local file, nothing is downloaded")
    if weights is not None:
        require_weights(weights, f"the weights of {name}")


def require_vgg(vgg: str) -> None:
    """InputError unless it is RANDOM or may be a file of torchvision's VGG16 weights."""
    if vgg != RANDOM:
        require_weights(Path(vgg), VGG_WEIGHTS, f" (or say {RANDOM!r})")


def require_weights(file: Path, wanted: str, otherwise: str = "") -> None:
    """InputError for a path that is no file, or one that cannot hold weights."""
    if not file.is_file():
        raise InputError(f"{file} is no file: it should hold {wanted}{otherwise}")
    if fault := fault_of_weights(file):
        raise InputError(f"{file} does not hold {wanted}: it is {fault}")
