"""The exact greedy builder: every backend against a reference that sorts all edges as integers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nvg.backend import Backend
from nvg.geometry import canonical, labels
from nvg.structure import build_leaves, greedy
from tests.nvg.structure import reference
from tests.nvg.structure.cases import BACKENDS, SAMPLED, assert_equal_to_reference, leaves_of
from tests.nvg.structure.kinds import KINDS, Kind, Latents, batch_of, tied

# B image, N position, C latent channel
SIZE = st.integers(1, 6).map(lambda exponent: 2**exponent)
CHANNELS = st.integers(1, 8)
SEED = st.integers(0, 2**32 - 1)
ALL_CHANNELS = (1, 2, 3, 7, 8, 9, 16, 17, 32, 40)
IMAGES = {2: 8, 4: 8, 8: 6, 16: 4, 32: 2, 64: 1}  # per kind, size and number of channels
light = settings(deadline=None, max_examples=80)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("values", "leaves"),
    [
        ([0, 10, 1, 12], [0, 2, 1, 3]),
        ([5, 0, 0, 0], [0, 1, 2, 3]),
        ([0, 4, 7, 11], [0, 2, 3, 1]),
        ([3, 9, 3, 9, 3, 0, 9, 3], [0, 4, 1, 5, 2, 6, 7, 3]),
    ],
)
def test_golden_vectors(values: list[int], leaves: list[int], backend: str) -> None:
    """Backends and the reference give the leaves of an example done by hand."""
    latents_NC = np.array(values, dtype=np.float32)[:, None]
    assert leaves_of(latents_NC[None], backend) == [leaves]
    assert reference.greedy_leaves(latents_NC) == leaves


@pytest.mark.parametrize("size", IMAGES)
@pytest.mark.parametrize("kind", SAMPLED)
def test_leaves_equal_the_reference(kind: Kind, size: int) -> None:
    """Leaves are identical for ties, repeats, offsets and outliers."""
    for channels in ALL_CHANNELS:
        assert_equal_to_reference(batch_of(kind, 1, IMAGES[size], size, channels))


@light
@given(
    hnp.arrays(
        np.float32,
        st.tuples(
            st.integers(1, 3),
            st.integers(1, 4).map(lambda exponent: 2**exponent),
            st.integers(1, 4),
        ),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_leaves_equal_the_reference_on_any_floats(latents_BNC: Latents) -> None:
    """Leaves are identical for signed zeros, subnormals and mixed magnitudes."""
    assert_equal_to_reference(latents_BNC)


@pytest.mark.parametrize(
    ("backend", "function"),
    [
        (Backend.AUTO, "build"),
        (Backend.NUMBA, "build"),
        (Backend.TORCH, "greedy_rounds"),
        (Backend.FAISS, "greedy_candidates"),
    ],
)
def test_a_backend_is_what_computes(
    backend: Backend, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend runs only its own code; `auto` on a CPU is numba."""
    called = []

    def spy_on(name: str) -> Callable[..., object]:
        original = getattr(greedy, name)

        def spy(*arguments: object) -> object:
            called.append(name)
            return original(*arguments)

        return spy

    for name in ("build", "greedy_rounds", "greedy_candidates"):
        monkeypatch.setattr(greedy, name, spy_on(name))
    build_leaves(torch.zeros(1, 4, 1), backend=backend)
    assert called == [function]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [2, 4, 16, 64, 256, 512])
@pytest.mark.parametrize("value", [0.0, -3.25, 1e6])
def test_a_constant_image_pairs_neighbours(size: int, value: float, backend: str) -> None:
    """For constant latents the xor order pairs aligned neighbors: leaf p at position p."""
    latents_BNC = np.full((1, size, 3), value, dtype=np.float32)
    assert leaves_of(latents_BNC, backend) == [list(range(size))]


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS, kind=st.sampled_from(KINDS))
def test_leaves_are_a_canonical_permutation(
    seed: int, size: int, channels: int, kind: Kind
) -> None:
    """Leaves use each label once, position 0 has leaf 0, and canonical() changes nothing."""
    leaves_N = build_leaves(torch.from_numpy(batch_of(kind, seed, 1, size, channels)))[0]
    assert sorted(leaves_N.tolist()) == list(range(size))
    assert int(leaves_N[0]) == 0
    assert canonical(leaves_N).tolist() == leaves_N.tolist()


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS, kind=st.sampled_from(KINDS))
def test_stages_nest_in_equal_clusters(seed: int, size: int, channels: int, kind: Kind) -> None:
    """Stage i has 2^i clusters of L / 2^i positions, and cluster j is split into 2j and 2j + 1."""
    last_stage = reference.log2(size)
    leaves_BN = build_leaves(torch.from_numpy(batch_of(kind, seed, 1, size, channels)))
    for stage in range(last_stage + 1):
        label_N = labels(leaves_BN, stage, last_stage)[0]
        counts = torch.bincount(label_N, minlength=2**stage)
        assert counts.tolist() == [2 ** (last_stage - stage)] * 2**stage
        if stage:
            assert torch.equal(label_N // 2, labels(leaves_BN, stage - 1, last_stage)[0])


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=25)
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_a_batch_equals_its_images_one_by_one(
    backend: str, seed: int, size: int, channels: int
) -> None:
    """Leaves do not depend on the other images of the batch or on their order."""
    rng = np.random.default_rng(seed)
    latents_BNC = np.stack([kind(rng, size, channels).astype(np.float64) for kind in KINDS])
    alone = [leaves_of(latents_BNC[b : b + 1], backend)[0] for b in range(len(KINDS))]
    assert leaves_of(latents_BNC, backend) == alone
    order = rng.permutation(len(KINDS))
    assert leaves_of(latents_BNC[order], backend) == [alone[b] for b in order]


@pytest.mark.thorough
@light
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_shift_and_power_of_two_scale_change_nothing(seed: int, size: int, channels: int) -> None:
    """Exact shifts and scalings of latents (powers of two) do not change the hierarchy."""
    latents_BNC = batch_of(tied, seed, 1, size, channels).astype(np.float32)
    for backend in BACKENDS:
        leaves = leaves_of(latents_BNC, backend)
        assert leaves_of(latents_BNC + np.float32(1024), backend) == leaves
        assert leaves_of(latents_BNC * np.float32(2.0**-40), backend) == leaves
        assert leaves_of(-latents_BNC, backend) == leaves


def test_the_closest_pair_shares_its_last_split() -> None:
    """The globally closest two positions are always the two leaves of one stage K-1 cluster."""
    latents_BNC = torch.from_numpy(np.random.default_rng(3).normal(size=(20, 64, 5)))
    for latents_NC, leaves_N in zip(latents_BNC, build_leaves(latents_BNC), strict=True):
        distance_NN = (latents_NC[:, None] - latents_NC[None]).square().sum(-1)
        distance_NN.fill_diagonal_(torch.inf)
        i, j = divmod(int(distance_NN.argmin()), 64)
        assert int(leaves_N[i]) // 2 == int(leaves_N[j]) // 2
