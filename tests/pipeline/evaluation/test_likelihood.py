"""`evaluate likelihood` and the best weights of a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cli.app import app
from nvg.errors import InputError
from nvg.generator.config import GeneratorKind
from nvg.store import Split, Store
from nvg.training.checkpoint import Checkpoints
from pipeline.evaluation.likelihood import LikelihoodOptions, evaluate_likelihood
from pipeline.run_weights import best_checkpoint, open_generators
from pipeline.train import fit_generator
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    """A run of both generators on twelve rows, measured on six others every two steps."""
    folder = tmp_path_factory.mktemp("likelihood")
    store = make_store(folder / "store.vgs", rows=18, val=range(12, 18))
    recipe = tiny_recipe()
    train = replace(recipe.generator.train, lr=1.0, keep=5, steps=8)
    recipe = replace(recipe, generator=replace(recipe.generator, train=train))
    fit_generator(recipe, store.path, folder / "run", None, False)
    return folder / "run", store


@pytest.mark.thorough
def test_it_repeats_what_training_measured(trained: tuple[Path, Store], tmp_path: Path) -> None:
    """The last held-out losses, but for more flow times; the report has every number."""
    run, store = trained
    lines = evaluate_likelihood(run, store.path, LikelihoodOptions(out=tmp_path))
    report = json.loads((tmp_path / "likelihood.json").read_text())
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in logged if "heldout" in line][-1]["heldout"]["val"]
    assert report["entropy"] == pytest.approx(last["entropy"], abs=2e-5)
    assert report["canvas"] == pytest.approx(last["canvas"], abs=2e-5)
    assert report["content_loss"] == pytest.approx(last["content"], abs=2e-5)
    assert (report["images"], report["split"], report["weights"]) == (6, "val", "ema")
    assert f"{report['token_bits']:.1f} of tokens" in lines[-2]
    assert sum(line.startswith("  stage") for line in lines) == 5
    train = LikelihoodOptions(out=tmp_path, split="train", most=5)
    assert evaluate_likelihood(run, store.path, train)[0].startswith("5 images")


def test_the_best_weights_are_of_the_lowest_heldout_loss(trained: tuple[Path, Store]) -> None:
    """Of each generator on its own, and other than the last ones here."""
    run = trained[0]
    checkpoints, values = Checkpoints(run / "checkpoints"), {}
    for part in GeneratorKind:
        scores = {step: checkpoints.state(step)["scores"][part.value] for step in (2, 4, 6, 8)}
        values[part] = min(scores, key=lambda step: scores[step])
        assert best_checkpoint(run, part) == checkpoints.path(values[part])
    assert set(values.values()) != {8}
    best, last = open_generators(run, "best"), open_generators(run, "ema")
    for part in GeneratorKind:
        pair = [getattr(each, part.value).state_dict() for each in (best, last)]
        is_same = all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])
        assert is_same == (values[part] == 8)


def test_what_cannot_be_measured_is_refused(trained: tuple[Path, Store], tmp_path: Path) -> None:
    """One line: no held-out rows, tokens of another tokenizer, a run that was never measured."""
    run = trained[0]
    plain = make_store(tmp_path / "plain.vgs", rows=8)
    with pytest.raises(InputError, match=r"plain\.vgs has no val rows: set data\.heldout"):
        evaluate_likelihood(run, plain.path, LikelihoodOptions())
    other = make_store(tmp_path / "other.vgs", rows=8, codebook_size=12)
    with pytest.raises(InputError, match="was made by tokenizer"):
        evaluate_likelihood(run, other.path, LikelihoodOptions(split="train"))
    fit_generator(tiny_recipe(), plain.path, tmp_path / "run", None, False)
    with pytest.raises(InputError, match="no checkpoint with a held-out loss of its content"):
        open_generators(tmp_path / "run", "best")
    assert not (run / "likelihood.json").exists()


def test_the_verb_prints_a_table(trained: tuple[Path, Store], tmp_path: Path) -> None:
    """Exit 0 with bits an image; exit 2 with one line for a store that is not there."""
    run, store = trained
    done = CliRunner().invoke(
        app,
        ["evaluate", "likelihood", str(run), "--store", store.path, "--out", str(tmp_path),
         "--weights", "best", "-n", str(store.count(Split.VAL))],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "bits an image" in done.output
    missing = CliRunner().invoke(
        app, ["evaluate", "likelihood", str(run), "--store", str(tmp_path / "none.vgs")]
    )
    assert missing.exit_code != 0
