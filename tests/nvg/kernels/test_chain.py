"""The compiled nearest-neighbor chain: leaves, nearest clusters, number of scans."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.kernels import chain
from nvg.kernels.scan import LANES, UNROLL, load, scan, whole_vectors
from nvg.structure.lattice import lattice, lattice_frame, lattice_limit
from tests.nvg.structure.cases import expected_leaves, large_points
from tests.nvg.structure.kinds import KINDS, Kind, Latents, batch_of, equidistant
from tests.nvg.structure.reference_builders import distance

# B image, N position, n cluster of the level, C latent channel


def built(latents_BNC: Latents, build: Any = chain.build) -> list[list[int]]:
    """The leaves that the kernel writes, without the thread pool around it."""
    kind = np.uint8 if latents_BNC.shape[1] <= 256 else np.uint16
    leaves_BN = np.full(latents_BNC.shape[:2], 77, kind)
    scale_B = np.empty(len(latents_BNC))
    build(latents_BNC, lattice_limit(*latents_BNC.shape[1:]), False, leaves_BN, scale_B)
    assert scale_B.tolist() == lattice_frame(torch.from_numpy(latents_BNC)).scale.flatten().tolist()
    leaves: list[list[int]] = leaves_BN.tolist()
    return leaves


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("size", "channels"), [(2, 1), (8, 9), (16, 32), (32, 3), (64, 7)])
def test_images_share_no_state(size: int, channels: int, dtype: type[np.floating]) -> None:
    """Images of every kind in one call, which shares its buffers."""
    latents_BNC = np.concatenate([batch_of(kind, 1, 1, size, channels) for kind in KINDS])
    latents_BNC = latents_BNC.astype(dtype)
    expected = expected_leaves(latents_BNC)
    assert built(latents_BNC) == expected
    assert built(np.ascontiguousarray(latents_BNC[::-1])) == expected[::-1]


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([2, 4, 16, 64]),
    channels=st.integers(1, 40),
    data=st.data(),
)
def test_the_nearest_cluster_has_the_least_key(
    seed: int, size: int, channels: int, data: st.DataObject
) -> None:
    """The remaining column with the least d2 * n + (a xor b), exactly, in any order."""
    rng = np.random.default_rng(seed)
    points = large_points(rng, size, channels)
    points[rng.integers(0, size, size=size // 2)] = points[0]
    rows = np.pad(points, ((0, 0), (0, -channels % UNROLL))).astype(np.int32)
    ids, count = rng.permutation(size), data.draw(st.integers(2, size))
    columns = np.zeros((rows.shape[1], size + LANES), np.float32)
    load(rows, ids, count, columns)
    slot = data.draw(st.integers(0, count - 1))
    a, listed = int(ids[slot]), points.tolist()
    work = np.empty(size + LANES, np.float32)
    found = chain._nearest(a, slot, rows, columns, ids, count, size, work)
    others = [int(b) for b in ids[:count] if b != a]
    assert found == min(others, key=lambda b: distance(listed[a], listed[b]) * size + (a ^ b))


def test_float32_alone_would_choose_wrongly() -> None:
    """Ties that a scan misjudges are decided by exact keys."""
    point_NC = lattice(torch.from_numpy(batch_of(equidistant, 7, 1, 256, 32)))[0].numpy()
    columns = np.zeros((32, 256 + LANES), np.float32)
    load(point_NC.astype(np.int32), np.arange(256), 256, columns)
    distance_n, wrong = np.empty(256 + LANES, np.float32), 0
    for a in range(0, 248, 8):  # the centres of the groups
        scan(columns, a, whole_vectors(256), distance_n)
        exact_n = ((point_NC - point_NC[a]) ** 2).sum(1) * 256 + (np.arange(256) ^ a)
        distance_n[a] = exact_n[a] = np.inf
        wrong += int(distance_n[:256].argmin() != exact_n.argmin())
    assert wrong > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_level_takes_three_scans_a_pair_at_most(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 1.5 n scans for n clusters, counted in plain Python."""
    scans: dict[int, int] = {}
    nearest, pair = chain._nearest, chain._pair

    def count_scan(*arguments: Any) -> int:
        scans[arguments[6]] = scans.get(arguments[6], 0) + 1
        return int(nearest(*arguments))

    monkeypatch.setattr(chain, "_nearest", count_scan)
    monkeypatch.setattr(chain, "_pair", cast(Any, pair).py_func)
    monkeypatch.setattr(chain, "MATRIX", 0)  # no shortcut: every step of the chain is a scan
    latents_BNC = batch_of(kind, 3, 1, 64, 3)
    assert built(latents_BNC, cast(Any, chain.build).py_func) == expected_leaves(latents_BNC)
    assert set(scans) == {64, 32, 16, 8, 4, 2}
    assert all(2 <= count <= 1.5 * n for n, count in scans.items())
