"""FAISS on torch tensors: neighbours, centroids, and what is said where it is missing."""

import sys

import pytest
import torch

from nvg import faiss_search
from nvg.errors import InputError
from nvg.faiss_search import kmeans, neighbours

# M query, V base vector, C channel, k neighbour


def test_neighbours_are_the_nearest_in_order() -> None:
    """Indices and squared distances equal a full float64 sort, query by query."""
    generator = torch.Generator().manual_seed(0)
    queries_MC = torch.randn(40, 8, generator=generator)
    base_VC = torch.randn(300, 8, generator=generator)
    square_Mk, index_Mk = neighbours(queries_MC, base_VC, 5)
    exact_MV = torch.cdist(queries_MC.double(), base_VC.double()).square()
    expected = exact_MV.sort(1)
    assert index_Mk.tolist() == expected.indices[:, :5].tolist()
    assert torch.allclose(square_Mk.double(), expected.values[:, :5], rtol=1e-4)


def test_neighbours_take_any_layout() -> None:
    """A transposed view counts as its values."""
    base_CV = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    assert neighbours(base_CV.T, base_CV.T, 1)[1][:, 0].tolist() == list(range(50))


def test_kmeans_finds_the_clusters_of_a_seed() -> None:
    """Well separated clusters get a centroid each; the same seed gives the same centroids."""
    generator = torch.Generator().manual_seed(2)
    centre_VC = 100 * torch.randn(8, 4, generator=generator)
    vectors_MC = centre_VC.repeat_interleave(50, 0)
    vectors_MC = vectors_MC + torch.randn(400, 4, generator=generator)
    found_VC = kmeans(vectors_MC, 8, 20, seed=3)
    assert found_VC.shape == (8, 4)
    assert torch.equal(found_VC, kmeans(vectors_MC, 8, 20, seed=3))
    spread = torch.cdist(vectors_MC, found_VC).min(1).values
    assert float(spread.median()) < 5


def test_kmeans_uses_every_vector() -> None:
    """No vector is left out, however many there are to a centroid: the mean of one is the mean."""
    vectors_MC = torch.arange(2000.0).view(-1, 1)
    assert float(kmeans(vectors_MC, 1, 2, seed=0)) == pytest.approx(999.5)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FAISS the error says how to get it."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    faiss_search._library.cache_clear()
    with pytest.raises(InputError, match="pip install"):
        neighbours(torch.zeros(1, 2), torch.zeros(3, 2), 1)
    faiss_search._library.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU build may be installed there")
def test_a_cpu_build_has_no_gpu_resources() -> None:
    """Where FAISS was built without GPUs, asking for one names the extra that has them."""
    with pytest.raises(InputError, match="gpu"):
        faiss_search._gpu()
