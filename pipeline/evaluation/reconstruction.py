"""Evaluation of a tokenizer: images -> tokens -> images, measured and shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from nvg.fetch import named
from nvg.files import write_atomic
from nvg.metrics.frechet import Moments, frechet_distance
from nvg.metrics.reconstruction import BATCH, Reconstruction, measures_of
from nvg.metrics.small_samples import distance_warnings, rounded
from nvg.progress import progress
from nvg.sampling.sampler import batch_ranges
from pipeline.evaluation.reconstruction_tasks import (
    Compared,
    Facts,
    Rebuilder,
    RebuildJob,
    ReconstructionOptions,
    open_rebuilder,
)
from pipeline.recipe import Recipe
from pipeline.team import open_team, reachable

REPORT, PICTURE = "reconstruction.json", "reconstruction.png"


def evaluate_reconstruction(run: Path, recipe: Recipe, options: ReconstructionOptions) -> list[str]:
    """Measure an autoencoder on a recipe's held-out images, or on all where none are held out.

    Writes REPORT and PICTURE; returns the lines to print, in the main process.
    """
    weights = options.weights.absolute() if options.weights else None
    reached = recipe if options.workers is None else reachable(recipe)
    job = RebuildJob(run.absolute(), reached, replace(options, weights=weights))
    with open_team(partial(open_rebuilder, job), options.workers, options.address) as team:
        team.prepare()
        (facts,) = team.agree(list(team.map(Rebuilder.facts, [0])))
        batches = []
        with progress(total=facts.images, desc="rebuild", unit="image") as bar:
            for each in team.map(Rebuilder.compare, batch_ranges(facts.images, BATCH)):
                batches.append(each)
                bar.update(each.sums.images)
        pictures = list(team.map(Rebuilder.picture, [0]))
        if not team.is_main:
            return []
    measures = measures_of(each.sums for each in batches)
    found = _compared(facts, batches)
    report = {
        "autoencoder": named(run),
        "tokenizer": facts.tokenizer,
        "pyramid": facts.pyramid,
        "tokens": facts.tokens,
        "data": {"source": recipe.data.source.value, "heldout": recipe.data.heldout},
        "skipped": sum(each.skipped for each in batches),
        **asdict(measures),
        **found,
    }
    folder = options.out or (run if run.is_dir() else run.parent)
    write_atomic(folder / REPORT, json.dumps(report, indent=1).encode())
    write_atomic(folder / PICTURE, pictures[0])
    return [*_lines(measures, found), f"wrote {folder / REPORT} and {folder / PICTURE}"]


def _compared(facts: Facts, batches: Sequence[Compared]) -> dict[str, Any]:
    """SSIM, perceptual and Frechet distances over all batches, with the names of their networks."""
    count = sum(each.sums.images for each in batches)
    found: dict[str, Any] = {"ssim": sum(each.ssim for each in batches) / count}
    for key, name in facts.perceptual.items():
        mean = sum(each.perceptual[key] for each in batches) / count
        found[key] = {"value": mean, "network": name}
    if facts.extractor:
        real, rebuilt = Moments(), Moments()
        for each in batches:
            if each.real is not None and each.rebuilt is not None:
                real.add(each.real)
                rebuilt.add(each.rebuilt)
        found["frechet"] = {
            "value": frechet_distance(rebuilt, real),
            "name": facts.extractor.distance_name,
            "extractor": facts.extractor.name,
            "weights_sha256": facts.extractor.weights,
            "warnings": distance_warnings(count, f"r{facts.extractor.distance_name}"),
        }
    return found


def _lines(measures: Reconstruction, found: dict[str, Any]) -> list[str]:
    lines = [
        f"{measures.images} images: PSNR {measures.psnr:.2f} dB, MSE {measures.mse:.5f}, "
        f"SSIM {found['ssim']:.4f}",
    ]
    for key in ("lpips", "feature_distance"):
        if key in found:
            lines.append(f"{found[key]['network']}: {found[key]['value']:.4f}")
    if "frechet" in found:
        distance = found["frechet"]
        lines.append(f"r{distance['name']}: {rounded(distance['value'], measures.images)}")
        lines += [f"warning: {line}" for line in distance["warnings"]]
    lines += [
        f"codebook use {measures.usage:.1%}, of the first stage {measures.stage_share[0]:.2%}",
        "stage  PSNR (dB)  residual  codes used  of maximum  perplexity",
    ]
    for stage, psnr in enumerate(measures.stage_psnr):
        lines.append(
            f"{stage:5d}  {psnr:9.2f}  {measures.stage_error[stage]:8.4f}"
            f"  {measures.stage_share[stage]:10.1%}  {measures.stage_usage[stage]:10.1%}"
            f"  {measures.stage_perplexity[stage]:10.1f}"
        )
    return lines
