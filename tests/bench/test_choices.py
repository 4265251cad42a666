"""The study of choices: every run differs from the classic one in what its name says."""

import json
import os
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nvg.errors import InputError
from pipeline.recipe import Recipe, load_recipe
from pipeline.recipe.profiles import RELEASE
from pipeline.sources import open_source, split_rows
from tests.bench.choice_datasets import (
    CLASSIFIER,
    DATASETS,
    Dataset,
    cifar_part,
    classifier_path,
)
from tests.bench.choices import SAMPLED, TRAINED, settings_of, table
from tests.bench.cifar_classifier import cifar_recipe

REAL_DATA = os.environ.get("NVG_TEST_DATA", "")


def recipe_of(dataset: Dataset, name: str, more: tuple[str, ...] = ()) -> Recipe:
    """A run's recipe, of the digits' file or of CIFAR-10's without its images."""
    file = "digits" if dataset is DATASETS["digits"] else "cifar10"
    return load_recipe(f"datasets/{file}.toml", [*settings_of(name, 0, dataset), *more])


def differences(one: Any, other: Any, prefix: str = "") -> set[str]:
    """Dotted names of the fields in which two configs differ."""
    if not is_dataclass(one) or type(one) is not type(other):
        return set() if one == other else {prefix[:-1]}
    pairs = [(f.name, getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    return {name for key, a, b in pairs for name in differences(a, b, f"{prefix}{key}.")}


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value of nested tables."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= (
            leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found


def value_of(recipe: Recipe, name: str) -> Any:
    """A field by its dotted name; None where a section on the way is not there."""
    found: Any = recipe
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


CHOICES = [name for name in leaves(RELEASE) if not name.startswith("autoencoder.train.")]
"""What the study is about: not the autoencoder's training, which a dataset makes short."""

every_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)


@every_dataset
def test_the_classic_run_makes_the_classic_choices(dataset: Dataset, tmp_path: Path) -> None:
    """Whatever choices the recipe in datasets/ makes."""
    bare = tmp_path / "bare.toml"
    bare.write_text(
        '[data]\nsource = "digits"\n[autoencoder.model]\nimage_size = 16\nmultipliers = [1, 2, 4]\n'
        '[generator]\npreset = "small4"\n'
    )
    classic, plain = recipe_of(dataset, "classic"), load_recipe(bare, [])
    found = {name: value_of(classic, name) for name in CHOICES}
    assert found == {name: value_of(plain, name) for name in CHOICES}
    assert replace(classic.sample, flow_steps=plain.sample.flow_steps) == plain.sample


@every_dataset
def test_the_release_run_makes_the_choices_of_the_release(dataset: Dataset) -> None:
    """All but the number of stages, of which a small grid has fewer than nine."""
    recipe, wanted = recipe_of(dataset, "release"), leaves(RELEASE)
    names = [name for name in CHOICES if name != "generator.train.stages_per_image"]
    assert {n: value_of(recipe, n) for n in names} == {n: wanted[n] for n in names}


@every_dataset
@pytest.mark.parametrize(
    "name", [n for n in (*TRAINED, *SAMPLED) if n not in ("classic", "release")]
)
def test_a_run_differs_from_the_classic_one_in_its_settings(dataset: Dataset, name: str) -> None:
    """And in no other field."""
    classic = recipe_of(dataset, "classic")
    if name in SAMPLED:
        found, said = recipe_of(dataset, "classic", SAMPLED[name]), set(SAMPLED[name])
    else:
        found = recipe_of(dataset, name)
        said = set(settings_of(name, 0, dataset)) - set(settings_of("classic", 0, dataset))
    assert differences(classic, found) == {each.partition("=")[0] for each in said} != set()


@every_dataset
def test_a_step_of_all_stages_has_as_many_sequences_and_the_same_rate(dataset: Dataset) -> None:
    """As many to a quarter: an image's stages do not divide every batch."""
    classic, stages = (
        recipe_of(dataset, name).generator.train for name in ("classic", "all stages in a step")
    )
    each = stages.stages_per_image
    assert each == recipe_of(dataset, "classic").autoencoder.model.geometry.stages
    assert each * stages.batch_size == pytest.approx(classic.batch_size, rel=0.25)
    rate = stages.lr * stages.batch_size
    assert rate == pytest.approx(classic.lr * classic.batch_size)


def test_the_table_has_means_over_the_seeds(tmp_path: Path) -> None:
    """A line a run, in the order of the runs and not of the file."""
    out = tmp_path / "runs.jsonl"
    facts = {"accuracy": 0.5, "distance": 2.0, "seconds": 10.0, "cpu": 8.0}
    lines = [
        {"name": "skip: none", "seed": 0, "bits": 7.0, **facts},
        {"name": "classic", "seed": 1, "bits": 3.0, **facts},
        {"name": "classic", "seed": 0, "bits": 2.0, **facts, "seconds": 20.0, "cpu": 4.0},
    ]
    out.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert table(out)[2:] == [
        "| classic | 2.5 (2.0, 3.0) | 50.0 (50.0, 50.0) | 2.00 (2.00, 2.00) | 15 | 1.00 |",
        "| skip: none | 7.0 (7.0) | 50.0 (50.0) | 2.00 (2.00) | 10 | 2.00 |",
    ]


@pytest.mark.skipif(not REAL_DATA, reason="NVG_TEST_DATA names no folder")
def test_the_part_of_cifar_holds_out_the_classifiers_images(tmp_path: Path) -> None:
    """The same bytes in the same order, and 8,000 others."""
    whole = cifar_recipe()
    part = replace(whole.data, path=str(cifar_part(tmp_path)))
    sources = [open_source(whole.data), open_source(part)]
    (_, one), (trained, other) = (split_rows(s.rows, whole.data.heldout) for s in sources)
    assert (len(trained), len(other)) == (8000, 2000)
    assert [row.label for row in one] == [row.label for row in other]
    images = [
        list(source.read([row.key for row in rows[::40]]))
        for source, rows in zip(sources, (one, other), strict=True)
    ]
    assert images[0] == images[1]


def test_a_study_without_its_classifier_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained."""
    monkeypatch.delenv(CLASSIFIER, raising=False)
    with pytest.raises(InputError, match=f"{CLASSIFIER} is not set"):
        classifier_path()


def test_a_folder_without_cifar_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it should hold."""
    monkeypatch.setenv("NVG_TEST_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"holds no cifar10-train-\*\.parquet"):
        cifar_part(tmp_path / "part")
