"""Features of the real images that samples are compared with, taken once and cached."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save

from nvg.fetch.cache import cache_folder
from nvg.files import write_atomic
from nvg.metrics.generation import Features
from nvg.precision import PRECISION, Part
from nvg.progress import progress
from nvg.sampling.sampler import batch_ranges
from nvg.weights import CheckpointError, read_tensors
from pipeline.evaluation.generation_tasks import Facts, Networks, RealBatch
from pipeline.team import Team

BATCH = 64


@dataclass(frozen=True)
class RealFeatures:
    """Of the images that samples are measured against, and of those held out, if any are."""

    images: Features
    heldout: Features | None


def real_features(team: Team[Networks], facts: Facts, heldout: int) -> RealFeatures | None:
    """Features of a team's real images, `heldout` of them held out; None but in the main process.

    Those of the images are cached for the user under a hash of all they depend on; those of
    held-out ones, which are few, and those of a user's own network, whose code may change under one
    name, are taken every time.
    """
    path = _cache(facts, heldout)
    own = ":" in facts.extractor.name
    kept = _kept(path) if team.is_main and not own else None
    is_cached = team.agree(kept is not None)
    parts = [part for part in (False, True) if facts.real[part] and (part or not is_cached)]
    taken = _take(team, facts, parts)
    if not team.is_main:
        return None
    images = kept
    if images is None:
        images = Features.join(taken[False])
        if not own:
            tensors = {"values": images.values}
            tensors |= {} if images.logits is None else {"logits": images.logits}
            write_atomic(path, save(tensors))
    return RealFeatures(images, Features.join(taken[True]) if facts.real[True] else None)


def _kept(path: Path) -> Features | None:
    """What an earlier call has cached; None where there is nothing, or nothing sound."""
    try:
        found = read_tensors(path)
        return Features(found["values"], found.get("logits"))
    except (CheckpointError, KeyError):
        return None


def _cache(facts: Facts, heldout: int) -> Path:
    depends_on = [
        facts.source,
        str(heldout),
        facts.reading,
        str(facts.real[False]),
        str(facts.size),
        facts.extractor.name,
        facts.extractor.weights,
        PRECISION[Part.FEATURES],
    ]
    key = hashlib.sha256("\n".join(depends_on).encode()).hexdigest()
    return cache_folder() / f"features-{key[:32]}.safetensors"


def _take(team: Team[Networks], facts: Facts, parts: list[bool]) -> dict[bool, list[Features]]:
    """Features of these parts, batch by batch."""
    tasks = [
        RealBatch(part, images)
        for part in parts
        for images in batch_ranges(facts.real[part], BATCH)
    ]
    found: dict[bool, list[Features]] = {False: [], True: []}
    with progress(total=len(tasks), desc="real images", unit="batch") as bar:
        results = team.map(Networks.read, tasks)  # none but in the main process
        for task, features in zip(tasks, results, strict=False):
            found[task.heldout].append(features)
            bar.update()
    return found
