"""The picture of samples has a name of its own."""

from pathlib import Path

from pipeline.sampling.picture import default_picture


def test_a_picture_has_a_name_of_its_own() -> None:
    """By classes, number and seed; what else matters is in a digest; no time."""
    run = Path("run")
    plain = default_picture(run, ["ant", "bee"], False, 8, 0, {})
    assert plain == run / "samples" / "all-n8-seed0.png"
    two = default_picture(run, ["red fox", "a/b"], True, 2, 3, {})
    assert two.name == "red_fox-a_b-n2-seed3.png"
    many = [default_picture(run, list(names), True, 1, 0, {}) for names in ("abcde", "abcdf")]
    assert many[0].name.startswith("5-classes-")
    others = [default_picture(run, ["ant"], True, 8, 0, {"keep": keep}) for keep in ("a", "b")]
    assert len({plain, two, *many, *others}) == 6
