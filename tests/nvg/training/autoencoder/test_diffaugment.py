"""Augmentation of what a discriminator sees: shapes, bounds, gradients, one draw per image."""

import pytest
import torch

from nvg.training.autoencoder.diffaugment import CUTOUT, augment, blur, cut_out, recolour, translate


def test_a_seed_fixes_everything() -> None:
    """Same seed, same pictures; another seed, others; shapes and gradients stay."""
    images = (torch.rand(4, 3, 16, 16) * 2 - 1).requires_grad_()
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(augment(images))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert made[0].shape == images.shape
    made[0].sum().backward()
    assert images.grad is not None


def test_colours_are_drawn_for_each_image() -> None:
    """A grey image keeps no colour, and its mean moves by half at most."""
    torch.manual_seed(0)
    found = recolour(torch.zeros(64, 3, 4, 4))
    assert torch.allclose(found[:, 0], found[:, 2], atol=1e-6)
    mean = found.mean((1, 2, 3))
    assert float(mean.abs().max()) <= 0.5
    assert len(mean.unique()) > 32


def test_translation_moves_whole_pixels() -> None:
    """A single bright pixel ends up to 2 of 16 pixels away, as bright as before."""
    torch.manual_seed(0)
    images = torch.zeros(64, 3, 16, 16)
    images[:, :, 8, 8] = 1
    found = translate(images)
    places = found[:, 0].flatten(1).argmax(1)
    assert torch.equal(found.sum((2, 3)), torch.ones(64, 3))
    rows, columns = places // 16, places % 16
    assert (int(rows.min()), int(rows.max())) == (6, 10)
    assert (int(columns.min()), int(columns.max())) == (6, 10)


def test_a_square_is_cut_out() -> None:
    """At most a fifth of the side, squared, and somewhere as much; less at the edge."""
    torch.manual_seed(0)
    holes = (cut_out(torch.ones(64, 3, 20, 20)) == 0)[:, 0].sum((1, 2))
    assert int(holes.max()) == round(20 * CUTOUT) ** 2
    assert int(holes.min()) < 16


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_blur_is_a_gaussian(sigma: float) -> None:
    """A point becomes a bell of that width; a constant stays."""
    point = torch.zeros(1, 3, 41, 41)
    point[..., 20, 20] = 1
    found = blur(point, sigma)[0, 0]
    place = torch.arange(41.0) - 20
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    spread = float((found.sum(0) * place.square()).sum()) ** 0.5
    assert spread == pytest.approx(sigma, rel=0.08)
    assert torch.allclose(blur(torch.ones(1, 3, 8, 8), sigma), torch.ones(1, 3, 8, 8), atol=1e-5)


def test_no_blur_is_no_change() -> None:
    """Below a tenth of a pixel images come back as they are."""
    images = torch.rand(1, 3, 8, 8)
    assert blur(images, 0.0) is images
