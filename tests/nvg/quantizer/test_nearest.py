"""The search for the nearest code: every backend against one that tries all in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.quantizer import nearest as search
from nvg.quantizer.nearest import nearest_code
from tests.nvg.quantizer import reference

# M vector, C latent channel, V code
BACKENDS = ["numba", "torch", "faiss", "auto"]
light = settings(deadline=None, max_examples=50)


def brute_nearest(vectors_MC: Tensor, codebook_VC: Tensor) -> list[int]:
    """The reference's search, for every vector."""
    codebook = codebook_VC.double().numpy()
    return [reference.nearest_code(vector, codebook) for vector in vectors_MC.double().numpy()]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@light
@given(
    seed=st.integers(0, 2**32 - 1),
    vectors=st.integers(1, 40),
    codes=st.integers(1, 30),
    channels=st.integers(1, 11),
)
def test_the_lowest_of_equals_wins(seed: int, vectors: int, codes: int, channels: int) -> None:
    """On small integers, full of exact ties and repeated codes, all backends take the lowest."""
    rng = np.random.default_rng(seed)
    vectors_MC = torch.from_numpy(rng.integers(-2, 3, (vectors, channels))).float()
    codebook_VC = torch.from_numpy(rng.integers(-2, 3, (codes, channels))).float()
    expected = brute_nearest(vectors_MC, codebook_VC)
    for backend in BACKENDS:
        got = nearest_code(vectors_MC, codebook_VC, backend)
        assert got.dtype == torch.int64
        assert got.tolist() == expected, backend


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shift", "scale"),
    [(0.0, 1.0), (0.0, 1e-6), (0.0, 1e15), (3.0, 1.0), (30.0, 1.0), (1000.0, 1.0), (-1e4, 1.0)],
)
def test_rounding_decides_nothing(backend: str, shift: float, scale: float) -> None:
    """Small, large or far from the origin, each vector finds the code that float64 finds."""
    vectors_MC = scale * (shift + normal(500, 32, seed=11))
    codebook_VC = scale * (shift + normal(100, 32, seed=12))
    got = nearest_code(vectors_MC, codebook_VC, backend)
    assert got.tolist() == brute_nearest(vectors_MC, codebook_VC)


@pytest.mark.parametrize("backend", BACKENDS)
def test_near_ties_are_settled_exactly(backend: str) -> None:
    """Codes that lie one rounding of float32 apart are still told apart, in either order."""
    base_MC = normal(64, 32, seed=3)
    nearer_MC, farther_MC = base_MC.clone(), base_MC.clone()
    nearer_MC[:, 0] += 1e-3
    farther_MC[:, 0] += 1e-3 * (1 + 3e-7)
    for codebook_VC in (torch.cat((farther_MC, nearer_MC)), torch.cat((nearer_MC, farther_MC))):
        expected = brute_nearest(base_MC, codebook_VC)
        assert nearest_code(base_MC, codebook_VC, backend).tolist() == expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("codes", [255, 256, 257, 700])
def test_codebooks_of_any_size(backend: str, codes: int) -> None:
    """Neither the last block of codes nor the last tile of vectors is special."""
    for vectors in (1, 3, 4, 63, 65, 130):
        vectors_MC, codebook_VC = normal(vectors, 6, seed=5), normal(codes, 6, seed=6)
        got = nearest_code(vectors_MC, codebook_VC, backend)
        assert (
            got.tolist()
            == torch.cdist(vectors_MC.double(), codebook_VC.double()).argmin(1).tolist()
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_code_is_nearest_to_itself(backend: str) -> None:
    """At the paper's size every code finds itself, and a repeated one its first."""
    codebook_VC = normal(4096, 32, seed=12)
    codebook_VC[4000:] = codebook_VC[:96]
    expected = [*range(4000), *range(96)]
    assert nearest_code(codebook_VC, codebook_VC, backend).tolist() == expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_mean_their_own_values(backend: str, dtype: torch.dtype) -> None:
    """Half precision is searched as it stands; double keeps differences that float32 loses."""
    vectors_MC, codebook_VC = normal(50, 8, seed=1).to(dtype), normal(20, 8, seed=2).to(dtype)
    if dtype == torch.float64:
        vectors_MC, codebook_VC = vectors_MC * 1e-9 + 1, codebook_VC * 1e-9 + 1
    got = nearest_code(vectors_MC, codebook_VC, backend)
    assert got.tolist() == brute_nearest(vectors_MC, codebook_VC)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 3e38])
def test_what_has_no_nearest_still_gets_a_code(backend: str, bad: float) -> None:
    """A diverged vector gets some index of the codebook, and its neighbours keep theirs."""
    vectors_MC, codebook_VC = normal(9, 8, seed=1), normal(20, 8, seed=2)
    expected = nearest_code(vectors_MC, codebook_VC)
    vectors_MC[4] = bad
    got = nearest_code(vectors_MC, codebook_VC, backend)
    assert 0 <= int(got[4]) < 20
    expected[4] = got[4]
    assert torch.equal(got, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_layout_gradient_and_empty_batches(backend: str) -> None:
    """Transposed views and trained codebooks are searched without a graph; none gives none."""
    vectors_CM = normal(8, 30, seed=1)
    codebook_VC = normal(20, 8, seed=2).requires_grad_()
    got = nearest_code(vectors_CM.T, codebook_VC, backend)
    assert not got.requires_grad
    assert got.tolist() == brute_nearest(vectors_CM.T, codebook_VC.detach())
    assert nearest_code(torch.empty(0, 8), codebook_VC, backend).shape == (0,)


def test_parts_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not depend on how the work is cut up."""
    vectors_MC, codebook_VC = normal(300, 16, seed=1), normal(500, 16, seed=2)
    whole = nearest_code(vectors_MC, codebook_VC)
    monkeypatch.setattr(search, "SCORES", 7 * 500)
    monkeypatch.setattr(search, "TIE_SCORES", 3 * 500)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for backend in BACKENDS:
            assert torch.equal(nearest_code(vectors_MC, codebook_VC, backend), whole)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(nearest_code(vectors_MC.double(), codebook_VC), whole)


@pytest.fixture(scope="module")
def searched() -> tuple[Tensor, Tensor, list[int]]:
    """Vectors, codes, and the nearest code of each by slow code."""
    vectors_MC, codebook_VC = normal(2000, 32, seed=1), normal(300, 32, seed=2)
    return vectors_MC, codebook_VC, brute_nearest(vectors_MC, codebook_VC)


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_reduced_products_are_not_used(
    precision: str,
    searched: tuple[Tensor, Tensor, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever torch may compute products in, the search uses float32: few ask float64."""
    open_rows: list[int] = []
    decide = search._exhaustive

    def watched(rows_MC: Tensor, codes_VC: Tensor) -> Tensor:
        open_rows.append(len(rows_MC))
        return decide(rows_MC, codes_VC)

    monkeypatch.setattr(search, "_exhaustive", watched)
    vectors_MC, codebook_VC, nearest = searched
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        got = nearest_code(vectors_MC, codebook_VC, "torch")
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert got.tolist() == nearest
    assert sum(open_rows) <= 0.005 * len(vectors_MC)


def test_shapes_that_do_not_fit_are_refused() -> None:
    """The error has both shapes; an unknown backend is refused by name."""
    with pytest.raises(ValueError, match=r"(?s)3, 4.*5, 6"):
        nearest_code(torch.zeros(3, 4), torch.zeros(5, 6))
    with pytest.raises(ValueError, match="1, 3, 4"):
        nearest_code(torch.zeros(1, 3, 4), torch.zeros(5, 4))
    with pytest.raises(ValueError, match="magic"):
        nearest_code(torch.zeros(3, 4), torch.zeros(5, 4), "magic")
