"""Discriminators: logits per patch, what is trained, and that gradients reach the images.

The transformer is a small one of timm with random weights.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from nvg.errors import InputError
from nvg.training.autoencoder.config import DiscriminatorKind
from nvg.training.autoencoder.discriminator import (
    FeatureDiscriminator,
    MapDiscriminator,
    PatchDiscriminator,
    build_discriminator,
)
from tests.nvg.pretrained.makers import VIT


def test_patchgan_has_the_usual_size_and_field() -> None:
    """Widths 64, 128, 256, 512, 4x4 filters, a norm on each but the first and the last."""
    model = PatchDiscriminator()
    filters = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    others = 64 + 2 * (128 + 256 + 512) + 1
    assert sum(p.numel() for p in model.parameters()) == filters + others
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 36)


@pytest.mark.thorough
def test_heads_judge_five_readouts_of_a_frozen_transformer(vit_weights: Path) -> None:
    """14x14 logits from each; the transformer is neither trained nor saved."""
    model = FeatureDiscriminator(VIT, vit_weights)
    images = torch.rand(2, 3, 32, 32).mul(2).sub(1).requires_grad_()
    logits = model(images)
    assert logits.shape == (2, 5 * 14 * 14)
    logits.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    names = {name.split(".")[0] for name in model.state_dict()}
    assert names == {"heads"}
    assert all(p.requires_grad for p in model.parameters())


def test_large_images_are_cropped_or_shrunk(vit_weights: Path) -> None:
    """By the toss of a coin, and either gives the logits of one transformer."""
    model = FeatureDiscriminator(VIT, vit_weights)
    for seed in range(4):
        torch.manual_seed(seed)
        assert model(torch.rand(2, 3, 256, 256)).shape == (2, 980)


@pytest.mark.thorough
def test_all_filters_of_the_heads_are_normalised(vit_weights: Path) -> None:
    """The largest singular value of every convolution is near one."""
    model = FeatureDiscriminator(VIT, vit_weights)
    for _ in range(30):
        model(torch.rand(2, 3, 32, 32))
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            matrix = module.weight.detach().flatten(1)
            assert float(torch.linalg.matrix_norm(matrix, 2)) == pytest.approx(1, abs=0.1)


def test_a_head_judges_each_map_of_a_frozen_network(efficientnet_package: Path) -> None:
    """A logit a position of the five maps; the network is neither trained nor saved."""
    model = build_discriminator(DiscriminatorKind.EFFICIENTNET, "", "")
    assert isinstance(model, MapDiscriminator)
    images = torch.rand(2, 3, 32, 32).mul(2).sub(1).requires_grad_()
    logits = model(images)
    assert logits.shape == (2, 16**2 + 8**2 + 4**2 + 2**2 + 1)
    logits.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert {name.split(".")[0] for name in model.state_dict()} == {"heads"}
    assert model(torch.rand(2, 3, 256, 256)).shape == (2, 112**2 + 56**2 + 28**2 + 14**2 + 7**2)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    """Patches need none."""
    with pytest.raises(InputError, match="is no file"):
        build_discriminator(DiscriminatorKind.DINO, VIT, str(tmp_path / "none.pth"))
    assert isinstance(build_discriminator(DiscriminatorKind.PATCH, "", ""), PatchDiscriminator)
