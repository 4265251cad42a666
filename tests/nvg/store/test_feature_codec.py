"""Features as bytes: what FAISS fits is what torch codes with, and little is lost."""

import faiss
import numpy as np
import pytest
import torch

from nvg.errors import InputError
from nvg.store.feature_codec import CodecShape, FeatureCodec, fit_codec
from nvg.weights import CheckpointError
from tests.nvg.store.makers import random_codec


def correlated(count: int, width: int, rank: int, noise: float) -> torch.Tensor:
    """Features [count, width] around a plane of `rank` dimensions, off the origin."""
    generator = torch.Generator().manual_seed(1)
    plane = torch.randn(rank, width, generator=generator)
    inside = torch.randn(count, rank, generator=generator) @ plane
    return inside + 5 + noise * torch.randn(count, width, generator=generator)


def test_codes_are_those_of_faiss() -> None:
    """PCA and an 8-bit scalar quantizer of FAISS's own index: equal but for rounding at a step."""
    features = correlated(400, 16, 4, 0.1)
    codec = fit_codec(features, 4)
    index = faiss.index_factory(16, "PCA4,SQ8")
    index.train(features.numpy())
    wanted = index.sa_encode(features.numpy()).astype(int)
    found = codec.encode(features).numpy().astype(int)
    assert np.abs(found - wanted).max() <= 1
    assert (found == wanted).mean() > 0.99
    back = torch.from_numpy(index.sa_decode(index.sa_encode(features.numpy())))
    beyond = codec.mean - codec.basis.T @ (codec.basis @ codec.mean)  # FAISS's way back loses it
    assert torch.allclose(codec.decode(torch.from_numpy(wanted)), back + beyond, atol=1e-3)


def test_little_is_lost_where_the_components_suffice() -> None:
    """A plane is kept but for a 255th of its extent; half of its dimensions keep about half."""
    features = correlated(2000, 32, 8, 0.0)
    assert fit_codec(features, 8).kept(features) > 0.9995
    assert 0.3 < fit_codec(features, 4).kept(features) < 0.9


def test_what_lies_outside_the_samples_is_clipped() -> None:
    """Beyond the range codes are 0 and 255, never wrapped."""
    codec = random_codec()
    far = 1e6 * codec.basis.sum(0)
    assert codec.encode(far).tolist() == [255] * 3
    assert codec.encode(-far).tolist() == [0] * 3


def test_a_constant_component_is_coded_without_a_division_by_zero() -> None:
    """Features that do not vary come back as they were."""
    features = torch.ones(200, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    codec = fit_codec(features, 2)
    assert torch.allclose(codec.decode(codec.encode(features)), features, atol=1e-4)


def test_bytes_bring_the_same_codec_back() -> None:
    """Through one blob, exactly."""
    codec = random_codec()
    again = FeatureCodec.from_bytes(codec.to_bytes())
    assert again.shape == CodecShape(width=12, dims=3)
    for name, value in codec.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        FeatureCodec.from_bytes(b"something else")


def test_too_few_samples_are_refused() -> None:
    """One line with both numbers and the remedy."""
    with pytest.raises(InputError, match=r"100 patches are too few .* at least 160 .* lower dims"):
        fit_codec(torch.randn(100, 8), 4)


def test_more_components_than_channels_are_refused() -> None:
    """Nothing could fill them."""
    with pytest.raises(ValueError, match="dims 9 is more than the 8 channels"):
        fit_codec(torch.randn(400, 8), 9)
