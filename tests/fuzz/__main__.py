"""`python -m tests.fuzz [--minutes N | --cases F] [--seed S] [--only KINDS] [--replay KIND:SEED]`.

Exit code 1 where a case has a fault; each is printed with the command that runs it again.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from math import ceil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes fork: before torch is imported

from tests.fuzz.cases import OUTCOMES, Kind, Outcome
from tests.fuzz.kinds import KINDS, SHARES
from tests.fuzz.workers import import_early, prepare, run_case, run_cases, to_stderr


def main() -> int:
    """Run cases, print the table and every fault."""
    given = arguments()
    kinds = {name: KINDS[name] for name in (given.only or ",".join(KINDS)).split(",")}
    with tempfile.TemporaryDirectory(prefix="nvg-fuzz-") as place:
        if given.replay:
            return replay(given.replay, Path(place))
        import_early()
        folders = {name: Path(place, name, "sound") for name in kinds}
        for name, kind in kinds.items():
            prepare(kind, folders[name])
        counts, faults, peaks = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
        began = time.monotonic()
        for name, seed, outcome in cases(kinds, folders, given):
            counts[name, outcome.result] += 1
            peaks[name] = max(peaks[name], outcome.peak)
            if outcome.fault:
                faults[name] += 1
                to_stderr(f"--replay {name}:{seed}\n  {outcome.mutation}\n  {outcome.fault}")
        print("\n".join(table(list(kinds), counts, faults, peaks)))
        print(f"{counts.total()} cases in {time.monotonic() - began:.0f} s from seed {given.seed}")
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="run for so long")
    parser.add_argument("--cases", type=float, default=1.0, help="else: this many rounds")
    parser.add_argument("--seed", type=int, default=0, help="the first; others follow it")
    parser.add_argument("--only", help=f"of {','.join(KINDS)}")
    parser.add_argument("--replay", help="KIND:SEED: one case, in this process, with its traceback")
    return parser.parse_args()


def cases(
    kinds: dict[str, Kind], folders: dict[str, Path], given: argparse.Namespace
) -> Iterator[tuple[str, int, Outcome]]:
    """Cases of all kinds in turn, as many of each as its share, until time or number is used up."""
    began = time.monotonic()
    for number in count():
        part = 1.0 if given.minutes else min(given.cases - number, 1.0)
        if part <= 0:
            return
        for name, kind in kinds.items():
            first = given.seed + number * SHARES[name]
            last = first + ceil(part * SHARES[name])
            for seed, outcome in run_cases(kind, folders[name], range(first, last)):
                yield name, seed, outcome
                if given.minutes and time.monotonic() - began > 60 * given.minutes:
                    return


def replay(case: str, place: Path) -> int:
    """One case in this process, so that a debugger can look."""
    name, _, seed = case.partition(":")
    folder = place / name / "sound"
    folder.mkdir(parents=True)
    KINDS[name].prepare(folder)
    outcome = run_case(KINDS[name], folder, int(seed))
    print(f"{outcome.mutation}\n{outcome.result}, {outcome.peak / 1e6:.0f} MB\n{outcome.fault}")
    return 1 if outcome.fault else 0


def table(
    kinds: list[str], counts: Counter[tuple[str, str]], faults: Counter[str], peaks: Counter[str]
) -> list[str]:
    """A row for each kind, in Markdown: counts by outcome."""
    head = ["kind", "cases", *OUTCOMES, "faults", "memory"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for kind in kinds:
        found = [counts[kind, outcome] for outcome in OUTCOMES]
        numbers = [f"{n:,}" for n in (sum(found), *found, faults[kind])]
        lines.append(f"| {kind} | {' | '.join(numbers)} | {peaks[kind] / 1e6:.0f} MB |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
