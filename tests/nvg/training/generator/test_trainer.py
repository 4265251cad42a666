"""The steps of both generators: the golden curve, batches that do not divide, bad numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.config import dump
from nvg.distributed import World
from nvg.errors import WorkError
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind
from nvg.loader import SequenceLoader
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.train import train_generator
from nvg.training.generator.trainer import GeneratorTrainer, loader_of
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for
from tests.nvg.training.makers import lines_of
from tests.processes import outputs, start_processes

CASE = "tests.nvg.training.generator.stream_case"
ALONE = World(0, 1, torch.device("cpu"))
GOLDEN = Path(__file__).resolve().parents[4] / "tests/golden" / "generator_losses.txt"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve random rows on a 4x4 grid."""
    return make_store(tmp_path / "store.vgs", rows=12)


def fit(store: Store, out: Path, resume: bool = False, **train: Any) -> None:
    """Train both tiny generators into `out`, logging every step."""
    recipe = tiny_recipe()
    settings = replace(recipe.generator.train, log_every=1, **train)
    config = replace(recipe.generator, train=settings)
    run = Run(out, tiny_recipe(generator=config), resume, ("generator",))
    train_generator(config, store, list(GeneratorKind), run)


def test_the_loss_curve_is_the_golden_one(store: Store, tmp_path: Path) -> None:
    """Twenty steps of both generators: whoever changes these numbers changes the training."""
    fit(store, tmp_path / "run", steps=20, lr=0.1)
    found = [line["loss"] for line in lines_of(tmp_path / "run" / "metrics.jsonl")]
    wanted = [float(line.split()[1]) for line in GOLDEN.read_text().splitlines()]
    assert len(found) == 20
    assert found == pytest.approx(wanted, rel=2e-4)


def test_a_loss_that_is_no_number_stops_the_run(store: Store, tmp_path: Path) -> None:
    """One line with the step and the rows; no checkpoint holds anything of it."""
    with pytest.raises(WorkError, match=r"step \d+: .*loss.* at rows (\d+, )+\d+;") as caught:
        fit(store, tmp_path / "run", steps=40, lr=1e30, clip=1e30, checkpoint_every=1)
    assert "is from before" in str(caught.value)
    checkpoints = Run(
        tmp_path / "run",
        tiny_recipe(
            generator=replace(
                tiny_recipe().generator,
                train=replace(
                    tiny_recipe().generator.train,
                    log_every=1,
                    steps=40,
                    lr=1e30,
                    clip=1e30,
                    checkpoint_every=1,
                ),
            )
        ),
        True,
        ("generator",),
    ).checkpoints
    for step in checkpoints.steps():
        state = checkpoints.state(step)
        assert all(value == value for value in state["window"].values())


def test_a_batch_must_divide(store: Store) -> None:
    """Into processes and micro-batches: the line names all three numbers."""
    training = replace(tiny_recipe().generator.train, batch_size=6, accumulate=4)
    shape = shape_for(tiny_recipe().generator.content, store)
    state = GeneratorState(GeneratorKind.CONTENT, shape, training, ALONE)
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    with pytest.raises(ValueError, match="6 is not a multiple of 1 processes x 4"):
        GeneratorTrainer([state], store, quantizer, ALONE)


@pytest.mark.parametrize(("own", "nodes"), [(2, 2), (1, 4), (0, 1)])
def test_nodes_share_the_reading(
    store: Store, own: int, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the launcher has started processes on; where it does not say, none share."""
    places = [(rank % own if own else 0, own) for rank in range(4)]
    monkeypatch.setattr(World, "gather", lambda *_: places)
    world = World(3, 4, torch.device("cpu"))
    loader = loader_of(store, 1, tiny_recipe().generator.train, world, False)
    assert isinstance(loader, SequenceLoader)
    assert (loader.nodes, loader.rank, loader.world_size) == (nodes, 3, 4)


@pytest.mark.slow
def test_an_epoch_survives_other_numbers_of_nodes(tmp_path: Path) -> None:
    """Five steps of twelve rows on two nodes of two, one alone, then four nodes: each row once."""
    make_store(tmp_path / "store.vgs", rows=60)
    dump(tiny_recipe(), tmp_path / "recipe.toml")
    seen: list[int] = []
    for processes, per_node, steps in ((4, 2, 2), (1, 1, 3), (4, 1, 5)):
        started = start_processes(processes, CASE, tmp_path, steps, per_node=per_node)
        said = [json.loads(text.splitlines()[-1]) for text in outputs(started)]
        seen += [row for rank in said for rows in rank for row in rows]
    assert sorted(seen) == list(range(60))
    (last,) = tmp_path.glob("run/**/*5/state.json")
    state = json.loads(last.read_text())["loader"]
    assert (state["nodes"], state["deals"], state["position"]) == (4, [[2, 24], [1, 12]], 60)
