"""Greedy pairs from a few FAISS neighbors: exact even where these run out or are uncertain."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nvg import faiss_search
from nvg.structure import candidates, rounds
from nvg.structure.candidates import greedy_candidates
from nvg.structure.lattice import lattice
from tests.nvg.structure.cases import SAMPLED, expected_leaves
from tests.nvg.structure.kinds import (
    Kind,
    batch_of,
    constant,
    duplicates,
    ladder,
    nearly_tied,
    normal_latents,
)
from tests.nvg.structure.reference_builders import greedy_pairs

# B image, N position, n cluster of the level, m row asked about, k candidate, C latent channel
Neighbours = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
IMAGES = {2: 3, 8: 3, 32: 2, 64: 1}  # of so many positions


class Spy:
    """Queries to FAISS, and the number of rows compared with all clusters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.compared: list[int] = []
        neighbours = faiss_search.neighbours
        compare_with_all = candidates._Level._compare_with_all

        def ask(queries_MC: Tensor, base_VC: Tensor, count: int) -> tuple[Tensor, Tensor]:
            self.asked.append((len(queries_MC), len(base_VC), count))
            return neighbours(queries_MC, base_VC, count)

        def compare(level: candidates._Level, row_m: Tensor, alive_n: Tensor) -> None:
            self.compared.append(len(row_m))
            compare_with_all(level, row_m, alive_n)

        monkeypatch.setattr(candidates, "neighbours", ask)
        monkeypatch.setattr(candidates._Level, "_compare_with_all", compare)


def pairs_of_level(kind: Kind, size: int, channels: int) -> list[tuple[int, int]]:
    """The pairs of one level of one image, checked against the reference."""
    latents_BNC = torch.from_numpy(batch_of(kind, 4, 1, size, channels))
    point_nC = lattice(latents_BNC)[0]
    partner_n = candidates._Level(point_nC).partners().tolist()
    pairs = [(i, j) for i, j in enumerate(partner_n) if i < j]
    assert pairs == greedy_pairs(point_nC.long().tolist())
    return pairs


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Use FAISS at every level, with this many candidates per cluster."""

    def set_count(count: int) -> None:
        monkeypatch.setattr(candidates, "SMALLEST", 2)
        monkeypatch.setattr(candidates, "CANDIDATES", count)

    return set_count


@pytest.mark.thorough
@pytest.mark.parametrize("count", [1, 2, 3, 16])
@pytest.mark.parametrize("kind", SAMPLED)
def test_few_candidates_are_enough(kind: Kind, count: int, few: Callable[[int], None]) -> None:
    """One, two or three candidates per cluster, itself included, give the same leaves."""
    few(count)
    for size, images in IMAGES.items():
        for channels in (1, 4):
            latents_BNC = batch_of(kind, 8, images, size, channels)
            leaves_BN = greedy_candidates(torch.from_numpy(latents_BNC))
            assert leaves_BN.tolist() == expected_leaves(latents_BNC)


def test_small_levels_are_left_to_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAISS handles levels of at least SMALLEST clusters, a key matrix all others."""
    by_rounds = []
    pair_by_rounds = rounds.pair_by_rounds

    def spy(point_BnC: Tensor) -> tuple[Tensor, Tensor]:
        by_rounds.append(point_BnC.shape[1])
        return pair_by_rounds(point_BnC)

    monkeypatch.setattr(candidates, "pair_by_rounds", spy)
    monkeypatch.setattr(candidates, "SMALLEST", 16)
    latents_BNC = batch_of(normal_latents, 1, 2, 64, 3)
    leaves_BN = greedy_candidates(torch.from_numpy(latents_BNC))
    assert leaves_BN.tolist() == expected_leaves(latents_BNC)
    assert by_rounds == [8, 4, 2] * 2


def test_clusters_without_candidates_ask_again(
    few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a ladder each merge removes two candidates: the rest search among those unmerged."""
    few(3)
    spy = Spy(monkeypatch)
    assert pairs_of_level(ladder, 64, 1) == [(i, i + 1) for i in range(0, 64, 2)]
    assert len(spy.asked) > 2
    rows, alive, _ = zip(*spy.asked, strict=True)
    assert (rows[0], alive[0]) == (64, 64)
    assert sorted(alive, reverse=True) == list(alive)
    assert all(later < 64 for later in (*rows[1:], *alive[1:]))


def test_candidates_are_never_more_than_the_clusters(
    few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A level with fewer clusters than candidates is listed in full and certain."""
    few(16)
    spy = Spy(monkeypatch)
    for kind in (constant, normal_latents):
        pairs_of_level(kind, 8, 2)
    assert spy.asked == [(8, 8, 8)] * 2
    assert spy.compared == [0, 0]


@pytest.mark.parametrize("kind", [duplicates, constant])
def test_repeats_are_compared_with_all(
    kind: Kind, few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When candidates tie with clusters not listed, exact keys of all decide."""
    few(3)
    spy = Spy(monkeypatch)
    pairs_of_level(kind, 64, 4)
    assert spy.compared[0] == 64


def test_distances_alike_in_float32_are_compared_with_all(
    few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties that only the last lattice bits break are decided by exact keys."""
    few(3)
    spy = Spy(monkeypatch)
    pairs_of_level(nearly_tied, 64, 2)
    assert spy.compared[0] > 0


def test_ordinary_latents_need_no_comparison_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without repeats, the first candidates decide all nearest neighbors."""
    monkeypatch.setattr(candidates, "SMALLEST", 2)
    spy = Spy(monkeypatch)
    pairs_of_level(normal_latents, 256, 8)
    assert sum(spy.compared) == 0


@pytest.mark.parametrize("entries", [1, 64, 200])
def test_comparison_in_parts_changes_nothing(
    entries: int, few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaves do not depend on how many exact keys are held at once."""
    few(2)
    monkeypatch.setattr(candidates, "EXACT_KEYS", entries)
    latents_BNC = batch_of(duplicates, 3, 2, 64, 3)
    leaves_BN = greedy_candidates(torch.from_numpy(latents_BNC))
    assert leaves_BN.tolist() == expected_leaves(latents_BNC)


def inexact_neighbours(rng: np.random.Generator) -> Neighbours:
    """A stand-in for FAISS with the largest error of float32 norms and dot products of C terms."""

    def neighbours(queries_MC: Tensor, base_VC: Tensor, count: int) -> tuple[Tensor, Tensor]:
        query_MC, vector_VC = queries_MC.double().numpy(), base_VC.double().numpy()
        square_MV = ((query_MC[:, None] - vector_VC) ** 2).sum(2)
        norms_MV = (query_MC**2).sum(1)[:, None] + (vector_VC**2).sum(1)
        error_MV = (2 * query_MC.shape[1] + 4) * 2.0**-24 * norms_MV
        wrong_MV = np.maximum(square_MV + error_MV * rng.choice([-1, 1], square_MV.shape), 0)
        wrong_MV = wrong_MV.astype(np.float32)
        jitter_MV = rng.permuted(
            np.broadcast_to(np.arange(len(vector_VC)), square_MV.shape), axis=1
        )
        index_Mk = np.lexsort((jitter_MV, wrong_MV), axis=1)[:, :count]
        square_Mk = np.take_along_axis(wrong_MV, index_Mk, axis=1)
        return torch.from_numpy(square_Mk), torch.from_numpy(index_Mk)

    return neighbours


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("kind", SAMPLED)
def test_float32_errors_and_any_order_of_ties_do_not_show(
    kind: Kind, count: int, few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest float32 errors and ties in random order give the same leaves."""
    few(count)
    monkeypatch.setattr(candidates, "neighbours", inexact_neighbours(np.random.default_rng(count)))
    for size in (8, 32):
        latents_BNC = batch_of(kind, 9, 3, size, 4)
        leaves_BN = greedy_candidates(torch.from_numpy(latents_BNC))
        assert leaves_BN.tolist() == expected_leaves(latents_BNC)


def test_a_large_level_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With default constants, FAISS is queried once per cluster of a level of 1024."""
    spy = Spy(monkeypatch)
    latents_BNC = torch.from_numpy(batch_of(normal_latents, 2, 1, 1024, 8))
    partner_n = candidates._Level(lattice(latents_BNC)[0]).partners()
    assert torch.equal(partner_n[partner_n], torch.arange(1024))
    assert spy.asked[0] == (1024, 1024, 16)
    assert sum(rows for rows, _, _ in spy.asked) < 2 * 1024
    assert len(spy.asked) < math.log2(1024)
