"""Training on: more steps of a run, and a new run from the weights of another."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nvg.errors import InputError
from nvg.sampling.generators import load_generators
from pipeline.recipe import Recipe
from pipeline.train import fit_autoencoder, fit_generator
from tests.makers import recipe_over, tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.makers import lines_of


def test_a_finished_run_is_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With more steps it equals a run that was planned so long, while the rate is constant."""
    caplog.set_level("INFO", logger="nvg")
    store, generator = make_store(tmp_path / "tokens.vgs", rows=10), tiny_recipe().generator
    weights = []
    for name, lengths in (("short", (2, 4)), ("long", (4,))):
        for steps in lengths:
            train = replace(generator.train, steps=steps, decay_start=1.0, log_every=steps)
            recipe = tiny_recipe(generator=replace(generator, train=train))
            fit_generator(recipe, store.path, tmp_path / name, None, steps == 4)
        weights.append(load_generators(tmp_path / name).content.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    changed = {"generator.train.log_every": [2, 4], "generator.train.steps": [2, 4]}
    assert lines_of(tmp_path / "short" / "changes.jsonl") == [{"step": 2, "changed": changed}]
    assert "generator.train.steps 2 -> 4" in caplog.text
    assert not (tmp_path / "long" / "changes.jsonl").exists()


@pytest.mark.thorough
def test_an_autoencoder_is_trained_on(tmp_path: Path) -> None:
    """More steps go on from the last checkpoint; fewer than it has are refused."""
    recipe = recipe_over(tmp_path)
    fit_autoencoder(recipe, tmp_path / "run", False)

    def of_length(steps: int) -> Recipe:
        train = replace(recipe.autoencoder.train, steps=steps)
        return replace(recipe, autoencoder=replace(recipe.autoencoder, train=train))

    with pytest.raises(InputError, match=r"at step 4, which is more than .*steps = 3: raise it"):
        fit_autoencoder(of_length(3), tmp_path / "run", True)
    fit_autoencoder(of_length(6), tmp_path / "run", True)
    assert lines_of(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 6


@pytest.mark.thorough
def test_generators_are_trained_on_for_other_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All weights are taken; classes agree by name, others begin anew; another depth is refused."""
    caplog.set_level("INFO", logger="nvg")
    generator = tiny_recipe().generator
    stores = {
        name: make_store(tmp_path / f"{name}.vgs", rows=10, classes=list(classes))
        for name, classes in (("old", ["ant", "bee", "cat"]), ("new", ["bee", "dog"]))
    }
    start, run = tmp_path / "start", tmp_path / "run"
    fit_generator(tiny_recipe(), stores["old"].path, start, None, False)
    still = replace(generator, train=replace(generator.train, lr=0.0, steps=1))
    fit_generator(tiny_recipe(generator=still), stores["new"].path, run, None, False, start)
    assert "1 of 2 classes are new" in caplog.text
    before, after = (load_generators(path, raw=True) for path in (start, run))
    assert after.classes == ["bee", "dog"]
    for part in ("content", "structure"):
        old, new = (getattr(each, part).state_dict() for each in (before, after))
        table = "backbone.class_embedding.weight"
        assert new[table].shape == (3, old[table].shape[1])
        assert torch.equal(new[table][[0, 2]], old[table][[1, 3]])
        assert not (new[table][1] == old[table]).all(1).any()
        assert all(torch.equal(new[name], old[name]) for name in old if name != table)
    deeper = replace(generator, content=replace(generator.content, depth=3))
    with pytest.raises(InputError, match="transformer differ"):
        fit_generator(
            tiny_recipe(generator=deeper), stores["new"].path, tmp_path / "b", None, False, start
        )
    assert not (tmp_path / "b").exists()
