"""Recipes: every verb that takes one plans with it, and some do what it says."""

import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

from nvg.config import dump
from tests.fuzz.cases import Outcome
from tests.fuzz.changes import change_bytes
from tests.fuzz.judge import first_fault, run
from tests.fuzz.runs import ODD_VALUES, change_lines
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.store.makers import make_store
from tests.nvg.tokenizer.makers import write_autoencoder


class Recipes:
    """Mutated recipes: plans of all trainings and passes, and now and then the pass itself."""

    name, seconds, memory = "recipes", 240.0, 1 << 30

    def prepare(self, folder: Path) -> None:
        """A recipe, and what it names."""
        write_image_folder(folder / "images", per_class=2)
        write_autoencoder(folder / "tokenizer")
        make_store(folder / "a.vgs", 10)
        recipe = tiny_recipe(folder / "images")
        training = replace(recipe.generator.train, batch_size=2, steps=2)
        dump(
            replace(recipe, generator=replace(recipe.generator, train=training)), folder / "r.toml"
        )

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """One change of the text, or one `--set`."""
        recipe, settings = work / "r.toml", list[str]()
        text, said = (templates / "r.toml").read_text(), ""
        way = random.randrange(5)
        if way == 0:
            data, said = change_bytes(text.encode(), random)
            recipe.write_bytes(data)
        elif way == 1:
            shutil.copyfile(templates / "r.toml", recipe)
            key = random.choice(
                [line.split(" = ")[0] for line in text.splitlines() if " = " in line]
            )
            section = random.choice(("data", "autoencoder.train", "generator.train", "sample", "x"))
            settings = ["--set", f"{section}.{key}={random.choice(ODD_VALUES)}"]
            said = settings[1]
        else:
            changed, said = change_lines(text, random)
            recipe.write_text(changed)
        passes = "tokenize", recipe, "--tokenizer", templates / "tokenizer", "--out", work / "a.vgs"
        store = "--store", templates / "a.vgs", "--out", work / "run"
        verbs: list[tuple[str | Path, ...]] = [
            (*passes, "--dry-run", *settings),
            ("train", "autoencoder", recipe, "--out", work / "a", "--dry-run", *settings),
            ("train", "generator", recipe, *store, "--dry-run", *settings),
        ]
        if random.random() < 0.3:
            verbs.append((*passes, "--engine", "inline", *settings))
        answers = [run(*words) for words in verbs]
        worst = max(answers, key=lambda answer: answer.code)
        return Outcome(f"recipe {said!a}", worst.result, first_fault(answers))
