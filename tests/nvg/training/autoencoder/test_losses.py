"""The autoencoder's loss: its terms, their weights, and where its gradient goes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nvg.quantizer.residual import Quantized
from nvg.training.autoencoder.config import LossConfig
from nvg.training.autoencoder.losses import autoencoder_loss


def make_inputs() -> tuple[Tensor, Tensor, Quantized]:
    """Images that differ from their reconstruction by 0.5 in a quarter of the values."""
    images = torch.zeros(2, 3, 4, 4)
    rebuilt = torch.zeros(2, 3, 4, 4)
    rebuilt[..., 0] = 0.5
    empty = torch.zeros(0)
    return (
        images,
        rebuilt.requires_grad_(),
        Quantized(empty, empty, torch.tensor(3.0), empty, empty, torch.tensor(-2.0)),
    )


def test_terms_are_named_and_unweighted() -> None:
    """Mean absolute and mean squared error of the pixels, and the quantizer's own loss."""
    _, _, terms = autoencoder_loss(LossConfig(l1=7.0, l2=8.0, quantizer=9.0), *make_inputs())
    values = {name: float(term.detach()) for name, term in terms.items()}
    assert values == pytest.approx({"l1": 0.125, "l2": 0.0625, "quantizer": 3.0})


@pytest.mark.parametrize(
    ("weights", "total"),
    [
        ({}, 0.2 * 0.125 + 0.0625 + 3.0),
        ({"l1": 2.0, "l2": 0.0, "quantizer": 0.0}, 0.25),
        ({"l1": 0.0, "l2": 4.0, "quantizer": 0.0}, 0.25),
        ({"l1": 0.0, "l2": 0.0, "quantizer": 0.5}, 1.5),
        ({"l1": 1.0, "l2": 1.0, "quantizer": 1.0}, 3.1875),
    ],
)
def test_the_total_is_the_weighted_sum(weights: dict[str, Any], total: float) -> None:
    """The defaults are VAR's: 0.2 l1 + l2 + quantizer."""
    loss, _, _ = autoencoder_loss(LossConfig(**weights), *make_inputs())
    assert float(loss.detach()) == pytest.approx(total)


def test_the_gradient_reaches_the_reconstruction() -> None:
    """d/dr of 0.2 |r| / n + r^2 / n at r = 0.5 is (0.2 + 1.0) / n."""
    images, rebuilt, quantized = make_inputs()
    loss, _, _ = autoencoder_loss(LossConfig(), images, rebuilt, quantized)
    loss.backward()
    assert rebuilt.grad is not None
    torch.testing.assert_close(rebuilt.grad[..., 0], torch.full((2, 3, 4), 1.2 / 96))
    assert not rebuilt.grad[..., 1:].any()


def test_a_perfect_reconstruction_costs_the_quantizer_only() -> None:
    """With equal images the loss is the quantizer's term."""
    images, _, quantized = make_inputs()
    loss, _, terms = autoencoder_loss(LossConfig(), images, images, quantized)
    assert (float(terms["l1"]), float(terms["l2"]), float(loss.detach())) == (0.0, 0.0, 3.0)
