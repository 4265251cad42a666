"""Extractors and weights are refused by name, before anything is loaded."""

from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.pretrained.names import (
    EFFICIENTNET,
    INCEPTION,
    RANDOM,
    VGG,
    brings_weights,
    require_extractor,
    require_vgg,
)
from tests.nvg.pretrained.makers import OWN


def test_what_may_be_used_is_let_through(tmp_path: Path) -> None:
    """Known names with a file that may hold weights, packaged and own ones without."""
    (tmp_path / "weights.pth").write_bytes(bytes(range(256)))
    for name in (INCEPTION, VGG, EFFICIENTNET, OWN):
        require_extractor(name, tmp_path / "weights.pth")
    for name in (EFFICIENTNET, OWN):
        assert brings_weights(name)
        require_extractor(name, None)
    require_vgg(RANDOM)
    require_vgg(str(tmp_path / "weights.pth"))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    """One line for each, with what would do."""
    (tmp_path / "text.pth").write_text("no weights")
    for name, weights, words in (
        ("resnet", None, f"unknown extractor 'resnet': {INCEPTION}, {VGG}, {EFFICIENTNET}, or"),
        (VGG, None, "vgg16 needs --weights: a local file"),
        (VGG, tmp_path / "none.pth", r"none\.pth is no file: it should hold the weights of vgg16"),
        (VGG, tmp_path, "is no file"),
        (VGG, tmp_path / "text.pth", r"text\.pth does not hold .* vgg16: it is a text file"),
        ("no_such:thing", None, "extractor 'no_such:thing' cannot be imported: there is no module"),
    ):
        with pytest.raises(InputError, match=words):
            require_extractor(name, weights)
    with pytest.raises(InputError, match=r"none\.pth is no file: .* \(or say 'random'\)"):
        require_vgg(str(tmp_path / "none.pth"))
