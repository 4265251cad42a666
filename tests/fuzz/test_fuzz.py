"""A few cases of every kind, and what the harness itself promises; `just fuzz` is the long run."""

import json
import subprocess
import sys
from math import ceil
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.cases import OUTCOMES, Outcome, randomness
from tests.fuzz.changes import change_bytes, change_json
from tests.fuzz.judge import fault_of_text
from tests.fuzz.kinds import KINDS, SHARES
from tests.fuzz.picture_parts import png_bytes, png_parts
from tests.fuzz.pictures import Pictures, templates

PART = 0.1  # of a round, in `just check`
ROOT = Path(__file__).resolve().parents[2]


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_a_change_is_the_same_for_the_same_seed(data: bytes, seed: int) -> None:
    """So that one command runs a case again."""
    assert change_bytes(data, Random(seed)) == change_bytes(data, Random(seed))


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(), st.lists(st.integers()) | st.text()), st.integers(0, 2**32))
def test_json_is_changed_as_json(table: dict[str, object], seed: int) -> None:
    """Any table, the empty one too."""
    data = json.dumps(table).encode()
    assert change_json(data, Random(seed)) == change_json(data, Random(seed))


def test_a_png_is_taken_apart_and_put_together() -> None:
    """Byte for byte, so that a change is of what it says."""
    data = templates()["told.png"]
    assert png_bytes(png_parts(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last)",
        "failed: KeyError: 'rows'",
        "a.png: damaged: 'NoneType' object has no attribute 'size'",
        "key \x1b[2J",
        "x" * 10_001,
        "line\n" * 50,
    ],
)
def test_the_judge_knows_what_is_no_answer(text: str) -> None:
    """Words of Python, signs that steer a terminal, floods."""
    assert fault_of_text(text)
    assert not fault_of_text("a.vgs: chunk 3: content does not match its checksum\n")


class _Stubborn:
    """Cases that hang, die and take memory, beside sound ones."""

    name, seconds, memory = "stubborn", 3.0, 50_000_000

    def prepare(self, folder: Path) -> None:
        """Nothing."""

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """By the number of the case, which its randomness begins with."""
        import os
        import time

        number = [randomness(self.name, n).random() for n in range(4)].index(random.random())
        if number == 1:
            time.sleep(60)
        if number == 2:
            os._exit(3)
        if number == 3:
            assert len(bytearray(b"x" * 100_000_000)) > 0
        return Outcome("sound")


@pytest.mark.slow
def test_a_case_that_hangs_or_dies_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    """In a process of its own, since these fork."""
    code = (
        "import sys; from pathlib import Path; from tests.fuzz.test_fuzz import _Stubborn\n"
        "from tests.fuzz.workers import prepare, run_cases\n"
        "kind, place = _Stubborn(), Path(sys.argv[1]) / 'sound'\n"
        "prepare(kind, place)\n"
        "for seed, found in run_cases(kind, place, [0, 1, 2, 3, 0]): print(seed, found.fault)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    sound, hung, died, large, after = done.stdout.splitlines()
    assert (sound, after) == ("0 ", "0 ")
    assert "hangs or dies (status 1)" in hung
    assert "test_fuzz.py" in hung
    assert "hangs or dies (status 3)" in died
    assert "MB of memory" in large


def test_images_are_right_or_have_a_reason(tmp_path: Path) -> None:
    """A few cases of the dearest kind to be without."""
    kind = Pictures()
    kind.prepare(tmp_path)
    for seed in range(60):
        outcome = kind.run(tmp_path, tmp_path, randomness(kind.name, seed))
        assert outcome.fault == "", (seed, outcome)
        assert outcome.result in OUTCOMES


@pytest.mark.thorough
def test_a_store_is_refused_or_sound(tmp_path: Path) -> None:
    """Three cases through every verb."""
    sound = tmp_path / "sound"
    sound.mkdir()
    kind = KINDS["stores"]
    kind.prepare(sound)
    for seed in range(3):
        work = tmp_path / str(seed)
        work.mkdir()
        outcome = kind.run(sound, work, randomness(kind.name, seed))
        assert outcome.fault == "", (seed, outcome)


@pytest.mark.slow
def test_a_bounded_run_of_every_kind_finds_nothing() -> None:
    """As `just fuzz`, with fixed seeds: a part of one round."""
    command = [sys.executable, "-m", "tests.fuzz", "--cases", str(PART), "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(ceil(PART * share) for share in SHARES.values())} cases" in done.stdout
