"""Runs cases in a forked process: bounded in time and memory, whatever a case does to it."""

import faulthandler
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from tests.fuzz.cases import FAILED, Kind, Outcome, randomness

GUARD = 6 << 30  # bytes of address space beyond what a case may take, so that the machine lives
LATE = 20  # seconds after which a case is killed that its own alarm has not ended
BATCH = 400  # cases of one process
IMPORTED = [
    *("cli.train", "pipeline.train", "pipeline.tokenize.engine", "pipeline.sampling.sample"),
    *("nvg.structure.builders", "pandas"),
    # What the first optimizer and the first line of a log import.
    *("torch._dynamo", "torch.distributed.fsdp", "torch.utils.tensorboard"),
]


def import_early() -> None:
    """What most cases import, once instead of in each process; it computes nothing: no threads."""
    for name in IMPORTED:
        importlib.import_module(name)


def run_case(kind: Kind, templates: Path, seed: int) -> Outcome:
    """One case, in this process."""
    work = Path(tempfile.mkdtemp(prefix="case-", dir=templates.parent))
    before = start_peak()
    try:
        outcome = kind.run(templates, work, randomness(kind.name, seed))
    except Exception:  # of the product, or of the harness: either is news
        lines = traceback.format_exc().strip().splitlines()
        outcome = Outcome("?", FAILED, f"raised: {lines[-1]} at {lines[-3].strip()}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    outcome = replace(outcome, peak=max(peak() - before, 0))
    if not outcome.fault and outcome.peak > kind.memory:
        outcome = replace(outcome, fault=f"took {outcome.peak / 1e6:.0f} MB of memory")
    return outcome


def run_cases(kind: Kind, templates: Path, seeds: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
    """The outcome of each seed. A case that hangs or dies ends its process, and another goes on."""
    left = list(seeds)
    while left:
        for seed, outcome in _batch(kind, templates, left[:BATCH]):
            left.remove(seed)
            yield seed, outcome


def prepare(kind: Kind, folder: Path) -> None:
    """Write the templates of a kind, in a process that ends: threads do not survive a fork."""
    folder.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            kind.prepare(folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise RuntimeError(f"the templates of {kind.name} cannot be made; see above")


def _batch(kind: Kind, templates: Path, seeds: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
    reading, writing = os.pipe()
    done = 0
    with tempfile.TemporaryFile() as stuck, os.fdopen(reading, "rb") as answers:
        child = os.fork()
        if child == 0:
            _serve(kind, templates, seeds, writing, stuck)
        os.close(writing)
        while done < len(seeds):
            if not select.select([answers], [], [], kind.seconds + LATE)[0]:
                os.kill(child, signal.SIGKILL)
            line = answers.readline()
            if not line:
                break
            yield seeds[done], Outcome(**json.loads(line))
            done += 1
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if done < len(seeds):
            stuck.seek(0)
            where = " < ".join(_places(stuck.read().decode(errors="replace")))
            said = f"hangs or dies (status {status}): {where or 'no word of where'}"
            yield seeds[done], Outcome("run it again to see", FAILED, said)


def _serve(kind: Kind, templates: Path, seeds: Sequence[int], writing: int, stuck: Any) -> None:
    """The child's whole life."""
    _limit_memory(kind.memory + GUARD)
    quiet = os.open(os.devnull, os.O_WRONLY)  # libtiff and others write past Python
    os.dup2(quiet, 2)
    for seed in seeds:
        faulthandler.dump_traceback_later(kind.seconds, exit=True, file=stuck)
        outcome = run_case(kind, templates, seed)
        faulthandler.cancel_dump_traceback_later()
        line = json.dumps(outcome.to_json()).encode() + b"\n"
        while line:
            line = line[os.write(writing, line) :]
    os._exit(0)


def _places(dump: str) -> list[str]:
    """The innermost files and lines of a dump of the main thread."""
    main = dump.rpartition("(most recent call first)")[2]
    found = [line.strip() for line in main.splitlines() if line.strip().startswith("File")]
    return [line.replace('File "', "").replace('", line ', ":") for line in found[:6]]


def _limit_memory(bytes_more: int) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + bytes_more,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def start_peak() -> int:
    """Forget the peak of resident memory; what is resident now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not allowed everywhere: peaks are then those of the whole process
        return peak()
    return _status("VmRSS")


def peak() -> int:
    """The most resident memory since `start_peak`, in bytes."""
    return _status("VmHWM")


def _status(name: str) -> int:
    with open("/proc/self/status") as status:
        return next(_kilobytes(line) for line in status if line.startswith(name)) * 1024


def _kilobytes(line: str) -> int:
    return int(line.split()[1])


def to_stderr(message: str, stream: IO[str] | None = None) -> None:
    """A line for who waits."""
    print(message, file=stream or sys.stderr, flush=True)
