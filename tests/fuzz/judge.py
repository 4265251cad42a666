"""What a verb may answer: an exit code of 0, 1 or 2, and few lines in plain words."""

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from cli.app import app
from tests.fuzz.cases import FAILED, READ, REFUSED

PYTHON = re.compile(
    r"Traceback|\b[A-Z][A-Za-z]*(?:Error|Exception|Invalid|Warning)\b|\bfailed: |NoneType"
    r"|object (?:is not|has no attribute|of type)|not subscriptable|unsupported operand"
    r"|index out of range|invalid literal for|unhashable|unexpected keyword|positional argument"
    r"|not supported between|division by zero|codec can't|could not convert|must be str|bytes-like"
    r"|has no attribute|not enough values|too many values|0x[0-9a-f]{9,}"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MOST_LINES, LONGEST = 40, 10_000  # a key or a class may be long
RESULTS = {0: READ, 1: FAILED, 2: REFUSED}


@dataclass(frozen=True)
class Answer:
    """What a verb said."""

    line: str
    """The command."""
    code: int
    text: str
    """Both streams."""
    fault: str
    """What it must not have done; "" for nothing."""

    @property
    def result(self) -> str:
        """The outcome that its exit code stands for."""
        return RESULTS.get(self.code, FAILED)


def run(*words: str | Path) -> Answer:
    """Call `nvgctl` in this process."""
    line = " ".join(map(str, words))
    done = CliRunner().invoke(app, [*map(str, words)])
    fault = fault_of_text(done.output)
    if done.exit_code not in RESULTS:
        fault = f"exit code {done.exit_code}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        fault = f"{type(done.exception).__name__} escaped: {done.exception}"
    elif done.exit_code == 2 and done.stderr.count("nvgctl: ") != 1:
        fault = fault or f"not one line: {done.stderr[:300]!r}"
    return Answer(line, done.exit_code, done.output, fault and f"{line}: {fault}")


def fault_of_text(text: str) -> str:
    """Why a message is none for people; "" where it is one."""
    if found := PYTHON.search(text):
        line = next(line for line in text.splitlines() if found[0] in line)
        return f"speaks Python: {line[:300]}"
    if found := CONTROL.search(text):
        return f"prints {found[0]!a}: {text[:300]!a}"
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        return f"prints {len(lines)} lines"
    if longest := next((line for line in lines if len(line) > LONGEST), ""):
        return f"prints a line of {len(longest)} characters: {longest[:100]!a}"
    return ""


def first_fault(answers: Sequence[Answer]) -> str:
    """The fault of the first answer that has one."""
    return next((answer.fault for answer in answers if answer.fault), "")


def state_of(folder: Path) -> dict[str, str]:
    """Every path below a folder with its kind and content; links are not followed."""
    found = {}
    for parent, _, files in os.walk(folder):
        for file in files:
            path = Path(parent, file)
            mode = path.lstat().st_mode
            key = path.relative_to(folder).as_posix()
            if stat.S_ISLNK(mode):
                found[key] = f"-> {os.readlink(path)}"
            elif stat.S_ISREG(mode) and path.lstat().st_size < 1 << 26:
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[key] = f"{mode:o} {path.lstat().st_size}"
    return found


def changed_by(before: dict[str, str], folder: Path) -> str:
    """Files below a folder that are not as they were, in words; "" where all are."""
    after = state_of(folder)
    names = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return f"a reader changed {', '.join(names[:5])}" if names else ""
