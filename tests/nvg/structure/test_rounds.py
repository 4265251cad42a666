"""Rounds of mutual nearest neighbours: the greedy pairing, however seldom the host looks."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nvg.structure import rounds
from nvg.structure.lattice import lattice
from nvg.structure.merging import merge_pairs
from nvg.structure.rounds import greedy_rounds, pair_by_rounds
from tests.nvg.structure.cases import expected_leaves
from tests.nvg.structure.kinds import KINDS, Kind, Latents, batch_of, ladder
from tests.nvg.structure.reference_builders import greedy_pairs

# B image, N position, n cluster of the level, C latent channel
light = settings(deadline=None, max_examples=80)


class SaysCuda(torch.Tensor):
    """A tensor in the host's memory that takes the schedule meant for a GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    is_cuda = property(lambda self: True)


def pairs(point_BnC: Tensor) -> list[list[tuple[int, int]]]:
    """The pairs of every image as Python integers."""
    left_Bn, right_Bn = pair_by_rounds(point_BnC)
    sides = zip(left_Bn.tolist(), right_Bn.tolist(), strict=True)
    return [list(zip(*side, strict=True)) for side in sides]


def points_of(kind: Kind, seed: int, images: int, size: int) -> Tensor:
    """Lattice points of a batch, each image of which needs a number of rounds of its own."""
    latents_BNC = batch_of(kind, seed, images, size, 3)
    latents_BNC[0] = latents_BNC[0, :1]
    return lattice(torch.from_numpy(latents_BNC))


def gpu_pairing(point_BnC: Tensor) -> tuple[Tensor, Tensor]:
    """One level by the schedule meant for a GPU."""
    return pair_by_rounds(point_BnC.as_subclass(SaysCuda))


@light
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 6).map(lambda exponent: 2**exponent),
    kind=st.sampled_from(KINDS),
)
def test_pairs_equal_the_greedy_ones(seed: int, size: int, kind: Kind) -> None:
    """Every image of a batch is paired as Alg. 1 does, by either schedule."""
    point_BnC = points_of(kind, seed, 3, size)
    expected = [greedy_pairs(point_nC) for point_nC in point_BnC.long().tolist()]
    assert pairs(point_BnC) == expected
    assert pairs(point_BnC.as_subclass(SaysCuda)) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("looks", [1, 2, 3, 4, 5, 7, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_rounds_between_looks_change_nothing(
    kind: Kind, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaves do not depend on how many rounds pass before finished clusters are dropped."""
    monkeypatch.setattr(rounds, "GPU_ROUNDS", looks)
    point_BNC = points_of(kind, 5, 4, 32)
    expected_BN = merge_pairs(point_BNC, pair_by_rounds)
    assert merge_pairs(point_BNC, gpu_pairing).tolist() == expected_BN.tolist()


@pytest.mark.parametrize(("looks", "times"), [(1, 15), (4, 3), (5, 3), (16, 0), (17, 0), (64, 0)])
def test_the_host_looks_once_in_several_rounds(
    looks: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ladder of 32 needs 16 rounds, the most there can be: one look in `looks` shrinks it."""
    shrunk = []

    def spy(values_BnC: Tensor, index_Bm: Tensor) -> Tensor:
        shrunk.append(index_Bm.shape[1])
        return values_BnC.gather(1, index_Bm.unsqueeze(-1).expand(-1, -1, values_BnC.shape[-1]))

    monkeypatch.setattr(rounds, "rows", spy)
    monkeypatch.setattr(rounds, "GPU_ROUNDS", looks)
    point_BnC = lattice(torch.from_numpy(batch_of(ladder, 0, 1, 32, 1)))
    expected = [[(i, i + 1) for i in range(0, 32, 2)]]
    assert pairs(point_BnC.as_subclass(SaysCuda)) == expected
    assert shrunk == [32 - 2 * looks * look for look in range(1, times + 1)]


class Looks(TorchDispatchMode):
    """Counts what makes the host wait for a device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.name() in ("aten::_local_scalar_dense", "aten::nonzero")
        return func(*args, **kwargs or {})


@pytest.mark.thorough
def test_a_batch_of_leaves_makes_the_host_wait_few_times() -> None:
    """On the paper's grid, of images as smooth as latents are: 14 times for a batch, 40 where it
    looked after every round."""
    coarse_BCDD = torch.randn(4, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth_BCDD = torch.nn.functional.interpolate(coarse_BCDD, (16, 16), mode="bicubic")
    noise_BCDD = torch.randn(smooth_BCDD.shape, generator=torch.Generator().manual_seed(1))
    point_BNC = lattice((smooth_BCDD + 0.1 * noise_BCDD).flatten(2).mT.contiguous())
    with Looks() as looks:
        merge_pairs(point_BNC, gpu_pairing)
    assert 8 <= looks.count <= 16  # a level has one at least


def test_a_cpu_drops_finished_clusters_after_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU a look costs nothing, so none is left out."""
    monkeypatch.setattr(rounds, "GPU_ROUNDS", 0)
    point_BnC = lattice(torch.from_numpy(batch_of(ladder, 0, 1, 32, 1)))
    assert pairs(point_BnC) == [[(i, i + 1) for i in range(0, 32, 2)]]


@pytest.mark.parametrize("elements", [1, 16**2, 3 * 16**2, 1 << 19])
def test_a_batch_may_be_cut_anywhere(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many key matrices are held at once changes nothing but the memory."""
    monkeypatch.setattr(rounds, "CPU_MATRIX_ELEMENTS", elements)
    latents_BNC: Latents = np.concatenate([batch_of(kind, 2, 1, 16, 4) for kind in KINDS])
    largest: list[int] = []
    original: Any = pair_by_rounds

    def spy(point_BnC: Tensor) -> tuple[Tensor, Tensor]:
        largest.append(len(point_BnC))
        return original(point_BnC)

    monkeypatch.setattr(rounds, "pair_by_rounds", spy)
    leaves_BN = greedy_rounds(torch.from_numpy(latents_BNC))
    assert leaves_BN.tolist() == expected_leaves(latents_BNC)
    assert max(largest) == min(len(KINDS), max(1, elements // 16**2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_leaves() -> None:
    """On a CUDA device the leaves are those of the host, and stay on the device."""
    for kind in KINDS:
        latents_BNC = torch.from_numpy(batch_of(kind, 6, 4, 64, 8))
        leaves_BN = greedy_rounds(latents_BNC.cuda())
        assert leaves_BN.is_cuda
        assert leaves_BN.tolist() == greedy_rounds(latents_BNC).tolist()
