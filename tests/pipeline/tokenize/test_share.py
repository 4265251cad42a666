"""Shares: every chunk is of exactly one, and one process writes a share at a time."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.store.lock import writer_lock
from pipeline.tokenize import share as shares
from pipeline.tokenize.share import (
    Share,
    forget_shares,
    layout_lock,
    note_shares,
    require_no_jobs,
    share_lock,
    shares_of,
)


@given(of=st.integers(1, 100), count=st.integers(0, 500))
def test_every_chunk_has_one_share(of: int, count: int) -> None:
    """Shares follow one another, and no two differ by more than a chunk."""
    parts = [Share(number, of).chunks(count) for number in range(1, of + 1)]
    assert [chunk for part in parts for chunk in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(of=st.integers(1, 20), count=st.integers(0, 500), together=st.integers(1, 40))
def test_a_shard_is_of_one_job(of: int, count: int, together: int) -> None:
    """Where there are enough of them; every chunk has one job all the same."""
    parts = [Share(number, of).chunks(count, together) for number in range(1, of + 1)]
    assert [chunk for part in parts for chunk in part] == list(range(count))
    if count >= of * together:
        assert all(part.start % together == 0 for part in parts if part)
        assert all(part.stop % together == 0 for part in parts if part and part.stop < count)
        assert min(map(len, parts)) > 0


@pytest.mark.parametrize(
    "text", ["65/64", "0/64", "3", "3/", "a/b", "-1/4", "1/0", "1/2/3", "", "١/٣"]
)
def test_what_is_no_share_is_refused(text: str) -> None:
    """With what it may be."""
    with pytest.raises(InputError, match=rf"^--part {text} must be 1/N to N/N"):
        Share.parse(text)
    assert Share.parse("64/64") == Share(64, 64)
    assert str(Share.parse(" 3/64 ")) == "3/64"


@pytest.mark.parametrize("place", ["{}/a.vgs", "memory://shares{}/a.vgs"])
def test_a_store_tells_its_shares(tmp_path: Path, place: str) -> None:
    """Until it is finished; what cannot be read tells none."""
    out = place.format(tmp_path)
    assert shares_of(out) is None
    note_shares(out, Share(3, 7))
    assert shares_of(out) == 7
    forget_shares(out)
    forget_shares(out)
    assert shares_of(out) is None
    (tmp_path / "b.vgs.parts").write_text("{}")
    assert shares_of(str(tmp_path / "b.vgs")) is None


def test_shares_are_locked_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk: a share by its job, the whole store by a pass that waits for no job."""
    out = str(tmp_path / "a.vgs")
    monkeypatch.setattr(shares, "LAYOUT_SECONDS", 0.2)
    with share_lock(out, Share(1, 2)), share_lock(out, Share(2, 2)), layout_lock(out):
        with pytest.raises(StoreError, match="is being written by process"):
            share_lock(out, Share(2, 2)).__enter__()
        with pytest.raises(StoreError, match="is being written by process"):
            require_no_jobs(out)
        with pytest.raises(StoreError, match="is being written by process"):
            layout_lock(out).__enter__()
    (tmp_path / "a.vgs.part-2-of-2.lock").touch()  # of a job that was killed
    with writer_lock(out):
        require_no_jobs(out)
    assert list(tmp_path.iterdir()) == []


def test_object_storage_needs_no_lock() -> None:
    """Jobs write different objects, or the same bytes."""
    out = "memory://locks/a.vgs"
    with share_lock(out, Share(1, 2)), share_lock(out, Share(1, 2)), layout_lock(out):
        require_no_jobs(out)
        with layout_lock(out):
            pass
