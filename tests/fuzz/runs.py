"""Run directories: recipe, weights, state of optimizers and loaders, classes, checkpoints."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

from nvg.config import dump
from tests.fuzz.cases import Outcome
from tests.fuzz.changes import change_bytes, change_json
from tests.fuzz.judge import changed_by, first_fault, run, state_of
from tests.fuzz.weights import change_weights
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.store.makers import make_store

MORE = "generator.train.steps=6"
MORE_AUTOENCODER = "autoencoder.train.steps=6"


class Runs:
    """Mutated runs of generators and of autoencoders: sampled, resumed, tokenized with."""

    name, seconds, memory = "runs", 240.0, 1 << 30

    def prepare(self, folder: Path) -> None:
        """A store, images, and one finished run of each kind with two checkpoints."""
        make_store(folder / "a.vgs", 10)
        write_image_folder(folder / "images", per_class=2)
        recipe = tiny_recipe(folder / "images")
        training = replace(recipe.generator.train, batch_size=2)
        recipe = replace(recipe, generator=replace(recipe.generator, train=training))
        dump(recipe, folder / "r.toml")
        generator = "train", "generator", folder / "r.toml", "--store", folder / "a.vgs"
        for words in (
            (*generator, "--out", folder / "generator"),
            ("train", "autoencoder", folder / "r.toml", "--out", folder / "autoencoder"),
        ):
            answer = run(*words)
            if answer.code or answer.fault:
                raise RuntimeError(f"a sound run is refused: {answer}")

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """One mutation of a run; it is read, then trained on."""
        kind = random.choice(("generator", "generator", "autoencoder"))
        place = work / kind
        shutil.copytree(templates / kind, place)
        mutation, before = mutate(place, random), state_of(place)
        out, recipe = work / "out", templates / "r.toml"
        trained: tuple[str | Path, ...]
        if kind == "generator":
            step = "--checkpoint", random.choice(("2", "4"))
            how = random.choice(((), (), step, ("--weights", "raw")))
            sampled = run("sample", place, "-n", "1", "--png", out / "a.png", *how)
            store = "--store", templates / "a.vgs"
            trained = (
                "train",
                "generator",
                recipe,
                *store,
                "--out",
                place,
                "--resume",
                "--set",
                MORE,
            )
        else:
            tokenize = "tokenize", templates / "images", "--engine", "inline"
            sampled = run(*tokenize, "--tokenizer", place, "--out", out / "b.vgs")
            options = "--out", place, "--resume", "--set", MORE_AUTOENCODER
            trained = "train", "autoencoder", recipe, *options
        changed = changed_by(before, place)
        resumed = run(*trained)
        fault = first_fault([sampled, resumed]) or changed
        if not fault and resumed.code == 2:
            fault = changed_by(before, place).replace("a reader", "a refused training")
        return Outcome(
            f"{kind}: {mutation}", max(sampled, resumed, key=lambda a: a.code).result, fault
        )


def mutate(place: Path, random: Random) -> str:
    """Change a run in place; what was done."""
    files = sorted(p for p in place.rglob("*") if p.is_file() and p.suffix != ".png")
    file = random.choice(files)
    name, way = file.relative_to(place).as_posix(), random.randrange(10)
    if way == 0:
        file.unlink()
        return f"without {name}"
    if way == 1:
        folder = random.choice(sorted(p for p in place.rglob("*") if p.is_dir()))
        shutil.rmtree(folder)
        return f"without {folder.relative_to(place)}"
    if way == 2:
        other = random.choice(files)
        data = file.read_bytes()
        file.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return f"{name} and {other.relative_to(place)} swapped"
    if way == 3:
        return half_copied(place, random)
    if way == 4:
        file.unlink()
        kind = random.choice(("loop", "nowhere", "pipe", "folder", "/dev/zero"))
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to({"loop": file, "nowhere": Path("/nowhere")}.get(kind, Path(kind)))
        return f"{name} is {kind}"
    if file.suffix == ".safetensors" and way < 9:
        data, said = change_weights(file.read_bytes(), random)
    elif file.suffix == ".json" and way < 9:
        data, said = change_json(file.read_bytes(), random)
    elif file.suffix == ".toml" and way < 9:
        text, said = change_lines(file.read_text(), random)
        data = text.encode(errors="surrogatepass")
    else:
        data, said = change_bytes(file.read_bytes(), random)
    file.write_bytes(data)
    return f"{name}: {said}"


def half_copied(place: Path, random: Random) -> str:
    """A checkpoint of which only some files have arrived, or one that is a copy's left-over."""
    steps = sorted((place / "checkpoints").rglob("step-*"))
    step = random.choice(steps)
    if random.random() < 0.4:
        name = random.choice(("step-00000006", "step-00000004.bak", "step-4", "step-x", "step-²"))
        shutil.copytree(step, step.with_name(name))
        return f"{step.name} also as {name}"
    files = sorted(step.iterdir())
    gone = random.sample(files, random.randint(1, len(files)))
    for file in gone:
        file.unlink()
    return f"{step.name} without {', '.join(sorted(f.name for f in gone))}"


ODD_VALUES = ("nan", "inf", "-1", "0", "1e400", "9" * 30, "''", "[]", "true", "[nan, nan]", "{}",
              "'\\u001b[31m'", "1979-05-27", "0.0", "1.5", "'greedy'", "1000000000")  # fmt: skip


def change_lines(text: str, random: Random) -> tuple[str, str]:
    """Another value, or one line more or less, of a TOML file."""
    lines = text.splitlines()
    at = random.randrange(len(lines))
    way = random.randrange(4)
    if way == 0:
        return "\n".join(lines[:at] + lines[at + 1 :]), f"without line {at}: {lines[at]}"
    if way == 1:
        return "\n".join([*lines[:at], lines[at], *lines[at:]]), f"twice: {lines[at]}"
    valued = [n for n, line in enumerate(lines) if " = " in line]
    at = random.choice(valued)
    name, value = lines[at].split(" = ", 1)[0], random.choice(ODD_VALUES)
    lines[at] = f"{name} = {value}"
    return "\n".join(lines), lines[at][:80]
