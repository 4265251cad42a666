"""Rounding to TF32, and the differences that the table counts."""

import torch

from nvg.choices import EncoderPrecision
from tests.bench.precision import as_tf32, change, emulated_tf32
from tests.nvg.tokenizer.makers import tiny_autoencoder

FP32 = EncoderPrecision.FP32


def test_tf32_keeps_ten_bits() -> None:
    """The nearest number of ten bits; halves go away from zero."""
    step = 2.0**-10
    given = torch.tensor([1.0, 1 + step, 1 + 0.49 * step, 1 + 0.5 * step, -1 - 0.5 * step, 0.0])
    expected = torch.tensor([1.0, 1 + step, 1.0, 1 + step, -1 - step, 0.0])
    assert torch.equal(as_tf32(given), expected)
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    error = (as_tf32(values) - values).abs() / values.abs()
    assert 0.4 * step < error.max() <= 0.5 * step


def test_the_emulation_reaches_convolutions_and_products() -> None:
    """Their weights are rounded, their biases are not."""
    layer = torch.nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        for weight, value in zip(layer.parameters(), (1 + 2.0**-12, 2.0**-12), strict=True):
            weight.fill_(value)
        with emulated_tf32(True):
            assert float(layer(torch.ones(1, 1, 1, 1))) == 1 + 2.0**-12
        assert float(layer(torch.ones(1, 1, 1, 1))) == 1 + 2.0**-11


def test_what_did_not_change_counts_nothing() -> None:
    """fp32 against itself; against leaves and tokens that are all others, everything."""
    model, generator = tiny_autoencoder(), torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=generator)
    leaves, content, _ = model.tokenize(pixels)
    same = change(model, pixels, (leaves, content), FP32)
    assert (same.photos, same.leaves, same.tokens, same.same_leaves) == (0, 0, 0, 0)
    wrong = content.clone()
    wrong[0, 0] += 1
    one = change(model, pixels, (leaves, wrong), FP32)
    assert (one.photos, one.tokens, one.same_leaves) == (0, 1 / 93, 1 / 93)
    other = leaves.clone()
    other[1, :2] = leaves[1, :2].flip(0)
    found = change(model, pixels, (other, content), FP32)
    assert (found.photos, found.leaves, found.tokens) == (1 / 3, 2 / 48, 0)
    assert found.psnr == same.psnr
