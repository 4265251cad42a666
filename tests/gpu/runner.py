"""Runs the parts one after another, each in a process of its own and within its time-box.

A process of its own: what a part leaves on the device, or does to it, never reaches the next.
"""

import importlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.gpu.report import Outcome, Report, Setting, Skipped, lines, read

ROOT = Path(__file__).resolve().parents[2]
START = 15.0  # seconds that a process takes to start, beyond its time-box
INCOMPLETE = 3  # exit code
LEAST = START + 5.0  # seconds that are worth beginning a part for


@dataclass(frozen=True)
class Part:
    """One file of this package: its function `run(setting, report)`."""

    name: str
    seconds: float
    """Its time-box on a current GPU."""

    def run(self, setting: Setting, report: Report) -> None:
        """Run it here."""
        run: Callable[[Setting, Report], None]
        run = importlib.import_module(f"tests.gpu.{self.name}").run
        run(setting, report)


# In the order of their weight: where time runs out, the last ones are left out.
PARTS = {
    part.name: part
    for part in (
        Part("device", 15),
        Part("leaves", 40),
        Part("quantizer", 20),
        Part("networks", 75),
        Part("training", 170),
        Part("encoder", 50),
        Part("sampling", 75),
        Part("waits", 40),
        Part("autoencoder", 35),
        Part("processes", 35),
        Part("tests", 30),
        Part("large", 120),
    )
}


def run_here(part: Part, setting: Setting, seconds: float | None = None) -> Outcome:
    """Run a part in this process; whatever it raises becomes its outcome."""
    report = Report(part.name, setting, seconds or part.seconds)
    try:
        part.run(setting, report)
    except Skipped as reason:
        report.end(Outcome.SKIPPED, str(reason))
        return Outcome.SKIPPED
    except Exception as error:
        (setting.out / f"{part.name}.txt").write_text(traceback.format_exc())
        first = (str(error).splitlines() or [""])[0]
        report.end(Outcome.RAISED, f"{type(error).__name__}: {first} ({part.name}.txt)")
        return Outcome.RAISED
    outcome = report.outcome
    report.end(outcome)
    return outcome


def run_apart(part: Part, setting: Setting, seconds: float) -> Outcome:
    """Run a part in a process of its own, which is killed when its time is over."""
    command = [sys.executable, "-m", "tests.gpu", "--out", str(setting.out), "--here", part.name]
    command += ["--seconds", str(seconds), *(["--tiny"] if setting.tiny else [])]
    try:
        environment = os.environ | {"TQDM_DISABLE": "1"}
        subprocess.run(command, cwd=ROOT, timeout=seconds + START, check=False, env=environment)
    except subprocess.TimeoutExpired:
        print(f"{part.name}: stopped after {seconds + START:.0f} s", flush=True)
    table = read(part.name, setting.out)
    return Outcome(table["outcome"]) if table else Outcome.STOPPED


def run_all(
    names: list[str],
    setting: Setting,
    minutes: float,
    again: bool = False,
    run: Callable[[Part, Setting, float], Outcome] = run_apart,
) -> None:
    """Run the named parts, those that are done left out unless `again`, within so many minutes."""
    end = time.monotonic() + 60 * minutes
    for name in names:
        part, table = PARTS[name], read(name, setting.out)
        known = table is not None and table["sizes"] == setting.sizes and not again
        if known and table and Outcome(table["outcome"]).is_final:
            print(f"{name}: done before, {table['outcome']}", flush=True)
            continue
        left = end - time.monotonic()
        if left < LEAST:
            Report(name, setting).end(Outcome.STOPPED, "no time left: run the command again")
            continue
        print(f"{name} ...", flush=True)
        print(f"{name}: {run(part, setting, min(part.seconds, left - START)).value}", flush=True)


def summary(names: list[str], out: Path) -> tuple[list[str], int]:
    """The table of all that is known, and the exit code.

    1 where a check failed or a part raised; INCOMPLETE where all is well so far, but a part did not
    come to its end.
    """
    found = {name: read(name, out) for name in names}
    tables = {name: table for name, table in found.items() if table}
    rows = [line for table in tables.values() for line in lines(table)]
    outcomes = {name: Outcome(table["outcome"]) for name, table in tables.items()}
    bad = [name for name, outcome in outcomes.items() if outcome.is_bad]
    left = [name for name in names if outcomes.get(name, Outcome.STOPPED) is Outcome.STOPPED]
    entries = [entry for table in tables.values() for entry in table["entries"]]
    checks = [entry["ok"] for entry in entries if entry["kind"] == "check"]
    targets = [entry["met"] for entry in entries if "met" in entry]
    rows.append(
        f"{sum(checks)} of {len(checks)} checks ok, {sum(targets)} of {len(targets)} targets met; "
        f"bad parts: {', '.join(bad) or 'none'}; not at their end: {', '.join(left) or 'none'}"
    )
    return rows, 1 if bad else INCOMPLETE if left else 0
