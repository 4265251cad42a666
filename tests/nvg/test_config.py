"""Recipes: strict reading with errors that name the key, overrides, writing TOML."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.config import ConfigError, as_table, build, dump, load
from nvg.errors import InputError

light = settings(deadline=None, max_examples=100)


class Kind(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A section."""

    size: int
    rate: float = 0.5
    name: str = "plain"
    flag: bool = False


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A section with every kind of field."""

    kind: Kind
    inner: Inner
    numbers: tuple[float, ...] = (1.0, 2.0)
    kinds: tuple[Kind, ...] = ()
    note: str | None = None
    other: Inner = field(default_factory=lambda: Inner(size=7))

    def __post_init__(self) -> None:
        if self.inner.size < 0:
            raise ValueError(f"inner.size must not be negative, not {self.inner.size}")


SMALL = {"kind": "red", "inner": {"size": 3}}

inners = st.builds(
    Inner,
    size=st.integers(0, 2**63 - 1),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    name=st.text(),
    flag=st.booleans(),
)
outers = st.builds(
    Outer,
    kind=st.sampled_from(Kind),
    inner=inners,
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
    kinds=st.lists(st.sampled_from(Kind), max_size=3).map(tuple),
    note=st.none() | st.text(),
    other=inners,
)


def written(path: Path, text: str) -> Path:
    """Write a recipe file with this text."""
    file = path / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    return file


@light
@given(outers)
def test_dump_then_load_is_the_identity(config: Outer) -> None:
    """A dumped config loads as the same config."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "config.toml")
        dump(config, path)
        assert load(Outer, path) == config


@light
@given(outers)
def test_as_table_then_build_is_the_identity(config: Outer) -> None:
    """The plain tables of a config build the same config again."""
    assert build(Outer, as_table(config)) == config


def test_none_is_left_out_of_the_table() -> None:
    """TOML has no null: an optional field that is None has no key."""
    assert "note" not in as_table(Outer(kind=Kind.RED, inner=Inner(size=1)))


def test_defaults_fill_what_is_not_given() -> None:
    """A missing key with a default takes it, in nested sections too."""
    config = build(Outer, SMALL)
    assert config == Outer(kind=Kind.RED, inner=Inner(size=3, rate=0.5), other=Inner(size=7))


def test_a_section_with_a_default_may_be_given_in_part() -> None:
    """Keys of an optional section keep that section's own defaults."""
    assert build(Outer, {**SMALL, "other": {"size": 9}}).other == Inner(size=9)


def test_an_int_is_good_for_a_float() -> None:
    """`rate = 2` means 2.0, and the field is a float afterwards."""
    rate = build(Inner, {"size": 1, "rate": 2}).rate
    assert type(rate) is float
    assert rate == 2.0


def test_ints_in_a_list_of_floats_become_floats() -> None:
    """The same holds inside a list, which becomes a tuple."""
    numbers = build(Outer, {**SMALL, "numbers": [1, 2.5]}).numbers
    assert numbers == (1.0, 2.5)
    assert [type(number) for number in numbers] == [float, float]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"sizes": 1}, "sizes"),
        ({"inner": {"size": 1, "sice": 2}}, "inner.sice"),
        ({"inner": {}}, "inner.size"),
        ({"inner": {"size": True}}, "inner.size"),
        ({"inner": {"size": "3"}}, "inner.size"),
        ({"inner": {"size": 3.0}}, "inner.size"),
        ({"inner": {"size": 1, "rate": "fast"}}, "inner.rate"),
        ({"inner": {"size": 1, "rate": True}}, "inner.rate"),
        ({"inner": {"size": 1, "name": 5}}, "inner.name"),
        ({"inner": {"size": 1, "flag": 1}}, "inner.flag"),
        ({"inner": {"size": [1]}}, "inner.size"),
        ({"inner": 3}, "inner"),
        ({"inner": [{"size": 1}]}, "inner"),
        ({"kind": "green"}, "kind"),
        ({"kind": 1}, "kind"),
        ({"kinds": ["red", "green"]}, r"kinds\[1\]"),
        ({"kinds": "red"}, "kinds"),
        ({"numbers": [1.0, "x"]}, r"numbers\[1\]"),
        ({"numbers": 1.0}, "numbers"),
        ({"numbers": [1.0, float("-inf")]}, r"numbers\[1\]"),
        ({"other": {"size": 1, "rate": float("nan")}}, "other.rate"),
        ({"note": 3}, "note"),
        ({"other": {"rate": 1.0}}, "other.size"),
    ],
)
def test_a_bad_key_is_named_in_one_line(change: dict[str, Any], key: str) -> None:
    """Unknown key, missing key or wrong type: a one-line ConfigError names the dotted key."""
    with pytest.raises(ConfigError, match=rf"(^|\s){key}\b|(^|\s){key}(\s|$)") as caught:
        build(Outer, {**SMALL, **change})
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_top_level_key_is_named() -> None:
    """The error for a missing top-level key names it."""
    with pytest.raises(ConfigError, match="missing key kind"):
        build(Outer, {"inner": {"size": 1}})


def test_an_unknown_key_is_answered_with_the_known_ones() -> None:
    """The error lists the known keys of that section."""
    with pytest.raises(ConfigError, match=r"inner\.sice.*size.*rate.*name.*flag"):
        build(Outer, {"kind": "red", "inner": {"size": 1, "sice": 2}})


def test_an_unknown_choice_is_answered_with_the_choices() -> None:
    """The error lists the values of the enumeration and what was found."""
    with pytest.raises(ConfigError, match=r"red.*blue.*green"):
        build(Outer, {**SMALL, "kind": "green"})


def test_a_value_that_its_section_refuses_is_a_config_error() -> None:
    """A ValueError of the dataclass becomes a ConfigError with the same message."""
    with pytest.raises(ConfigError, match=r"inner\.size must not be negative, not -1"):
        build(Outer, {"kind": "red", "inner": {"size": -1}})


def test_config_errors_are_input_errors() -> None:
    """The command line turns InputError into exit code 2: a bad recipe is bad input."""
    assert issubclass(ConfigError, InputError)


TEXT = 'kind = "red"\n[inner]\nsize = 3\n'


@pytest.mark.parametrize(
    ("override", "attribute", "value"),
    [
        ("inner.size=5", "size", 5),
        ("inner.rate=1e-3", "rate", 1e-3),
        ("inner.rate=4", "rate", 4.0),
        ("inner.flag=true", "flag", True),
        ('inner.name="with space"', "name", "with space"),
        ("inner.name=bare words/and.dots", "name", "bare words/and.dots"),
        ("inner.name=a=b", "name", "a=b"),
        ("inner.name=", "name", ""),
    ],
)
def test_an_override_replaces_a_value(
    tmp_path: Path, override: str, attribute: str, value: object
) -> None:
    """The value of --set is TOML, else a bare string."""
    config = load(Outer, written(tmp_path, TEXT), [override])
    assert getattr(config.inner, attribute) == value


def test_an_override_may_open_a_section(tmp_path: Path) -> None:
    """An override creates a missing section."""
    assert load(Outer, written(tmp_path, TEXT), ["other.size=2"]).other == Inner(size=2)


def test_an_override_takes_a_list(tmp_path: Path) -> None:
    """Lists are written as in TOML."""
    config = load(Outer, written(tmp_path, TEXT), ['kinds=["blue", "red"]'])
    assert config.kinds == (Kind.BLUE, Kind.RED)


def test_the_last_override_wins(tmp_path: Path) -> None:
    """Overrides apply in the order given."""
    assert load(Outer, written(tmp_path, TEXT), ["inner.size=5", "inner.size=6"]).inner.size == 6


@pytest.mark.parametrize("override", ["inner.size", "=3", ".size=3", "inner.=3", "inner..size=3"])
def test_an_override_of_bad_form_is_refused(tmp_path: Path, override: str) -> None:
    """Anything but section.key=value is an error that repeats the argument."""
    with pytest.raises(ConfigError, match=r"section\.key=value") as caught:
        load(Outer, written(tmp_path, TEXT), [override])
    assert override in str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, value: str) -> None:
    """From --set and from a file alike, the key is named."""
    with pytest.raises(
        ConfigError, match=r"^inner\.rate must be a finite number, not -?(nan|inf)$"
    ):
        load(Outer, written(tmp_path, TEXT), [f"inner.rate={value}"])
    with pytest.raises(ConfigError, match=r"inner\.rate must be a finite number"):
        load(Outer, written(tmp_path, f"{TEXT}rate = {value}\n"))


@pytest.mark.parametrize("override", ["kind.x=1", "inner.size.x=1"])
def test_an_override_through_a_value_is_refused(tmp_path: Path, override: str) -> None:
    """A key below something that is no section cannot be set."""
    with pytest.raises(ConfigError, match="not a section") as caught:
        load(Outer, written(tmp_path, TEXT), [override])
    assert override in str(caught.value)


def test_overrides_are_as_strict_as_the_file(tmp_path: Path) -> None:
    """An unknown key from --set is refused like one from the file."""
    with pytest.raises(ConfigError, match=r"inner\.sice"):
        load(Outer, written(tmp_path, TEXT), ["inner.sice=1"])


@pytest.mark.parametrize(
    "data",
    [b'kind = "\xff\xfe"', b"kind = ", b"= 3", b"[inner\nsize = 3", b'kind = "red"\nkind = "red"'],
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, data: bytes) -> None:
    """Invalid TOML or UTF-8 gives a one-line ConfigError with the path."""
    file = tmp_path / "broken.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=r"broken\.toml") as caught:
        load(Outer, file)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A missing recipe is an error with its path."""
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load(Outer, tmp_path / "absent.toml")


def test_a_directory_is_no_recipe(tmp_path: Path) -> None:
    """Naming a directory is an error with its path."""
    with pytest.raises(ConfigError, match=tmp_path.name):
        load(Outer, tmp_path)
