"""Where a part of a linked store may lie, and how it is named."""

import os
from pathlib import Path

import pytest

from nvg.parts.part import ALLOWED, Part, allowed_places, home_of, path_from, place_of

SUM = "0" * 64


def test_a_part_beside_the_store_may_be_opened(tmp_path: Path) -> None:
    """Its place is the real one, below the folder that holds the store."""
    linked = str(tmp_path / "c.vgs")
    assert place_of("a.vgs", linked) == os.path.realpath(tmp_path / "a.vgs")
    assert place_of("deep/a.vgs", linked) == os.path.realpath(tmp_path / "deep/a.vgs")
    assert place_of(str(tmp_path / "a.vgs"), linked) == os.path.realpath(tmp_path / "a.vgs")
    assert place_of("a.vgs", "s3://bucket/x/c.vgs/") == "s3://bucket/x/a.vgs"


@pytest.mark.parametrize(
    "path",
    ["../a.vgs", "/etc/a.vgs", "deep/../../a.vgs", "s3://bucket/a.vgs", "http://localhost/a.vgs"],
)
def test_a_part_elsewhere_is_refused_in_one_line(tmp_path: Path, path: str) -> None:
    """Absolute, above, by URL: not without a word of the user's."""
    with pytest.raises(
        ValueError, match=r"if you trust it, name its folder in .* NVG_PARTS"
    ) as said:
        place_of(path, str(tmp_path / "x" / "c.vgs"))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "path",
    [
        "../a.vgs",
        "/a.vgs",
        "s3://other/x/a.vgs",
        "s3://bucket/x/../a.vgs",
        "zip::s3://x/a",
        "%2E%2e/a.vgs",
    ],
)
def test_a_part_of_a_store_behind_a_url_stays_below_its_prefix(path: str) -> None:
    """Neither up, nor another bucket, nor a file of this machine."""
    with pytest.raises(ValueError, match="is not below s3://bucket/x"):
        place_of(path, "s3://bucket/x/c.vgs")


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    """A part that is a link out of the folder is refused; a store that is a link is at its end."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "a.vgs").symlink_to(tmp_path / "elsewhere.vgs")
    for linked in (tmp_path / "home" / "c.vgs", f"file://{tmp_path}/home/c.vgs"):
        with pytest.raises(ValueError, match="is not below"):
            place_of("a.vgs", str(linked))
    (tmp_path / "short").symlink_to(tmp_path / "home" / "c.vgs")
    assert home_of(str(tmp_path / "short")) == os.path.realpath(tmp_path / "home")


def test_named_places_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and prefixes of NVG_PARTS, and no others whose names begin alike."""
    monkeypatch.setenv(ALLOWED, f" {tmp_path}/data, s3://bucket/stores ,")
    places = allowed_places()
    assert places == (f"{tmp_path}/data", "s3://bucket/stores")
    linked = str(tmp_path / "x" / "c.vgs")
    assert place_of("../data/a.vgs", linked, places).endswith("/data/a.vgs")
    assert place_of("s3://bucket/stores/a.vgs", linked, places) == "s3://bucket/stores/a.vgs"
    assert place_of("s3://b/a.vgs", linked, ["s3://b/a.vgs"]) == "s3://b/a.vgs"
    for path in ("../data2/a.vgs", "s3://bucket/stores2/a.vgs", "s3://bucket/stores/../a.vgs"):
        with pytest.raises(ValueError, match="is not below"):
            place_of(path, linked, places)


def test_a_path_is_written_so_that_both_can_be_moved_together(tmp_path: Path) -> None:
    """From the folder of the store where the part is below it, else absolute."""
    linked = str(tmp_path / "x" / "c.vgs")
    assert path_from(str(tmp_path / "x" / "a.vgs"), linked) == "a.vgs"
    assert path_from(str(tmp_path / "x" / "deep" / "a.vgs"), linked) == "deep/a.vgs"
    assert path_from(str(tmp_path / "a.vgs"), linked) == os.path.realpath(tmp_path / "a.vgs")
    assert path_from(str(tmp_path), "s3://b/x/c.vgs") == os.path.realpath(tmp_path)
    assert path_from("s3://b/x/a.vgs", "s3://b/x/c.vgs") == "a.vgs"
    assert path_from("s3://b/a.vgs/", "s3://b/x/c.vgs") == "s3://b/a.vgs"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "f"}, "sha256 must be 64"),
        ({"commits": "G" * 64}, "commits must be 64"),
        ({"rows": (3, 2)}, "rows must be"),
        ({"rows": (1,)}, "rows must be"),
        ({"path": ""}, "path '' is that of no store"),
        ({"path": "a\n"}, "is that of no store"),
    ],
)
def test_a_part_is_read_strictly(changes: dict[str, object], said: str) -> None:
    """Sums, rows and path of a manifest from elsewhere."""
    fields: dict[str, object] = {"path": "a", "sha256": SUM, "commits": SUM, "rows": (0, 2)}
    with pytest.raises(ValueError, match=said):
        Part(**(fields | changes))  # type: ignore[arg-type]
