"""Labels: the column that holds them, and texts and numbers as class ids."""

import logging

import pytest

from pipeline.sources import SourceError
from pipeline.sources.labels import (
    Classes,
    classes_of,
    label_column,
    label_text,
    number_names,
)


def label_ids(*labels: str | None) -> tuple[list[str], list[int]]:
    """Names of the classes of some labels, and the id of each."""
    classes = classes_of({label for label in labels if label is not None}, "a")
    return classes.names, classes.ids(labels)


def test_numbers_are_ids_and_names_are_sorted() -> None:
    """Ids as they are given, with the gaps between them; a mix of both is names."""
    assert label_ids("2", "0", None) == (["0", "1", "2"], [2, 0, -1])
    assert label_ids("cat", "ant", None, "cat") == (["ant", "cat"], [1, 0, -1, 1])
    assert label_ids("1", "ant") == (["1", "ant"], [0, 1])
    assert label_ids() == ([], [])


def test_floats_of_pandas_are_ids_and_minus_one_is_none() -> None:
    """10.0 is 10 and not a name; -1, with or without a fraction, is no class."""
    names, ids = label_ids("10.0", "8.0", "8", None, "-1", "-1.0")
    assert names == [str(n) for n in range(11)]
    assert ids == [10, 8, 8, -1, -1, -1]
    assert label_ids("-1", "-1") == ([], [-1, -1])
    assert label_ids("1.5", "1") == (["1", "1.5"], [1, 0])


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


def test_classes_turn_labels_into_numbers() -> None:
    """Numbers of any type; by name, a number is a name too, and what is not known is none."""
    assert classes_of({"0", "2.0", "-1"}, "a") == Classes(["0", "1", "2"], True)
    given: list[int | str | None] = [2, "1", "1.0", None, -1, "-1"]
    assert Classes(["a", "b", "c"], True).ids(given) == [2, 1, 1, -1, -1, -1]
    assert classes_of({"b", "7"}, "a") == Classes(["7", "b"], False)
    assert Classes(["7", "b"], False).ids(["b", 7, "7", None, "new"]) == [1, 0, 0, -1, -1]


def test_the_label_of_a_member() -> None:
    """Text as it is; of JSON the key `label`, None where there is none or no JSON."""
    assert label_text(".cls", b" 7\n") == "7"
    assert label_text(".json", b'{"label": 3, "text": "x"}') == "3"
    for content in (b'{"label": null}', b"{}", b"[1]", b"no", b"\xff"):
        assert label_text(".json", content) is None
