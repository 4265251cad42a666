"""Structure-aware rotary embedding against complex numbers and its two defining properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.generator.rope import Rotary, rope_dims, rotate
from tests.nvg.generator import reference

# B image, H head, T token, E head width, A axis
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=30)
DIMS = rope_dims(64, 8)


def random_ids(seed: int, batch: int, tokens: int, axes: int) -> torch.Tensor:
    """Whole-number ids like those of rows, columns and bits."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 16, (batch, tokens, axes)))


def test_the_papers_split_of_64() -> None:
    """K = 8 splits 64 dims into 8 for the id, 2 for each of 8 channels, 20 each for row, column."""
    assert rope_dims(64, 8) == (8, 2, 2, 2, 2, 2, 2, 2, 2, 20, 20)


@pytest.mark.parametrize(("width", "last_stage"), [(64, 2), (64, 4), (64, 6), (64, 10), (32, 4)])
def test_other_splits_use_the_whole_head(width: int, last_stage: int) -> None:
    """8 for the id, 2 per structure channel, and row and column share all that is left."""
    space = (width - 8 - 2 * last_stage) // 2
    assert rope_dims(width, last_stage) == (8, *[2] * last_stage, space, space)


@light
@given(width=st.integers(0, 160), last_stage=st.integers(1, 10))
def test_a_split_is_whole_or_refused(width: int, last_stage: int) -> None:
    """Either all parts are even, none is negative and they sum to the width, or it is an error."""
    try:
        dims = rope_dims(width, last_stage)
    except ValueError:
        return
    assert sum(dims) == width
    assert len(dims) == 1 + last_stage + 2
    assert all(part >= 0 and part % 2 == 0 for part in dims)


@pytest.mark.parametrize(("width", "last_stage"), [(16, 8), (22, 8), (63, 8), (65, 8), (0, 1)])
def test_a_head_that_cannot_be_split_is_refused(width: int, last_stage: int) -> None:
    """Odd heads, and heads too narrow for the id and the channels, are errors with the width."""
    with pytest.raises(ValueError, match=str(width)):
        rope_dims(width, last_stage)


@pytest.mark.parametrize("theta", [10000.0, 100.0])
def test_rotation_angles_equal_the_reference(theta: float) -> None:
    """cos and sin are those of id * theta^(-2p/D), pair after pair, axis after axis.

    Each stands twice in a row; the first of two sines has the other sign.
    """
    ids_BTA = random_ids(0, 2, 5, len(DIMS))
    cos, sin = Rotary(DIMS, theta)(ids_BTA.float())
    assert cos.shape == sin.shape == (2, 5, 64)
    assert torch.equal(cos[..., ::2], cos[..., 1::2])
    assert torch.equal(sin[..., ::2], -sin[..., 1::2])
    for b in range(2):
        for t in range(5):
            angles = reference.rotation_angles(ids_BTA[b, t].tolist(), DIMS, theta)
            np.testing.assert_allclose(cos[b, t, ::2].numpy(), np.cos(angles), atol=1e-5)
            np.testing.assert_allclose(sin[b, t, 1::2].numpy(), np.sin(angles), atol=1e-5)


def test_theta_is_ten_thousand_unless_said() -> None:
    """The default base is the usual one."""
    ids_BTA = random_ids(1, 1, 4, len(DIMS)).float()
    for default, explicit in zip(
        Rotary(DIMS)(ids_BTA), Rotary(DIMS, theta=10000.0)(ids_BTA), strict=True
    ):
        assert torch.equal(default, explicit)


def test_rotate_equals_complex_multiplication() -> None:
    """Each adjacent pair turns like a complex number, the same way in every head."""
    ids_BTA = random_ids(2, 2, 3, len(DIMS))
    x_BHTE = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 2, 3, 64)))
    turned = rotate(x_BHTE.float(), Rotary(DIMS)(ids_BTA.float()))
    assert turned.shape == x_BHTE.shape
    for b, h, t in np.ndindex(2, 2, 3):
        angles = reference.rotation_angles(ids_BTA[b, t].tolist(), DIMS, 10000.0)
        expected = reference.rotate(x_BHTE[b, h, t].tolist(), angles)
        np.testing.assert_allclose(turned[b, h, t].numpy(), expected, atol=1e-5)


def test_zero_ids_turn_nothing() -> None:
    """At the origin of every axis the rotation is the identity."""
    x_BHTE = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 2, 3, 64))).float()
    turned = rotate(x_BHTE, Rotary(DIMS)(torch.zeros(1, 3, len(DIMS))))
    assert torch.equal(turned, x_BHTE)


@light
@given(seed=SEED)
def test_rotation_keeps_every_pair_norm(seed: int) -> None:
    """Turning changes no pair's length, so no vector's either."""
    x_BHTE = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3, 4, 64))).float()
    turned = rotate(x_BHTE, Rotary(DIMS)(random_ids(seed, 2, 4, len(DIMS)).float()))
    before, after = (x.unflatten(-1, (32, 2)).norm(dim=-1) for x in (x_BHTE, turned))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


@light
@given(seed=SEED, shift=st.integers(-8, 8))
def test_scores_depend_on_id_differences_only(seed: int, shift: int) -> None:
    """Adding one vector of ids to all tokens leaves every query-key product where it was."""
    rng = np.random.default_rng(seed)
    query_BHTE, key_BHTE = (
        torch.from_numpy(rng.normal(size=(1, 2, 6, 64))).float() for _ in range(2)
    )
    ids_BTA = random_ids(seed, 1, 6, len(DIMS)).float()
    move_A = torch.from_numpy(rng.integers(-4, 5, len(DIMS))).float() * shift
    here, there = Rotary(DIMS)(ids_BTA), Rotary(DIMS)(ids_BTA + move_A)
    score = rotate(query_BHTE, here) @ rotate(key_BHTE, here).transpose(-1, -2)
    moved = rotate(query_BHTE, there) @ rotate(key_BHTE, there).transpose(-1, -2)
    torch.testing.assert_close(moved, score, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("axis", range(len(DIMS)))
def test_an_axis_turns_its_own_dims_only(axis: int) -> None:
    """An id moves exactly the dims of its axis: all of them, and no other."""
    ids_BTA = torch.zeros(1, 1, len(DIMS))
    ids_BTA[..., axis] = 1.0
    cos, sin = (part.squeeze(0)[:, 1::2] for part in Rotary(DIMS)(ids_BTA))
    first, width = sum(DIMS[:axis]) // 2, DIMS[axis] // 2
    moved = torch.zeros(32, dtype=torch.bool)
    moved[first : first + width] = True
    assert torch.equal(sin[0] != 0, moved)
    assert torch.equal(cos[0][~moved], torch.ones(32 - width))


def test_the_three_bit_values_are_told_apart() -> None:
    """Structure channels with ids 0, 1 and 2 turn by 0, 1 and 2 radians."""
    ids_BTA = torch.zeros(1, 3, len(DIMS))
    ids_BTA[0, :, 1] = torch.tensor([0.0, 1.0, 2.0])
    cos, sin = (part.squeeze(0)[:, 1::2] for part in Rotary(DIMS)(ids_BTA))
    angle_T = torch.atan2(sin[:, 4], cos[:, 4])
    torch.testing.assert_close(angle_T, torch.tensor([0.0, 1.0, 2.0]))


def test_rotate_keeps_the_dtype() -> None:
    """A bfloat16 query stays bfloat16, and is turned like its float32 self up to its rounding."""
    x_BHTE = torch.from_numpy(np.random.default_rng(4).normal(size=(1, 2, 3, 64)))
    x_BHTE = x_BHTE.to(torch.bfloat16)
    pair = Rotary(DIMS)(random_ids(4, 1, 3, len(DIMS)).float())
    turned = rotate(x_BHTE, pair)
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.float(), rotate(x_BHTE.float(), pair), rtol=0.02, atol=0.02)
