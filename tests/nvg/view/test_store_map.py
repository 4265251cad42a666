"""The map of a store: points of all images, like ones close together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvg.errors import InputError
from nvg.store import Store
from nvg.view import store_map as module
from nvg.view.store_map import store_map
from tests.nvg.store.makers import make_store

# V code, C channel, R row of the store, F feature channel


def points_of(data: bytes) -> tuple[Any, Any, Any]:
    """Rows, places [R, 2] and labels."""
    count = len(data) // 12
    rows = np.frombuffer(data, "<u4", count)
    x, y = (np.frombuffer(data, "<u2", count, start * count) for start in (4, 6))
    return rows, np.stack((x, y), 1).astype(float), np.frombuffer(data, "<i4", count, 8 * count)


def test_every_image_with_tokens_is_a_point(tmp_path: Path) -> None:
    """Its place is that of two principal components, measured over all at once."""
    store = make_store(tmp_path / "a.vgs", 30, 2, bad=(3, 7))
    codebook_VC = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    rows, places, labels = points_of(store_map(store, codebook_VC))
    assert rows.tolist() == store.ok_rows(None).tolist()
    assert labels.tolist() == [store.entry(int(row))["label"] for row in rows]
    feature_RF = codebook_VC[store.content[:][rows, 0, :7].astype(int)].reshape(len(rows), -1)
    centred_RF = feature_RF - feature_RF.mean(0)
    wanted = centred_RF @ np.linalg.svd(centred_RF, full_matrices=False)[2][:2].T
    for axis in (0, 1):
        inner = (places[:, axis] > 0) & (places[:, axis] < 65_535)
        found = np.corrcoef(places[inner, axis], wanted[inner, axis])[0, 1]
        assert abs(found) > 0.9999


def test_the_components_may_be_measured_on_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every image is placed all the same."""
    monkeypatch.setattr(module, "MOST_MEASURED", 10)
    store = make_store(tmp_path / "a.vgs", 30)
    codebook_VC = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    assert len(points_of(store_map(store, codebook_VC))[0]) == 30


def test_what_cannot_be_mapped_is_named(tmp_path: Path, store: Store) -> None:
    """Too few images, a token that is no code."""
    with pytest.raises(InputError, match="a map needs 3"):
        store_map(make_store(tmp_path / "a.vgs", 2), np.zeros((16, 4), np.float32))
    with pytest.raises(InputError, match="outside the codebook"):
        store_map(store, np.zeros((1, 4), np.float32))
