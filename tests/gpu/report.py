"""What a part finds, written to its JSON file at once: a part that is stopped leaves what it has.

Three kinds of entries: a check is true or false, and a false one fails the command; a figure is
measured, perhaps against a target, and never fails it; a note says what was left out and why.
"""

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

from nvg.files import write_atomic


class Outcome(StrEnum):
    """How a part ended."""

    OK = "ok"
    FAILED = "failed"
    """A check was false."""
    RAISED = "raised"
    STOPPED = "stopped"
    """By its time-box, or while it still ran."""
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether a later run of the command leaves the part alone."""
        return self in (Outcome.OK, Outcome.FAILED, Outcome.SKIPPED)

    @property
    def is_bad(self) -> bool:
        """Whether it makes the command fail."""
        return self in (Outcome.FAILED, Outcome.RAISED)


class Skipped(Exception):  # noqa: N818 - no error: the part does not apply here
    """Raised by a part that does not apply to this machine, with the reason."""


@dataclass(frozen=True)
class Setting:
    """Where a part runs, and whether at its tiny sizes."""

    device: torch.device
    tiny: bool
    out: Path

    @property
    def is_cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    @property
    def sizes(self) -> str:
        """What a finished part must agree in to be left alone."""
        return "tiny" if self.tiny else "full"


class Report:
    """Collects the entries of one part in `<out>/<part>.json`."""

    def __init__(self, part: str, setting: Setting, seconds: float = 3600.0) -> None:
        self.path, self.began = setting.out / f"{part}.json", time.monotonic()
        self.seconds = seconds
        self.table: dict[str, Any] = {"part": part, "sizes": setting.sizes}
        self.table |= {"outcome": Outcome.STOPPED, "seconds": 0.0}
        self.entries: list[dict[str, Any]] = []
        self._write()

    def check(self, name: str, is_true: bool, detail: str = "") -> None:
        """A claim that must hold; `detail` says by how much it does."""
        self._add({"kind": "check", "name": name, "ok": bool(is_true), "detail": detail})

    def within(self, name: str, value: float, limit: float) -> None:
        """A check that an error is at most a limit; NaN is not."""
        self.check(name, value <= limit, f"{value:.2g}, at most {limit:g}")

    def figure(
        self,
        name: str,
        value: float | str,
        unit: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """A measured number, with its target where it has one; or a word."""
        entry: dict[str, Any] = {"kind": "figure", "name": name, "value": value, "unit": unit}
        if at_least is not None:
            entry |= {"target": f">= {at_least:g}", "met": float(value) >= at_least}
        if at_most is not None:
            entry |= {"target": f"<= {at_most:g}", "met": float(value) <= at_most}
        self._add(entry)

    def note(self, text: str) -> None:
        """What was left out, and why."""
        self._add({"kind": "note", "name": text})

    def has_time(self, seconds: float, name: str) -> bool:
        """Whether so many seconds of the time-box are left; else a note says what was left out."""
        if self.seconds - (time.monotonic() - self.began) >= seconds:
            return True
        self.note(f"{name}: no time left")
        return False

    @property
    def outcome(self) -> Outcome:
        """Of a part that came to its end."""
        checks = [entry["ok"] for entry in self.entries if entry["kind"] == "check"]
        return Outcome.OK if all(checks) else Outcome.FAILED

    def end(self, outcome: Outcome, reason: str = "") -> None:
        """The last word on the part."""
        self.table |= {"outcome": outcome, "reason": reason}
        self._write()

    def _add(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
        self._write()

    def _write(self) -> None:
        self.table["seconds"] = round(time.monotonic() - self.began, 2)
        data = json.dumps({**self.table, "entries": self.entries}, indent=1, default=str)
        write_atomic(self.path, data.encode())


def read(part: str, out: Path) -> dict[str, Any] | None:
    """What an earlier run left of a part; None where there is nothing to be read."""
    try:
        table: dict[str, Any] = json.loads((out / f"{part}.json").read_text())
    except (OSError, ValueError):
        return None
    return table


def lines(table: dict[str, Any]) -> list[str]:
    """The rows of the final table for one part."""
    head = f"{table['part']:<12} {table['outcome']:<8} {table['seconds']:6.1f} s"
    return [f"{head}  {table.get('reason', '')}".rstrip(), *map(_line, table["entries"])]


def _line(entry: dict[str, Any]) -> str:
    if entry["kind"] == "check":
        return f"  {'ok  ' if entry['ok'] else 'FAIL'} {entry['name']}: {entry['detail']}"
    if entry["kind"] == "note":
        return f"       - {entry['name']}"
    value = entry["value"]
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    line = f"       {entry['name']}: {shown} {entry['unit']}".rstrip()
    if "met" in entry:
        line += f"  ({'met' if entry['met'] else 'MISSED'}: {entry['target']})"
    return line
