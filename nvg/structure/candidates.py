"""Greedy structure from FAISS neighbors, for grids whose key matrix does not fit in memory.

Legend: n cluster of a stage, m cluster still asked about, k nearest candidate, C channel.

Each cluster keeps its k nearest candidates, ranked by the exact key. The k-th float32 distance,
minus its error, is a lower bound for all other clusters: a candidate with a smaller exact distance
is certainly the nearest. Certain mutual neighbors merge. When none are left, clusters without a
certain neighbor search again among those unmerged; uncertain results are compared with all.
"""

import torch
from torch import Tensor

from nvg.faiss_search import neighbours
from nvg.structure.lattice import lattice
from nvg.structure.merging import merge_pairs, pairs_of
from nvg.structure.rounds import pair_by_rounds

CANDIDATES = 16  # per cluster, itself included
SMALLEST = 512  # levels of fewer clusters use a key matrix, which is faster
EXACT_KEYS = 1 << 22  # entries of the key matrix of uncertain clusters held at once


def greedy_candidates(latents_BNC: Tensor) -> Tensor:
    """Leaves [B, N] of latents [B, N, C], image by image."""
    return torch.cat([merge_pairs(lattice(part), _pairing) for part in latents_BNC.split(1)])


def _pairing(point_1nC: Tensor) -> tuple[Tensor, Tensor]:
    if point_1nC.shape[1] < SMALLEST:
        return pair_by_rounds(point_1nC)
    return pairs_of(_Level(point_1nC[0]).partners().unsqueeze(0))


class _Level:
    """The clusters of one level: which are unmerged, and the candidate neighbors of each."""

    def __init__(self, point_nC: Tensor) -> None:
        count, device = len(point_nC), point_nC.device
        self.point_nC, self.single_nC = point_nC, point_nC.float()
        self.alive_n = torch.ones(count, dtype=torch.bool, device=device)
        self.partner_n = torch.arange(count, device=device)
        self.candidate_nk = torch.zeros(count, CANDIDATES, dtype=torch.int64, device=device)
        self.key_nk = torch.full((count, CANDIDATES), torch.inf, dtype=torch.float64, device=device)
        self.bound_n = torch.zeros(count, dtype=torch.float64, device=device)

    def partners(self) -> Tensor:
        """The partner of every cluster."""
        while True:
            (alive_m,) = torch.nonzero(self.alive_n, as_tuple=True)
            if not len(alive_m):
                return self.partner_n
            open_m = self._merge_certain(alive_m)
            if len(open_m):
                self._ask(open_m)

    def _merge_certain(self, alive_m: Tensor) -> Tensor:
        """Merge certain mutual nearest neighbors; return clusters without candidates."""
        count = len(self.point_nC)
        while True:
            candidate_mk, key_mk = self.candidate_nk[alive_m], self.key_nk[alive_m]
            key_mk.masked_fill_(~self.alive_n[candidate_mk], torch.inf)
            least_m, place_m = key_mk.min(1)
            certain_m = torch.floor(least_m / count) < self.bound_n[alive_m]
            nearest_m = candidate_mk.gather(1, place_m.unsqueeze(1)).squeeze(1)
            nearest_n = torch.full_like(self.partner_n, -1)
            nearest_n[alive_m] = torch.where(certain_m, nearest_m, -1)
            mutual_m = certain_m & (nearest_n[nearest_m] == alive_m)
            merged_m = alive_m[mutual_m]
            if not len(merged_m):
                return alive_m[~certain_m]
            self.partner_n[merged_m] = nearest_m[mutual_m]
            self.alive_n[merged_m] = False
            alive_m = alive_m[~mutual_m]

    def _ask(self, row_m: Tensor) -> None:
        """New candidates for some clusters, from FAISS, else by exact comparison with all."""
        (alive_n,) = torch.nonzero(self.alive_n, as_tuple=True)
        count = min(CANDIDATES, len(alive_n))
        base_nC = self.single_nC[alive_n]
        square_mk, index_mk = neighbours(self.single_nC[row_m], base_nC, count)
        square_n = base_nC.square().sum(1)
        query_m = self.single_nC[row_m].square().sum(1)
        error_m = (2 * base_nC.shape[1] + 32) * 2.0**-24 * (query_m + square_n.amax())
        bound_m = (square_mk[:, -1] - error_m).double()
        if count == len(alive_n):
            bound_m.fill_(torch.inf)
        candidate_mk = alive_n[index_mk]
        key_mk = self._keys(row_m, candidate_mk)
        doubt_m = torch.floor(key_mk.amin(1) / len(self.point_nC)) >= bound_m
        self.candidate_nk[row_m, :count] = candidate_mk
        self.key_nk[row_m] = torch.inf
        self.key_nk[row_m, :count] = key_mk
        self.bound_n[row_m] = bound_m
        self._compare_with_all(row_m[doubt_m], alive_n)

    def _compare_with_all(self, row_m: Tensor, alive_n: Tensor) -> None:
        """The one nearest cluster of each row, which is then its only candidate."""
        for part_m in row_m.split(max(1, EXACT_KEYS // len(alive_n))):
            key_mn = self._keys(part_m, alive_n.expand(len(part_m), -1))
            least_m, place_m = key_mn.min(1)
            self.key_nk[part_m] = torch.inf
            self.key_nk[part_m, 0] = least_m
            self.candidate_nk[part_m, 0] = alive_n[place_m]
            self.bound_n[part_m] = torch.floor(least_m / len(self.point_nC)) + 1

    def _keys(self, row_m: Tensor, candidate_mk: Tensor) -> Tensor:
        """Exact keys d2 * n + (i xor j) in float64 [m, k]; inf for a row itself."""
        square_mk = torch.zeros(candidate_mk.shape, dtype=torch.float64, device=row_m.device)
        for value_n in self.point_nC.T:
            square_mk += (value_n[row_m].unsqueeze(1) - value_n[candidate_mk]).square_()
        key_mk = square_mk * len(self.point_nC) + (row_m.unsqueeze(1) ^ candidate_mk)
        return key_mk.masked_fill_(row_m.unsqueeze(1) == candidate_mk, torch.inf)
