"""A request, its command and its lines of Python make the same images, to the bit."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.app import app
from nvg.errors import InputError
from nvg.sampling.config import SamplerConfig, Solver
from pipeline.run_weights import open_generators
from pipeline.sampling.references import load_reference
from pipeline.sampling.repeat import command_of, files_of, label_word, python_of
from pipeline.sampling.request import Request
from tests.pipeline.sampling.makers import HALF, KEPT, a_request, tokens_reference, write_far_run

CASES: dict[str, dict[str, Any]] = {
    "free": {},
    "settings": {"settings": {"flow_steps": 2, "solver": "heun", "top_p": 0.9, "top_k": 7}},
    "raw": {"weights": "raw"},
    "checkpoint": {"checkpoint": 8},
    "drawing": {"drawing": {"regions": HALF}},
    "drawn stages": {"drawing": {"regions": HALF, "stages": 3}},
    "row": {"keep": KEPT, "reference": "row"},
    "tokens": {"keep": KEPT, "reference": "tokens"},
    "region": {"region": HALF, "reference": "tokens"},
}
QUICK = ("free", "drawing", "tokens")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_far_run(tmp_path_factory.mktemp("repeat"))


def complete(run: Path, identity: str, parts: dict[str, Any]) -> Request:
    """A request with the reference that a case leaves open: of the store, or tokens."""
    if "reference" in parts:
        row = {"store": str(run.parent / "tokens.vgs"), "row": 4}
        found = row if parts["reference"] == "row" else tokens_reference(identity)
        parts = {**parts, "reference": found}
    return a_request(run, seed=3, **parts)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in CASES],
)
def test_three_ways_to_the_same_images(
    run: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampled as the studio does, by the command and by the lines."""
    parts = CASES[name]
    where = parts.get("weights", "ema"), parts.get("checkpoint")
    generators = open_generators(run, *where)
    geometry = generators.detokenizer.config.geometry
    request = complete(run, generators.tokenizer, parts)
    reference = None
    if request.reference:
        reference = (
            load_reference(f"{request.reference.store}:4", generators.tokenizer, None)
            if request.reference.is_row
            else request.reference.sequences(generators.tokenizer, geometry, 16)
        )
    control = request.control(reference, geometry)
    wanted = generators.images(request.labels, request.seed, request.settings, control)
    wanted_BDD3 = wanted.permute(0, 2, 3, 1).numpy()

    monkeypatch.chdir(tmp_path)
    for file, data in files_of(request, geometry).items():
        Path(file).write_bytes(data)
    classes, own = generators.classes, generators.settings
    nvgctl, *words = shlex.split(command_of(request, classes, own))
    assert nvgctl == "nvgctl"
    done = CliRunner().invoke(app, [*words, "--npz", "made.npz"])
    assert done.exit_code == 0, done.output
    assert np.array_equal(np.load("made.npz")["arr_0"], wanted_BDD3)

    names: dict[str, Any] = {}
    exec(python_of(request, classes, own), names)
    made = np.stack([np.asarray(picture) for picture in names["pictures"]])
    assert np.array_equal(made, wanted_BDD3)


def test_the_words_say_no_more_than_is_needed() -> None:
    """Settings of the run are not repeated; names and numbers of classes are unambiguous."""
    own = SamplerConfig(flow_steps=2)
    classes = ["ant", "bee", "cat"]
    assert command_of(a_request("my run"), classes, own) == (
        "nvgctl sample 'my run' --label cat --label ant -n 3 --seed 0"
    )
    said = command_of(
        replace(a_request(), settings=replace(own, solver=Solver.HEUN, top_p=0.25)), classes, own
    )
    assert said.endswith("--seed 0 --top-p 0.25 --set sample.solver=heun")
    assert label_word(["crane", "crane"], 0) == "crane"
    assert label_word(["crane", "crane"], 1) == "1"
    assert label_word(["-1", ""], 0) == "0"
    assert label_word(["-1", ""], 1) == "1"
    with pytest.raises(InputError, match="class 2 cannot be named"):
        label_word(["a", "2", "a"], 2)


def test_a_run_without_classes_is_said_too() -> None:
    """The lines sample no class."""
    request = Request(run="a", number=2, settings=SamplerConfig(top_k=1))
    assert command_of(request, [], SamplerConfig()) == "nvgctl sample a -n 2 --seed 0 --top-k 1"
    assert python_of(request, [], SamplerConfig()).splitlines()[-1] == (
        "pictures = generators.images([-1] * 2, seed=0, config=replace(generators.settings, "
        "top_k=1))"
    )
