"""The report of a pass: counts, errors, speed, and statistics of the tokens."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nvg.errors import WorkError
from nvg.files import json_bytes, storage, write_bytes
from nvg.format.base import ERROR, OK
from nvg.format.index import chosen, has_status, numbers, reasons_of
from nvg.store import Split, Store
from nvg.view.summary import split_note
from nvg.view.token_stats import StageUsage, measure_usage, usage_lines
from pipeline.images.blocks import UNREAD, Block
from pipeline.images.pixels import Fix
from pipeline.sources import left_out_lines

MOST_UNREAD = 0.1  # of the rows; a dangling link or a forbidden file here and there is usual
AGAIN = " (--resume tries again)"
FIRST = 3  # errors that are told
STEPS = ("decode", "encode", "commit")
FIXES = {
    Fix.TURNED: "turned upright by EXIF",
    Fix.LAID: "transparent, laid on data.background",
    Fix.CONVERTED: "converted from their colour profile to sRGB",
    Fix.UNSOUND: "with a broken colour profile, which is ignored",
    Fix.STRETCHED: "of 9 to 15 bits or of 0..1, stretched",
}


SMALL = "smaller than the model's, enlarged"


@dataclass
class Work:
    """What the workers of one pass did; `seconds` are summed over all of them."""

    engine: str
    resources: str = ""
    images: int = 0
    elapsed: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))
    pictures: dict[str, int] = field(default_factory=dict)
    """How many pictures needed more than reading, by what it was (FIXES)."""

    def add(self, counts: Block) -> None:
        """Count a committed chunk."""
        self.images += int(counts["rows"].sum())
        for step in STEPS:
            self.seconds[step] += float(counts[f"{step}_seconds"].sum())
        for fix, words in FIXES.items():
            if count := int(counts[str(fix.name)].sum()):
                self.pictures[words] = self.pictures.get(words, 0) + count


@dataclass(frozen=True, kw_only=True)
class Report:
    """A finished store, and the pass that finished it."""

    store: str
    rows: int
    val_rows: int
    """Held out of these."""
    errors: int
    errors_by_kind: dict[str, int]
    first_errors: list[str]
    """Key and reason of the first few."""
    left_out: dict[str, int]
    """How many files of the source are no rows, by reason."""
    enlarged: int
    """How many pictures are smaller than the model's images on a side."""
    work: Work
    stages: list[StageUsage]
    """Codebook usage over the rows for training."""

    def lines(self) -> list[str]:
        """One screen."""
        work = self.work
        lines = [
            f"{self.store}: {self.rows} images{split_note(self.rows, self.val_rows)}, "
            f"{self.errors} errors"
        ]
        for kind, count in self.errors_by_kind.items():
            lines.append(f"  {count} x {kind}{AGAIN if kind == UNREAD else ''}")
        lines += left_out_lines(self.left_out)
        small = {SMALL: self.enlarged} if self.enlarged else {}
        for words, count in (work.pictures | small).items():
            lines.append(f"  {count} picture{'s' if count != 1 else ''} {words}")
        if work.images:
            rates = ", ".join(f"{step} {rate:.0f}" for step, rate in self.rates().items())
            lines += [
                f"this pass: {work.images} images in {work.elapsed:.0f} s, "
                f"{work.images / max(work.elapsed, 1e-9):.1f} images/s ({work.engine}, "
                f"{work.resources})",
                f"images/s of one worker: {rates}",
            ]
        return lines + usage_lines(self.stages)

    def require_read(self) -> None:
        """WorkError where storage failed to give more images than single files explain."""
        unread = self.errors_by_kind.get(UNREAD, 0)
        if unread > MOST_UNREAD * self.rows:
            raise WorkError(
                f"{self.store} is finished, but {unread} of {self.rows} images could not be read: "
                "see to the disk or the connection, then try them again with --resume"
            )

    def rates(self) -> dict[str, float]:
        """Images per second of one worker, for each step that took time."""
        return {step: self.work.images / s for step, s in self.work.seconds.items() if s > 0}

    def require_images(self, most_errors: int | None) -> None:
        """WorkError when no image could be read, or more failed than `most_errors`."""
        if self.errors == self.rows:
            said = f"none of its {self.rows} images could be read"
        elif most_errors is not None and self.errors > most_errors:
            said = (
                f"{self.errors} of its {self.rows} images could not be read, {most_errors} may be"
            )
        else:
            return
        raise WorkError(f"{self.store}: {said}; the first: {'; '.join(self.first_errors)}")

    def write(self) -> None:
        """Write `NAME.report.json` beside the store, which itself holds no times.

        An older one is kept when this pass had nothing to do.
        """
        fs, root = storage(self.store)
        if not self.work.images and fs.exists(f"{root}.report.json"):
            return
        report: dict[str, Any] = asdict(self) | {"images_per_second_of_a_worker": self.rates()}
        write_bytes(fs, f"{root}.report.json", json_bytes(report))


def make_report(store: Store, work: Work, left_out: dict[str, int]) -> Report:
    """The report of a finished store."""
    bad, kinds = _errors(store)
    return Report(
        store=store.path,
        rows=len(store),
        val_rows=store.count(Split.VAL),
        errors=store.manifest.errors,
        errors_by_kind=kinds,
        first_errors=[f"{entry['key']}: {entry['reason']}" for entry in bad],
        left_out=left_out,
        enlarged=_enlarged(store),
        work=work,
        stages=measure_usage(store),
    )


def _enlarged(store: Store) -> int:
    found = 0
    for part in store.index_tables():
        side = np.minimum(numbers(part, "width"), numbers(part, "height"))
        found += int(((side < store.manifest.image_size) & has_status(part, OK)).sum())
    return found


def _errors(store: Store) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """(index entries of the first error rows, how many there are of each kind, most first).

    The kind is the reason without its details.
    """
    first, kinds = list[dict[str, Any]](), Counter[str]()
    for part in store.index_tables() if store.manifest.errors else ():
        bad = chosen(part, has_status(part, ERROR))
        first += bad.slice(0, FIRST - len(first)).to_pylist()
        for reason, count in reasons_of(bad, ERROR).items():
            kinds[reason.partition(":")[0]] += count
    return first, dict(kinds.most_common())
