"""What a horizontal flip is worth, and whether tokens can be flipped instead of pixels: CIFAR-10.

`python -m tests.bench.flips OUT` trains the generators of three stores for each seed, with as many
steps each, and prints held-out bits: `none`, one view of every image; `stored`, a second view of
the flipped pixels; `tokens`, as second view the mirrored hierarchy of the first. The encoder is not
symmetric, so mirrored tokens are not those of the mirrored image. NVG_TEST_DATA names the folder of
CIFAR-10's Parquet files. About 5 CPU minutes a store; done ones are skipped.

Legend: B image of a batch, N position, T token.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nvg.geometry import Geometry, labels, leaf_order
from nvg.sampling.generators import load_generators
from nvg.store import Split, Store, open_store
from nvg.store.shard_writer import open_writer
from pipeline.evaluation.likelihood import likelihood_of
from pipeline.train import fit_generator
from tests.bench.choice_datasets import CIFAR_BASE, cifar_part, cifar_recipe
from tests.bench.choices import cell, lines_of, tokenized

SEEDS = (0, 1, 2)
VIEWS = {"none": ["center"], "stored": ["center", "flip"], "tokens": ["center", "flip"]}


def main(out: Path) -> None:
    """Train what is not done yet, and print the table."""
    done = {(line["flip"], line["seed"]) for line in lines_of(out)}
    for seed in SEEDS:
        for flip in VIEWS:
            if (flip, seed) not in done:
                line = run(flip, seed, out.with_suffix(".tokens"))
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    print("\n".join(table(list(lines_of(out)))))


def run(flip: str, seed: int, cache: Path) -> dict[str, Any]:
    """Bits an image of generators that saw these flips."""
    settings = [
        *CIFAR_BASE,
        f'data.path="{cifar_part(cache)}"',
        f"tokenize.views={json.dumps(VIEWS[flip])}",
        f"autoencoder.train.seed={seed}",
        f"generator.train.seed={seed}",
    ]
    recipe = cifar_recipe(settings)
    store = str(tokenized(recipe, cache) / "tokens.vgs")
    with tempfile.TemporaryDirectory() as folder:
        if flip == "tokens":
            store = mirrored_store(open_store(store), f"{folder}/mirrored.vgs")
        fit_generator(recipe, store, Path(folder) / "run", None, False)
        generators = load_generators(Path(folder) / "run")
        bits = {
            split: likelihood_of(generators, open_store(store), split=split, most=1000)
            for split in (Split.TRAIN, Split.VAL)
        }
    line: dict[str, Any] = {"flip": flip, "seed": seed}
    for split, found in bits.items():
        line[f"{split}_tokens"], line[f"{split}_structure"] = found.token_bits, found.structure_bits
    return line


def mirrored_store(store: Store, path: str) -> str:
    """A copy of the store whose second view is the mirrored hierarchy of the first."""
    shutil.copytree(store.path, path)
    arrays = {name: store.group[name][:] for name in store.arrays}
    rows = store.ok_rows()
    leaves, content = (torch.from_numpy(arrays[n][rows, 0]).long() for n in ("leaves", "content"))
    made = mirrored(leaves, content, store.geometry)
    for name, values in zip(("leaves", "content"), made, strict=True):
        arrays[name][rows, 1] = values.numpy().astype(arrays[name].dtype)
    writer = open_writer(path)
    writer.withdraw_chunks(range(writer.chunks))
    for chunk in range(writer.chunks):
        own = writer.chunk_slice(chunk)
        part = {name: values[own] for name, values in arrays.items()}
        writer.write_chunk(chunk, part, store.index.slice(own.start, own.stop - own.start))
    writer.finish()
    return path


def mirrored(leaves_BN: Tensor, content_BT: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The hierarchy with left and right exchanged, its children again in the order of position."""
    seen_BN = leaves_BN.unflatten(1, (geometry.grid, geometry.grid)).flip(2).flatten(1)
    order_BN = leaf_order(seen_BN)
    for run in (2**level for level in range(geometry.K)):
        pairs = order_BN.unflatten(1, (-1, 2, run))
        first, second = pairs.amin(3).unbind(2)
        order_BN = torch.where((second < first)[..., None, None], pairs.flip(2), pairs).flatten(1)
    content = []
    for stage in range(geometry.stages):
        size = geometry.positions // geometry.clusters(stage)
        old_Bn = labels(seen_BN, stage, geometry.K).gather(1, order_BN[:, ::size])
        content.append(content_BT[:, geometry.stage_slice(stage)].gather(1, old_Bn))
    return leaf_order(order_BN), torch.cat(content, dim=1)


def table(lines: list[dict[str, Any]]) -> list[str]:
    """Means over the seeds, and each seed's value."""
    columns = ("val_tokens", "val_structure", "train_tokens", "train_structure")
    rows = ["| flip | " + " | ".join(name.replace("_", ": ") for name in columns) + " |"]
    rows.append("|---" * (len(columns) + 1) + "|")
    for flip in VIEWS:
        own = sorted((x for x in lines if x["flip"] == flip), key=lambda line: line["seed"])
        if own:
            cells = [cell([line[name] for line in own], ".1f") for name in columns]
            rows.append(f"| {flip} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main(Path(sys.argv[1]))
