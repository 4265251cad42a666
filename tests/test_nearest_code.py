"""The search for the nearest codeword against one that tries them all in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.quantizer import nearest_code
from tests import reference

# M vector, C latent channel, V codeword


def brute_nearest(vectors_MC: Tensor, codebook_VC: Tensor) -> list[int]:
    """The reference's search, for every vector."""
    codebook = codebook_VC.double().numpy()
    return [reference.nearest_code(vector, codebook) for vector in vectors_MC.double().numpy()]


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    vectors=st.integers(1, 40),
    codes=st.integers(1, 30),
    channels=st.integers(1, 6),
)
def test_nearest_code_takes_the_lowest_of_equals(
    seed: int, vectors: int, codes: int, channels: int
) -> None:
    """On small integers, full of exact ties and repeated codes, the lowest index wins."""
    rng = np.random.default_rng(seed)
    vectors_MC = torch.from_numpy(rng.integers(-2, 3, (vectors, channels))).float()
    codebook_VC = torch.from_numpy(rng.integers(-2, 3, (codes, channels))).float()
    got = nearest_code(vectors_MC, codebook_VC)
    assert got.dtype == torch.int64
    assert got.tolist() == brute_nearest(vectors_MC, codebook_VC)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.0, 1e-6), (3.0, 1.0), (10.0, 1.0)])
def test_nearest_code_equals_the_reference(shift: float, scale: float) -> None:
    """Random vectors find the reference's code, small or away from the origin too."""
    generator = torch.Generator().manual_seed(11)
    vectors_MC = scale * (shift + torch.randn(500, 32, generator=generator))
    codebook_VC = scale * (shift + torch.randn(100, 32, generator=generator))
    assert nearest_code(vectors_MC, codebook_VC).tolist() == brute_nearest(vectors_MC, codebook_VC)


def test_nearest_code_far_from_the_origin_errs_by_rounding_only() -> None:
    """At 30 standard deviations float32 may swap near-equals, within a thousandth in distance."""
    generator = torch.Generator().manual_seed(11)
    vectors_MC = 30 + torch.randn(500, 32, generator=generator)
    codebook_VC = 30 + torch.randn(100, 32, generator=generator)
    chosen_MC = codebook_VC[nearest_code(vectors_MC, codebook_VC)].double()
    best_MC = codebook_VC[brute_nearest(vectors_MC, codebook_VC)].double()
    chosen_M, best_M = ((vectors_MC - code_MC).square().sum(1) for code_MC in (chosen_MC, best_MC))
    assert bool((chosen_M <= 1.001 * best_M).all())


def test_nearest_code_of_a_code_is_itself() -> None:
    """At the paper's size every codeword is nearest to itself, and a repeated one to its first."""
    codebook_VC = torch.randn(4096, 32, generator=torch.Generator().manual_seed(12))
    codebook_VC[4000:] = codebook_VC[:96]
    expected = [*range(4000), *range(96)]
    assert nearest_code(codebook_VC, codebook_VC).tolist() == expected
