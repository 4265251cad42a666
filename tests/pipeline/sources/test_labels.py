"""Labels: the column that holds them, and texts and numbers as class ids."""

import logging

import pytest

from pipeline.sources import SourceError
from pipeline.sources.labels import label_column, label_ids, number_names


def test_numbers_are_ids_and_names_are_sorted() -> None:
    """Ids as they are given, with the gaps between them; a mix of both is names."""
    assert label_ids(["2", "0", None], "a") == (["0", "1", "2"], [2, 0, -1])
    assert label_ids(["cat", "ant", None, "cat"], "a") == (["ant", "cat"], [1, 0, -1, 1])
    assert label_ids(["1", "ant"], "a") == (["1", "ant"], [0, 1])
    assert label_ids([], "a") == ([], [])


def test_floats_of_pandas_are_ids_and_minus_one_is_none() -> None:
    """10.0 is 10 and not a name; -1, with or without a fraction, is no class."""
    names, ids = label_ids(["10.0", "8.0", "8", None, "-1", "-1.0"], "a")
    assert names == [str(n) for n in range(11)]
    assert ids == [10, 8, 8, -1, -1, -1]
    assert label_ids(["-1", "-1"], "a") == ([], [-1, -1])
    assert label_ids(["1.5", "1"], "a") == (["1", "1.5"], [1, 0])


@pytest.mark.parametrize("label", [1_000_000, 5_000_000_000, -2])
def test_an_odd_id_is_refused(label: int) -> None:
    """Before names are made for all below it."""
    with pytest.raises(SourceError, match=rf"list\.csv has label {label}: ids must be"):
        number_names([0, label], "list.csv")


def test_the_column_of_labels(caplog: pytest.LogCaptureFixture) -> None:
    """`label` without a word, another usual name with one; a wanted one must be there."""
    with caplog.at_level(logging.INFO, "nvg"):
        assert label_column(["path", "label", "class"], "", "a") == "label"
        assert label_column(["path", "score"], "", "a") is None
        assert caplog.text == ""
        assert label_column(["coarse_label", "fine_label"], "", "c100.parquet") == "fine_label"
        assert "c100.parquet: labels are those of column fine_label" in caplog.text
    assert label_column(["coarse_label", "fine_label"], "coarse_label", "a") == "coarse_label"
    with pytest.raises(
        SourceError, match=r"data\.label is 'kind', which a does not have: it has x"
    ):
        label_column(["x"], "kind", "a")
