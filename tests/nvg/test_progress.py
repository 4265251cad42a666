"""The progress bar counts and writes to stderr only."""

import pytest

from nvg.progress import progress


def test_items_pass_through_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Iterating over the bar yields the items, and the last line has their number."""
    assert list(progress([3, 1, 2], desc="count")) == [3, 1, 2]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "count: 100%" in printed.err
    assert "3/3" in printed.err


def test_a_bar_without_items_counts_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar with a total starts at `initial` and moves by `update`."""
    with progress(total=10, initial=4) as bar:
        bar.update(6)
    assert "10/10" in capsys.readouterr().err


def test_a_file_gets_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """When stderr is not a terminal, a fast loop writes only its start and end."""
    for _ in progress(range(10_000)):
        pass
    assert capsys.readouterr().err.count("\r") <= 3


def test_of_several_processes_the_first_draws(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items of the others pass through all the same."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, shown in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert list(progress([3, 1, 2], desc="count")) == [3, 1, 2]
        assert ("count" in capsys.readouterr().err) is shown
