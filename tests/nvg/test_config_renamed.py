"""Renamed recipe keys: old names are still read, with one warning per recipe."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from nvg.config import ConfigError, build, dump, load, renamed


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A section."""

    size: int


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """A section with renamed keys."""

    patience: int = renamed(3, was="waiting")
    inner: Inner = renamed(Inner(size=1), was="core")


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A recipe with such a section."""

    part: Renamed = Renamed()


def test_former_names_are_read_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for a file, which names it and each old name with the new one."""
    path = tmp_path / "recipe.toml"
    path.write_text("[part]\nwaiting = 5\ncore.size = 2\n")
    assert load(Holder, path) == Holder(part=Renamed(patience=5, inner=Inner(size=2)))
    (record,) = caplog.records
    assert "recipe.toml uses old names" in record.getMessage()
    assert "part.waiting (now patience), part.core (now inner)" in record.getMessage()
    caplog.clear()
    path.write_text("part.patience = 5")
    assert load(Holder, path).part.patience == 5
    assert caplog.records == []


def test_an_old_and_a_new_name_together_are_refused() -> None:
    """The meaning would be ambiguous."""
    with pytest.raises(ConfigError, match=r"part\.waiting is the old name of part\.patience"):
        build(Holder, {"part": {"waiting": 5, "patience": 5}})


def test_overrides_may_use_a_former_name(tmp_path: Path) -> None:
    """`--set part.waiting=4` works as before; what is written has the new name."""
    (tmp_path / "recipe.toml").write_text("")
    loaded = load(Holder, tmp_path / "recipe.toml", ["part.waiting=4"])
    assert loaded.part.patience == 4
    dump(loaded, tmp_path / "out.toml")
    assert "patience = 4" in (tmp_path / "out.toml").read_text()
    assert "waiting" not in (tmp_path / "out.toml").read_text()


@pytest.mark.parametrize("in_file", ["waiting", "patience"])
@pytest.mark.parametrize("override", ["waiting", "patience"])
def test_an_override_wins_whichever_name_each_uses(
    tmp_path: Path, in_file: str, override: str
) -> None:
    """Also below a renamed section."""
    path = tmp_path / "recipe.toml"
    path.write_text(f"[part]\n{in_file} = 5\ncore.size = 2\n")
    loaded = load(Holder, path, [f"part.{override}=7", "part.inner.size=9"])
    assert loaded == Holder(part=Renamed(patience=7, inner=Inner(size=9)))
