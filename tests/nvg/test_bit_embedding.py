"""The bit embedding of Eq. 6, its inverse, and labels, in numpy and in torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.geometry import bit_embedding, label_from_bits, labels
from tests.nvg.structure import reference

# N position, K structure channel
SEED = st.integers(0, 2**32 - 1)
LAST_STAGE = st.integers(1, 10)
light = settings(deadline=None, max_examples=60)


@pytest.mark.parametrize(
    ("dtype", "last_stage"),
    [(np.uint8, 8), (np.uint8, 1), (np.uint16, 10), (np.int32, 8), (np.int64, 10)],
)
def test_numpy_in_numpy_out(dtype: type[np.integer], last_stage: int) -> None:
    """The three maps keep numpy arrays numpy, as int64, whatever integer width comes in."""
    leaves_N = np.arange(2**last_stage).astype(dtype)
    for stage in range(last_stage + 1):
        label_N = labels(leaves_N, stage, last_stage)
        bits_NK = bit_embedding(label_N.astype(dtype), stage, last_stage)
        back_N = label_from_bits(bits_NK.astype(dtype), stage)
        for result in (label_N, bits_NK, back_N):
            assert isinstance(result, np.ndarray)
            assert result.dtype == np.int64
        np.testing.assert_array_equal(label_N, leaves_N.astype(int) // 2 ** (last_stage - stage))
        np.testing.assert_array_equal(back_N, label_N)


@pytest.mark.parametrize(
    ("dtype", "last_stage"),
    [(torch.uint8, 8), (torch.uint8, 1), (torch.uint16, 10), (torch.int32, 8), (torch.int64, 10)],
)
def test_torch_in_torch_out(dtype: torch.dtype, last_stage: int) -> None:
    """The three maps keep tensors tensors, as int64, whatever integer width comes in."""
    leaves_N = torch.arange(2**last_stage).to(dtype)
    for stage in range(last_stage + 1):
        label_N = labels(leaves_N, stage, last_stage)
        bits_NK = bit_embedding(label_N.to(dtype), stage, last_stage)
        back_N = label_from_bits(bits_NK.to(dtype), stage)
        for result in (label_N, bits_NK, back_N):
            assert isinstance(result, torch.Tensor)
            assert result.dtype == torch.int64
        assert torch.equal(label_N, torch.arange(2**last_stage) // 2 ** (last_stage - stage))
        assert torch.equal(back_N, label_N)


def test_numpy_and_torch_agree_on_any_leading_shape() -> None:
    """The maps work on [.., N] arrays and give the same numbers in either library."""
    leaves = np.random.default_rng(0).integers(0, 256, size=(2, 3, 5)).astype(np.uint8)
    for stage in range(9):
        label_np, label_pt = labels(leaves, stage, 8), labels(torch.from_numpy(leaves), stage, 8)
        bits_np, bits_pt = bit_embedding(label_np, stage, 8), bit_embedding(label_pt, stage, 8)
        assert bits_np.shape == (2, 3, 5, 8)
        assert label_from_bits(bits_pt, stage).shape == (2, 3, 5)
        np.testing.assert_array_equal(label_np, label_pt.numpy())
        np.testing.assert_array_equal(bits_np, bits_pt.numpy())


@pytest.mark.parametrize("last_stage", range(1, 9))
def test_bit_embedding_is_equation_6(last_stage: int) -> None:
    """Every label of every stage has the channels of Eq. 6."""
    for stage in range(last_stage + 1):
        got = bit_embedding(torch.arange(2**stage), stage, last_stage)
        expected = [reference.bit_embedding(s, stage, last_stage) for s in range(2**stage)]
        assert got.tolist() == expected


@pytest.mark.parametrize("last_stage", range(1, 11))
def test_bits_round_trip_for_every_label(last_stage: int) -> None:
    """label_from_bits undoes bit_embedding for every (s, i, K)."""
    for stage in range(last_stage + 1):
        label = torch.arange(2**stage)
        assert torch.equal(label_from_bits(bit_embedding(label, stage, last_stage), stage), label)


@light
@given(last_stage=LAST_STAGE, data=st.data())
def test_label_from_bits_reads_only_the_known_channels(
    last_stage: int, data: st.DataObject
) -> None:
    """Eq. 7 sums the channels below the stage, so later channels cannot change the label."""
    stage = data.draw(st.integers(0, last_stage))
    bits = data.draw(st.lists(st.sampled_from([0, 2]), min_size=last_stage, max_size=last_stage))
    expected = int(sum(bits[j] * 2.0 ** (stage - j - 2) for j in range(stage)))
    assert label_from_bits(np.array(bits), stage).tolist() == expected


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_children_share_the_channels_of_their_parent(seed: int, last_stage: int) -> None:
    """From stage i to i + 1 the first i channels stay and exactly one more becomes known."""
    leaves_N = torch.from_numpy(np.random.default_rng(seed).permutation(2**last_stage))
    for stage in range(last_stage):
        parent = bit_embedding(labels(leaves_N, stage, last_stage), stage, last_stage)
        child = bit_embedding(labels(leaves_N, stage + 1, last_stage), stage + 1, last_stage)
        assert torch.equal(parent[:, :stage], child[:, :stage])
        assert (parent[:, stage] == 1).all()
        assert (child[:, stage] != 1).all()


@light
@given(last_stage=LAST_STAGE, data=st.data())
def test_padding_fills_the_unknown_channels(last_stage: int, data: st.DataObject) -> None:
    """Exactly the last K - i channels are the padding 1, the first i are 0 or 2."""
    stage = data.draw(st.integers(0, last_stage))
    bits = bit_embedding(np.arange(2**stage), stage, last_stage)
    assert bits.shape == (2**stage, last_stage)
    assert (bits[:, stage:] == 1).all()
    assert np.isin(bits[:, :stage], [0, 2]).all()


def test_stage_zero_is_all_padding() -> None:
    """Stage 0 knows nothing: every channel of every position is 1."""
    label_N = labels(torch.arange(256).to(torch.uint8), 0, 8)
    assert label_N.tolist() == [0] * 256
    assert (bit_embedding(label_N, 0, 8) == 1).all()


def test_a_leaf_byte_is_its_bit_embedding() -> None:
    """At K = 8 the leaf's own bits are the embedding, the most significant one being stage 1."""
    leaves = np.arange(256, dtype=np.uint8)
    unpacked = np.unpackbits(leaves[:, None], axis=1)
    np.testing.assert_array_equal(bit_embedding(labels(leaves, 8, 8), 8, 8), 2 * unpacked)
