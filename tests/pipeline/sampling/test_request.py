"""Requests: strict both ways, and what they steer."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nvg.errors import InputError
from nvg.geometry import Geometry
from nvg.sampling.config import SamplerConfig, Solver
from nvg.sampling.control import Condition
from pipeline.sampling.request import Request, json_of, read_request
from tests.pipeline.sampling.makers import HALF, KEPT, a_request, tokens_reference

GRID = Geometry(4)


def test_what_is_left_out_is_filled_in() -> None:
    """By the run's values; a null says nothing."""
    own = {"top_p": 0.9, "solver": "heun"}
    table = {"classes": [1], "settings": {"top_k": 3}, "drawing": None, "checkpoint": None}
    made = read_request(table, run="a", settings=own)
    assert made == Request(
        run="a", classes=(1,), settings=SamplerConfig(top_p=0.9, solver=Solver.HEUN, top_k=3)
    )
    assert made.labels == [1]
    assert Request(run="a", number=2).labels == [-1, -1]
    assert a_request().labels == [2, 2, 2, 0, 0, 0]


@given(
    number=st.integers(1, 32),
    seed=st.integers(0, 2**53 - 1),
    top_p=st.floats(0.01, 1),
    kept=st.lists(st.sampled_from(["all", "structure"]), min_size=1, max_size=4),
    has_region=st.booleans(),
)
def test_a_request_comes_back(
    number: int, seed: int, top_p: float, kept: list[str], has_region: bool
) -> None:
    """Through JSON it is the same, to the last bit."""
    keep = kept + ["anew"] * (5 - len(kept))
    what: dict[str, Any] = {"region": HALF} if has_region else {"keep": keep}
    settings = {"top_p": top_p}
    made = a_request(
        number=number, seed=seed, settings=settings, reference=tokens_reference("x"), **what
    )
    assert read_request(json_of(json.dumps(made.as_json()))) == made
    if not has_region:
        assert made.kept == [Condition(word) for word in kept]


ROW = {"store": "a.vgs", "row": 1}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"colour": 1}, "unknown key colour"),
        ({"number": 0}, "number must be at least 1"),
        ({"number": 33}, "66 images are asked for"),
        ({"number": True}, "number must be of type int"),
        ({"seed": -1}, "seed must be in"),
        ({"version": 2}, "version 2, is not"),
        ({"weights": "old"}, "weights must be ema, raw or best"),
        ({"settings": {"top_p": 2}}, "top_p must be in"),
        ({"settings": {"flow_steps": 201}}, "at most 200"),
        ({"settings": {"solver": "rk4"}}, "must be one of euler"),
        ({"settings": [1]}, "settings must be a section"),
        ({"classes": "1"}, "must be of type list"),
        ({"reference": {"store": "a.vgs"}, "keep": KEPT}, "a reference has store and row"),
        ({"reference": {**ROW, "row": -1}, "keep": KEPT}, "row must be at least 0"),
        ({"reference": {**ROW, "leaves": [1]}, "keep": KEPT}, "a reference has store and row"),
        ({"reference": ROW}, "needs either keep or region"),
        ({"reference": ROW, "keep": KEPT, "region": HALF}, "needs either keep or region"),
        ({"reference": ROW, "keep": ["anew"]}, "keep begins with"),
        ({"reference": ROW, "keep": ["all", "anew", "all"]}, "keep begins with"),
        ({"reference": ROW, "keep": []}, "keep begins with"),
        ({"reference": ROW, "region": [2]}, "region has 1"),
        ({"keep": KEPT}, "say what is done with a reference"),
        ({"region": HALF}, "say what is done with a reference"),
        ({"drawing": {"regions": HALF}, "reference": ROW, "keep": KEPT}, "name one"),
        ({"drawing": {"regions": [256]}}, "numbered 0..255"),
    ],
)
def test_bad_requests_are_named(parts: dict[str, Any], words: str) -> None:
    """In one line."""
    with pytest.raises(InputError, match=words) as error:
        a_request(**parts)
    assert "\n" not in str(error.value)
    assert "recipe" not in str(error.value)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"classes": [3]}, "there is no class 3: the run has 0..2"),
        ({"classes": []}, "name a class"),
        ({"drawing": {"regions": [0, 1]}}, "regions has 2 entries, the run needs 16"),
        ({"drawing": {"regions": HALF, "stages": 6}}, r"6 stages cannot be kept"),
        ({"reference": ROW, "keep": KEPT[:4]}, "keep has 4 entries, the run needs 5"),
        ({"reference": ROW, "region": [1, 0]}, "region has 2 entries, the run needs 16"),
    ],
)
def test_what_does_not_fit_a_run_is_named(parts: dict[str, Any], words: str) -> None:
    """Classes, and the sizes of all that lies on the grid."""
    a_request().require_fit(3, GRID)
    with pytest.raises(InputError, match=words):
        a_request(**parts).require_fit(3, GRID)
    with pytest.raises(InputError, match="has no classes"):
        a_request().require_fit(0, GRID)


def test_references_in_tokens_are_checked() -> None:
    """Another tokenizer, no permutation, wrong lengths, a code that is none."""
    good = tokens_reference("x")
    wrong = (
        ("y", good, 16, "generators were trained with y"),
        ("x", {**good, "leaves": [0] * 16}, 16, "is no image"),
        ("x", {**good, "content": [0] * 30}, 16, "is no image"),
        ("x", {**good, "content": [-1] * 31}, 16, "a token outside"),
        ("x", good, 2, "outside the codebook of 2"),
    )
    found = a_request(reference=good, keep=KEPT).reference
    assert found
    assert found.sequences("x", GRID, 16).content.tolist() == [good["content"]]
    with pytest.raises(InputError, match="16 positions, the run 64"):
        found.sequences("x", Geometry(8), 16)
    for identity, table, codes, words in wrong:
        found = a_request(reference=table, keep=KEPT).reference
        assert found
        with pytest.raises(InputError, match=words):
            found.sequences(identity, GRID, codes)


def test_requests_steer() -> None:
    """A drawing, kept stages and a region become what the sampler takes; else nothing is given."""
    assert a_request().control(None, GRID) is None
    drawn = a_request(drawing={"regions": HALF}).control(None, GRID)
    assert drawn
    assert (drawn.structure_stages, len(drawn.leaves)) == (2, 6)
    table = tokens_reference("x")
    kept = a_request(reference=table, keep=KEPT)
    assert kept.reference
    reference = kept.reference.sequences("x", GRID, 16)
    control = kept.control(reference, GRID)
    assert control
    assert (control.structure_stages, control.content_stages) == (3, frozenset({0, 2}))
    edited = a_request(reference=table, region=HALF).control(reference, GRID)
    assert edited
    assert edited.region is not None
    assert edited.region[5].tolist() == [not each for each in HALF]
    assert torch.equal(edited.leaves, reference.leaves.expand(6, -1))


def test_what_is_no_json_is_named() -> None:
    """Also numbers that JSON does not have, and a depth that nobody writes."""
    for text in (b"{", b"\xff", '{"a": NaN}', "[" * 100_000):
        with pytest.raises(InputError, match="this is not JSON"):
            json_of(text)
    with pytest.raises(InputError, match="a request is a JSON object"):
        read_request([1])
