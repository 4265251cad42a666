"""Stores: manifest, descriptions, records, index, chunks, weights; links, other files."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nvg.config import dump
from nvg.format.base import ARRAYS, OK
from nvg.store import open_store
from tests.fuzz.cases import Outcome
from tests.fuzz.changes import change_bytes, change_json, change_value, neighbours
from tests.fuzz.judge import Answer, changed_by, first_fault, run, state_of
from tests.fuzz.weights import change_weights
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store, write_sealed

Facts = dict[str, Any]
STRAY = ("commits/._00000.json", "commits/00000 (1).json", ".DS_Store", "leaves/._zarr.json",
         "index/00099.parquet~", "commits/00099.parquet", "leaves/c/77/0/0", "x/y/z")  # fmt: skip


class Stores:
    """Mutated stores through every reader, and training where `verify` calls one sound."""

    name, seconds, memory = "stores", 240.0, 1 << 30

    def prepare(self, folder: Path) -> None:
        """A sound store, another of the same shape, and the recipe to train on it."""
        make_store(folder / "a.vgs", 10, 2, bad=(3,), val=(1, 8))
        make_store(folder / "other.vgs", 10, 2, seed=1, bad=(3,), val=(1, 8))
        recipe = tiny_recipe(folder)
        training = replace(recipe.generator.train, steps=2, batch_size=2, val_every=0)
        dump(
            replace(recipe, generator=replace(recipe.generator, train=training)), folder / "r.toml"
        )
        for words in every_verb(folder / "a.vgs", folder / "out", folder / "r.toml"):
            answer = run(*words)
            if answer.code or answer.fault:
                raise RuntimeError(f"a sound store is refused: {answer}")
        shutil.rmtree(folder / "out")
        (folder / "facts.json").write_text(json.dumps(facts_of(folder / "a.vgs")))

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """One mutation; what describes nothing else may also be sealed, as by who means it."""
        store, recipe = work / "a.vgs", templates / "r.toml"
        shutil.copytree(templates / "a.vgs", store)
        mutation, is_meant = mutate(store, templates / "other.vgs", random)
        before, verbs = state_of(store), every_verb(store, work / "out", recipe)
        verified, *rest = (run(*words) for words in verbs[:-1])
        answers = [verified, *rest]
        if verified.code == 0:
            answers.append(run(*verbs[-1]))
        fault = first_fault(answers) or changed_by(before, store)
        if not fault and verified.code == 0:
            fault = fault_of_sound(store, answers, None if is_meant else templates / "facts.json")
        return Outcome(mutation, verified.result, fault)


def every_verb(store: Path, out: Path, recipe: Path) -> list[tuple[str | Path, ...]]:
    """`verify` first; training, the dearest, last."""
    return [
        ("verify", store),
        ("inspect", store),
        ("inspect", store, "--row", "4", "--png", out / "row.png"),
        ("inspect", store, "--json", "--key", "image-5"),
        ("export", store, "--format", "parquet", "--out", out / "a.parquet"),
        ("train", "generator", recipe, "--store", store, "--out", out / "run"),
    ]


def fault_of_sound(store: Path, answers: list[Answer], facts: Path | None) -> str:
    """What a store that `verify` calls sound must not do: be refused, or hold something else.

    That weights are those of the network is found when it is built: by who means it, they need not.
    """
    known = ("has no image", *(("does not fit the model",) if facts is None else ()))
    for answer in answers:
        if answer.code and not any(words in answer.text for words in known):
            return f"called sound, but: {answer.line}: {answer.text[-300:]}"
    if facts and facts_of(store) != json.loads(facts.read_text()):
        return "called sound, and reads differently"
    return ""


def facts_of(path: Path) -> Facts:
    """All that is read from a store, as digests."""
    store = open_store(str(path))
    manifest = asdict(store.manifest)
    for name in ("sha256", "unknown"):
        manifest.pop(name)
    tokens = {name: np.ascontiguousarray(store.group[name][:]).tobytes() for name in ARRAYS}
    parts = {
        "manifest": json.dumps(manifest, sort_keys=True, default=str).encode(),
        "index": json.dumps(store.index.to_pylist(), sort_keys=True).encode(),
        **tokens,
        **{name: store.read(name) for name in store.manifest.weights},
    }
    return {name: sha256(data).hexdigest() for name, data in parts.items()}


Mutation = Callable[[Path, Path, Random], tuple[str, bool]]


def mutate(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Change a store in place. What was done, and whether it is meant and may be another store."""
    return random.choice(MUTATIONS)(store, other, random)


def manifest_field(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Another value of a field, with and without the checksums that go with it."""
    file = store / "manifest.json"
    table, is_sealed = json.loads(file.read_text()), random.random() < 0.7
    name = random.choice([key for key in table if key != "sha256"])
    if isinstance(table[name], dict | list) and table[name] and random.random() < 0.6:
        said = f"{name}{change_value(table[name], random)}"
    elif random.random() < 0.15:
        del table[name]
        said = f"without {name}"
    else:
        table[name] = random.choice(neighbours(table[name], random))
        said = f"{name} = {table[name]!a:.80}"
    try:
        if is_sealed:
            write_sealed(file, table)
        else:
            file.write_text(json.dumps(table))
    except UnicodeEncodeError:
        file.write_text(json.dumps(table))
    return f"manifest {said}{', sealed' * is_sealed}", is_sealed


def json_file(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Another description of an array or of the group, another manifest or commit record."""
    names = [f.relative_to(store) for f in sorted(store.rglob("*.json"))]
    name = random.choice(names)
    data, said = change_json((store / name).read_bytes(), random)
    (store / name).write_bytes(data)
    return f"{name}: {said}", False


def any_file(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Other bytes in any file."""
    name = any_name(store, random)
    data, said = change_bytes((store / name).read_bytes(), random)
    (store / name).write_bytes(data)
    return f"{name}: {said}", False


def index(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Another index table, as a Parquet file that is right by itself."""
    file = random.choice(sorted((store / "index").glob("*.parquet")))
    table = pq.read_table(file)
    column, row, way = (
        random.choice(table.column_names),
        random.randrange(len(table)),
        random.randrange(6),
    )
    if way == 0:
        table, said = table.drop_columns(column), f"without {column}"
    elif way == 1:
        table, said = table.take([*range(row), *range(row + 1, len(table))]), f"without row {row}"
    elif way == 2:
        order = random.sample(range(len(table)), len(table))
        table, said = table.take(order), "in another order"
    elif way == 3:
        at = table.column_names.index(column)
        table = table.set_column(at, column, table["key"])
        said = f"{column} is the keys"
    elif way == 4:
        table, said = pa.concat_tables([table, table]), "twice"
    else:
        table, said = with_cell(table, column, row, random)
    pq.write_table(table, file)
    return f"index {said}", False


def with_cell(table: pa.Table, column: str, row: int, random: Random) -> tuple[pa.Table, str]:
    """A table with another value in one cell."""
    values = table[column].to_pylist()
    odd: tuple[Any, ...] = (
        None,
        0,
        -1,
        1,
        7,
        1 << 30,
        "",
        "x",
        "\x1b[2J",
        "val",
        OK,
        "error",
        [0.5],
    )
    fits = [v for v in odd if v != values[row] and type(v) is type(values[row])] or [None]
    values[row] = random.choice(fits)
    at = table.column_names.index(column)
    array = pa.array(values, table.schema.field(column).type)
    return table.set_column(at, column, array), f"{column} of row {row} = {values[row]!a}"


def weights(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Other weights; maybe with the checksum that goes with them."""
    file = random.choice(sorted(store.glob("*.safetensors")))
    data, said = change_weights(file.read_bytes(), random)
    file.write_bytes(data)
    is_sealed = random.random() < 0.5
    if is_sealed:
        manifest = store / "manifest.json"
        table = json.loads(manifest.read_text())
        table["weights"][file.name] = sha256(data).hexdigest()
        write_sealed(manifest, table)
    return f"{file.name}: {said}{', sealed' * is_sealed}", is_sealed


def swapped(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Two files change places."""
    one, two = any_name(store, random), any_name(store, random)
    data = (store / one).read_bytes()
    (store / one).write_bytes((store / two).read_bytes())
    (store / two).write_bytes(data)
    return f"{one} and {two} swapped", False


def lost(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """A file or folder is gone."""
    paths = sorted(store.rglob("*"))
    path = random.choice(paths)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return f"without {path.relative_to(store)}", False


def mixed(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """Half copied over another: some files are those of another store of the same shape."""
    names = files_of(store)
    chosen = random.sample(names, random.randint(1, len(names)))
    for name in chosen:
        shutil.copyfile(other / name, store / name)
    is_whole = all((store / n).read_bytes() == (other / n).read_bytes() for n in names)
    return f"{len(chosen)} files of another store: {', '.join(sorted(chosen)[:6])}", is_whole


def stray(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """A file more, as systems and copying tools leave them."""
    name = random.choice(STRAY)
    (store / name).parent.mkdir(parents=True, exist_ok=True)
    (store / name).write_bytes(random.choice((b"", b"\0\5\x16\7", b"{}")))
    return f"{name} added", False


def no_file(store: Path, other: Path, random: Random) -> tuple[str, bool]:
    """A link, a pipe or a folder where a file should be."""
    name, path = any_name(store, random), Path()
    path = store / name
    path.unlink()
    way = random.choice(("loop", "nowhere", "/dev/zero", "pipe", "folder", "other"))
    if way == "pipe":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    else:
        places = {"loop": path, "nowhere": Path("/nowhere"), "other": other / name}
        path.symlink_to(places.get(way, Path(way)))
    return f"{name} is {way}", False


def any_name(store: Path, random: Random) -> str:
    """A file of a store."""
    return random.choice(files_of(store))


def files_of(store: Path) -> list[str]:
    """Every file by its path from the store."""
    return sorted(p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file())


MUTATIONS: tuple[Mutation, ...] = (
    *(manifest_field, manifest_field, manifest_field, json_file, json_file, json_file),
    *(any_file, any_file, any_file, index, index, weights, weights),
    *(swapped, lost, mixed, stray, no_file),
)
