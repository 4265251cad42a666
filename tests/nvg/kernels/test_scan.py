"""Float32 scans of integer points against Python integers: errors stay within the bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from nvg.kernels.scan import (
    FAR,
    LANES,
    TILE,
    UNROLL,
    exact_distance,
    load,
    minimum,
    scan,
    scan_error,
    score_error,
    scores,
    whole_vectors,
    within,
)
from tests.nvg.structure.cases import large_points
from tests.nvg.structure.reference_builders import distance

# n cluster, C channel (padded to a multiple of UNROLL)
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=80)
thorough = settings(deadline=None, max_examples=400)


def padded(points: NDArray[np.int64]) -> NDArray[np.int32]:
    """Points as rows, channels padded."""
    return np.pad(points, ((0, 0), (0, -points.shape[1] % UNROLL))).astype(np.int32)


def loaded(rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """All rows as columns."""
    columns = np.zeros((rows.shape[1], len(rows) + LANES), np.float32)
    load(rows, np.arange(len(rows)), len(rows), columns)
    return columns


def scanned(points: NDArray[np.int64], slot: int) -> NDArray[np.float32]:
    """Distances of all points from one of them, as the kernel finds them."""
    distance_n = np.empty(len(points) + LANES, np.float32)
    scan(loaded(padded(points)), slot, whole_vectors(len(points)), distance_n)
    return distance_n[: len(points)]


def exact(points: NDArray[np.int64], slot: int) -> list[int]:
    """Distances of all points from one of them, by Python integers."""
    return [distance(points[slot].tolist(), point) for point in points.tolist()]


@thorough
@given(seed=SEED, count=st.integers(1, 40), channels=st.integers(1, 40))
def test_a_scan_is_within_its_error(seed: int, count: int, channels: int) -> None:
    """The error is within the bound, from the exact or from the scanned distance."""
    points = large_points(np.random.default_rng(seed), count, channels)
    width = padded(points).shape[1]
    for found, true in zip(scanned(points, 0).tolist(), exact(points, 0), strict=True):
        assert found >= 0
        assert abs(found - true) <= scan_error(float(true), width)
        assert abs(found - true) <= scan_error(found, width)


@light
@given(seed=SEED, channels=st.integers(1, 40))
def test_a_sum_of_four_scans_is_within_one_error(seed: int, channels: int) -> None:
    """One bound of a sum covers four distances, which a swap compares."""
    points = large_points(np.random.default_rng(seed), 16, channels)
    found, true = scanned(points, 0).reshape(4, 4), np.array(exact(points, 0)).reshape(4, 4)
    for four, sum_ in zip(found, true.sum(1).tolist(), strict=True):
        error = scan_error(float(sum_), padded(points).shape[1])
        assert abs(float((four[0] + four[1]) + (four[2] + four[3])) - sum_) <= error


def test_large_scans_are_indeed_off() -> None:
    """Sums of squares do not fit float32, so that a bound of zero would be wrong."""
    points = large_points(np.random.default_rng(1), 40, 32)
    assert scanned(points, 0).tolist() != [float(true) for true in exact(points, 0)]


def test_scans_of_small_integers_are_exact() -> None:
    """Where float32 holds every sum, the scan is exact."""
    points = np.random.default_rng(2).integers(-100, 101, size=(40, 32))
    assert scanned(points, 7).tolist() == exact(points, 7)


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_odd_coordinate_beyond_2_to_the_24_costs_two_at_most(sign: int) -> None:
    """float32 rounds 2^24 + 1 and 2^25 - 1 to even: the difference is off by two, and allowed."""
    points = sign * np.array([[2**24 + 1], [2**25 - 1], [2**24 + 3], [-(2**24) - 1]])
    for found, true in zip(scanned(points, 0).tolist(), exact(points, 0), strict=True):
        assert abs(np.sqrt(found) - np.sqrt(true)) <= 2.5
        assert abs(found - true) <= scan_error(float(true), UNROLL)


@pytest.mark.thorough
@thorough
@given(seed=SEED, count=st.sampled_from([16, 32]), channels=st.integers(1, 40))
def test_scores_are_within_their_error(seed: int, count: int, channels: int) -> None:
    """Half squared distances within a bound relative to the squares, none below zero."""
    points = large_points(np.random.default_rng(seed), count, channels)
    rows = padded(points)
    squares = (points.astype(np.float64) ** 2).sum(1)
    error = np.array([score_error(square + squares.max(), rows.shape[1]) for square in squares])
    half = (squares / 2).astype(np.float32)
    columns, score = loaded(rows), np.empty((TILE, count), np.float32)
    for offset in (0.0, error):
        own = (squares / 2 + offset).astype(np.float32)
        for first in range(0, count, TILE):
            scores(rows.astype(np.float32), own, first, columns, half, 0, count, score)
            for m in range(TILE):
                true = np.array(exact(points, first + m)) / 2
                shift = 0.0 if offset is not error else error[first + m]
                assert (np.abs(score[m] - shift - true) <= error[first + m]).all()
                assert offset is not error or score[m].min() >= 0


@light
@given(seed=SEED, count=st.integers(2, 8), channels=st.integers(1, 40))
def test_exact_distance_is_exact(seed: int, count: int, channels: int) -> None:
    """Coordinates up to 2^25 overflow no difference and no sum."""
    points = large_points(np.random.default_rng(seed), count, channels)
    assert [exact_distance(padded(points), 1, j) for j in range(count)] == exact(points, 1)
    assert exact_distance(padded(points), 0, 1) == exact_distance(padded(points), 1, 0)


@pytest.mark.parametrize("count", [*range(1, 50), 255, 256, 257])
def test_whole_vectors_rounds_up(count: int) -> None:
    """The least multiple of LANES that holds all columns."""
    assert whole_vectors(count) % LANES == 0
    assert count <= whole_vectors(count) < count + LANES


@light
@given(seed=SEED, count=st.integers(1, 50), channels=st.integers(1, 20))
def test_load_takes_rows_and_pads_with_far(seed: int, count: int, channels: int) -> None:
    """Columns are the given rows; padding is far; the rest is unchanged."""
    rng = np.random.default_rng(seed)
    rows = padded(rng.integers(-999, 1000, size=(60, channels)))
    ids = rng.permutation(60)[:count]
    columns = np.full((rows.shape[1], 60 + LANES), -7, np.float32)
    load(rows, ids, count, columns)
    whole = whole_vectors(count)
    assert columns[:, :count].tolist() == rows[ids].T.tolist()
    assert (columns[0, count:whole] == FAR).all()
    assert (columns[1:, count:] == -7).all()
    assert (columns[0, whole:] == -7).all()


def test_far_is_beyond_every_distance_and_finite() -> None:
    """A padded column is never the nearest, and its square is finite."""
    points = large_points(np.random.default_rng(0), 1, 40)
    distance_n = np.empty(LANES, np.float32)
    scan(loaded(padded(points)), 0, LANES, distance_n)
    assert np.isfinite(distance_n).all()
    assert distance_n[1:].min() > 40 * 2.0**52
    assert float(FAR) > 40 * 2.0**52


VALUES = hnp.arrays(
    np.float32,
    st.integers(1, 70),
    elements=st.floats(0, width=32, allow_nan=False) | st.sampled_from([0.0, 1.0, 2.0]),
)


@light
@given(values=VALUES, data=st.data())
def test_minimum_equals_numpy(values: NDArray[np.float32], data: st.DataObject) -> None:
    """The least of the first values, zero, subnormal and infinite ones included."""
    count = data.draw(st.integers(1, len(values)))
    assert minimum(values, count) == values[:count].min()


@light
@given(values=VALUES, data=st.data())
def test_within_equals_numpy(values: NDArray[np.float32], data: st.DataObject) -> None:
    """First and last index up to the limit; first > last where there is none."""
    count = data.draw(st.integers(1, len(values)))
    limit = data.draw(st.sampled_from(values.tolist()) | st.floats(0, width=32, allow_nan=False))
    (found,) = np.nonzero(values[:count] <= np.float32(limit))
    expected = (found[0], found[-1]) if len(found) else (count, -1)
    assert within(values, count, np.float32(limit)) == expected
