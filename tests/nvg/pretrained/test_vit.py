"""Vision transformers from local files: patches in their places, and weights that do not fit."""

from pathlib import Path

import pytest
import torch

from nvg.errors import InputError
from nvg.pretrained.vit import VisionTransformer
from nvg.training.autoencoder.discriminator import FeatureDiscriminator
from tests.nvg.pretrained.makers import VIT


@pytest.mark.thorough
def test_patches_follow_the_grid(vit_weights: Path) -> None:
    """A bright corner moves the patch that lies there most."""
    transformer = VisionTransformer(VIT, vit_weights, 4)
    images = torch.zeros(2, 3, 16, 16)
    images[1, :, 12:, :4] = 1.0
    found = transformer(images)
    assert found.shape == (2, 16, 64)
    change = (transformer.backbone.patch_embed(transformer.prepare(images))).diff(dim=0)[0]
    assert int(change.norm(dim=-1).argmax()) == 12
    assert not transformer.train().training


def test_bad_weights_are_named(tmp_path: Path, vit_weights: Path) -> None:
    """A missing file, a file of something else, another model's, a name timm does not know."""
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for model, path, words in (
        (VIT, tmp_path / "none.pth", "is no file"),
        (
            VIT,
            tmp_path / "text.pth",
            f"weights of {VIT}: it is a text file",
        ),
        (
            VIT,
            tmp_path / "other.pth",
            f"weights of {VIT}: it lacks ",
        ),
        ("vit_none", vit_weights, "timm knows no model 'vit_none'"),
    ):
        with pytest.raises(InputError, match=words):
            VisionTransformer(model, path, 4)


def test_readouts_are_the_blocks_own(vit_weights: Path) -> None:
    """The last one is the sum of class token and patches before the final norm."""
    model = FeatureDiscriminator(VIT, vit_weights)
    transformer = model._frozen[0]
    images = torch.rand(1, 3, 32, 32)
    seen: list[torch.Tensor] = []
    handle = transformer.backbone.blocks[-1].register_forward_hook(lambda *a: seen.append(a[2]))
    found = transformer.readouts(images, 5)
    handle.remove()
    assert len(found) == 5
    assert torch.equal(found[-1], seen[0][:, 1:] + seen[0][:, :1])
