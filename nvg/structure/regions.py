"""Structure from the grid alone (a quadtree) or from label maps.

Legend: B image of a batch, N position, C channel, D row or column of pixels or of the grid.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from nvg.geometry import as_int64, canonical, last_stage, leaf_dtype, leaf_order
from nvg.structure.greedy import greedy
from nvg.structure.lattice import lattice, lattice_frame
from nvg.structure.space import grid_sides

Array = np.ndarray[Any, Any]


def spatial(latents_BNC: Tensor) -> Tensor:
    """Leaves [B, N] of a quadtree: halve the longer side, or top from bottom where equal.

    The same for every image: the baseline with granularity by scale alone. For odd K the grid is
    twice as wide as high.
    """
    lattice_frame(latents_BNC)  # raises for NaN and Inf
    batch, positions, _ = latents_BNC.shape
    K = last_stage(positions)
    size = list(grid_sides(positions))
    place = np.divmod(np.arange(positions), size[1])  # row and column
    label_N = np.zeros(positions, np.int64)
    for _ in range(K):
        side = 0 if size[0] >= size[1] else 1
        size[side] //= 2
        label_N = 2 * label_N + place[side] // size[side] % 2
    leaves_N = torch.from_numpy(label_N).to(leaf_dtype(positions)).to(latents_BNC.device)
    return leaves_N.expand(batch, positions).clone()


def segments(latents_BNC: Tensor, segments: Tensor) -> Tensor:
    """Leaves [B, N] that follow a label map per image, any integers, [B, D, D'] or [B, N].

    Top-down. A cluster of several regions is split so that as few regions as possible are cut:
    none if some of them add up to half (large ones preferred), else one, the largest of the rest
    (ties: the first). Of the cut region, the positions whose latents are closer to the mean of the
    one half than to the other's fill up that half. A cluster inside one region is built greedily.
    So with R regions at most R - 1 clusters per stage are mixed. A map of another size is brought
    to the grid by majority vote.
    """
    batch, positions, _ = latents_BNC.shape
    label_BN = grid_labels(segments, batch, positions).cpu().numpy()
    point_BNC = lattice(latents_BNC).long().cpu().numpy()
    order_BN = np.empty((batch, positions), np.int64)
    pure: dict[int, list[tuple[int, int, Array]]] = {}
    for b in range(batch):
        for start, part_n in _runs(np.arange(positions), label_BN[b], point_BNC[b]):
            pure.setdefault(len(part_n), []).append((b, start, part_n))
    for size, parts in pure.items():
        inner_Gn = torch.zeros(len(parts), 1, dtype=torch.int64)
        if size > 1:
            inner_Gn = leaf_order(greedy(torch.stack([latents_BNC[b, n] for b, _, n in parts])))
        for (b, start, part_n), inner_n in zip(parts, inner_Gn.cpu().numpy(), strict=True):
            order_BN[b, start : start + size] = part_n[inner_n]
    leaves_BN = leaf_order(torch.from_numpy(order_BN))
    return canonical(leaves_BN).to(leaf_dtype(positions)).to(latents_BNC.device)


def grid_labels(segments: Tensor, batch: int, positions: int) -> Tensor:
    """Label maps of any size [B, D, D'] on the latent grid [B, N]: the majority of each cell.

    Each cell samples once per map pixel along each side, at least once; ties go to the lowest
    label. Maps [B, N] are on the grid already. ValueError for other shapes and for float labels.
    """
    shape, grid = tuple(segments.shape), round(positions**0.5)
    if segments.is_floating_point() or segments.is_complex():
        raise ValueError(f"segments {shape} must hold integer labels, not {segments.dtype}")
    if shape == (batch, positions):
        return as_int64(segments)
    if segments.ndim != 3 or shape[0] != batch or 0 in shape or grid**2 != positions:
        raise ValueError(
            f"segments {shape} do not fit {batch} images of {positions} positions: a label map "
            "[B, D, D'] for a square grid, or labels [B, N], are needed"
        )
    sides = []
    for length in shape[1:]:
        samples = -(-length // grid)
        middle = np.arange(grid * samples) + 0.5
        sides.append(torch.from_numpy((middle * length / (grid * samples)).astype(np.int64)))
    picked_BDD = as_int64(segments).cpu()[:, sides[0]][:, :, sides[1]]
    cell_BNM = rearrange(picked_BDD, "b (y v) (x w) -> b (y x) (v w)", y=grid, x=grid)
    return cell_BNM.mode(-1).values.to(segments.device)


def _runs(part_n: Array, label_N: Array, point_NC: Array) -> Iterator[tuple[int, Array]]:
    """Clusters inside one region, each with its start in leaf order."""
    waiting = [(0, part_n)]
    while waiting:
        start, part_n = waiting.pop()
        if (label_N[part_n] == label_N[part_n[0]]).all():
            yield start, part_n
            continue
        first_n, second_n = _halve(part_n, label_N, point_NC)
        waiting += [(start, first_n), (start + len(first_n), second_n)]


def _halve(part_n: Array, label_N: Array, point_NC: Array) -> tuple[Array, Array]:
    """Two halves of a mixed cluster, by the rule in `segments`."""
    regions = [part_n[label_N[part_n] == label] for label in np.unique(label_N[part_n])]
    regions.sort(key=lambda region: (-len(region), region[0]))
    chosen = _largest_sum([len(region) for region in regions], len(part_n) // 2)
    inside = [region for n, region in enumerate(regions) if n in chosen]
    outside = [region for n, region in enumerate(regions) if n not in chosen]
    missing = len(part_n) // 2 - sum(map(len, inside))
    if missing:
        cut_n = outside.pop(0)
        ranked_n = cut_n[np.argsort(-_pull(cut_n, inside, outside, point_NC), kind="stable")]
        inside.append(ranked_n[:missing])
        outside.append(ranked_n[missing:])
    return np.sort(np.concatenate(inside)), np.sort(np.concatenate(outside))


def _pull(cut_n: Array, inside: list[Array], outside: list[Array], point_NC: Array) -> Array:
    """How much closer each position is to the mean of `inside` than of `outside`, scaled.

    An empty side counts as zero.
    """
    point_nC = point_NC[cut_n]
    pulls, counts = [], []
    for regions in (inside, outside):
        members = np.concatenate([*regions, np.empty(0, np.int64)])
        total_C = point_NC[members].sum(0)
        pulls.append(len(members) * (point_nC**2).sum(1) - 2 * point_nC @ total_C)
        counts.append(max(1, len(members)))
    return counts[0] * pulls[1] - counts[1] * pulls[0]


def _largest_sum(sizes: list[int], limit: int) -> set[int]:
    """Indices of the sizes with the largest sum up to `limit`, early ones preferred."""
    sums = [1]  # bit s of entry r: some of the first r sizes add up to s
    for size in sizes:
        sums.append(sums[-1] | sums[-1] << size)
    total = (sums[-1] & ((2 << limit) - 1)).bit_length() - 1
    chosen = set()
    for index in reversed(range(len(sizes))):
        if not sums[index] >> total & 1:
            chosen.add(index)
            total -= sizes[index]
    return chosen
