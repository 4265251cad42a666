"""A sweep over settings of sampling: every combination measured, one table, one chart.

A line of RESULTS is one combination, written when it is done; one that is there already is not
measured again.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvg.config import ConfigError, as_table
from nvg.errors import InputError
from nvg.fetch import named
from nvg.files import parse_json, read_small, write_atomic
from nvg.metrics.generation import fidelity_line
from nvg.metrics.small_samples import rounded
from nvg.metrics.tradeoff import elbow, pareto_front
from nvg.sampling.config import SamplerConfig
from nvg.view.charts import SweepPoint, new_figure, sweep_chart
from pipeline.evaluation.generation import Evaluation, open_evaluation
from pipeline.evaluation.generation_tasks import GenerationOptions
from pipeline.recipe import Recipe, load_recipe
from pipeline.run_weights import run_recipe

RESULTS, CHART = "sweep.jsonl", "sweep.png"
SECTION = "sample."

log = logging.getLogger("nvg")


@dataclass(frozen=True)
class Combination:
    """One of the sweep: the swept keys without their section, and all settings of sampling."""

    swept: dict[str, str]
    config: SamplerConfig

    @property
    def label(self) -> str:
        """The swept settings in a line."""
        return " ".join(f"{key}={value}" for key, value in self.swept.items())


def sweep_generation(run: Path, data: Recipe, options: GenerationOptions) -> list[str]:
    """Measure every combination of `options.sweep`; writes RESULTS and CHART.

    Returns the lines to print. InputError, before any work, for settings that cannot be used.
    """
    new_figure(1, 1)  # no chart, no sweep: known at the start instead of after the last image
    recipe = run_recipe(run, options.settings or ())
    combinations = read_combinations(run, options)
    log.info("%d combinations of %d images each", len(combinations), options.number)
    folder = options.out or run
    with open_evaluation(run, data, recipe, options) as evaluation:
        done = _measure(run, folder, evaluation, combinations, options.seed)
    if not evaluation.team.is_main:
        return []
    found = [done[name] for name in _identities(evaluation, combinations)]
    marks = marks_of(found)
    write_atomic(folder / CHART, _chart(combinations, found, marks))
    warned = dict.fromkeys(line for result in found for line in result["warnings"])
    lines = [*table_lines(combinations, found, marks), *(f"warning: {line}" for line in warned)]
    return [*lines, f"wrote {folder / RESULTS} and {folder / CHART}"]


def _measure(
    run: Path,
    folder: Path,
    evaluation: Evaluation,
    combinations: Sequence[Combination],
    seed: int,
) -> dict[str, Any]:
    """The results by identity, those that are not in RESULTS measured and written there."""
    is_main = evaluation.team.is_main
    with evaluation.team.agreed():
        kept = read_results(folder / RESULTS) if is_main else []
    names = _identities(evaluation, combinations) if is_main else []
    done = {record["identity"]: record["result"] for record in kept}
    before = sum(name in done for name in names)
    if before:
        log.info("%d of them are in %s", before, folder / RESULTS)
    missing = [number for number, name in enumerate(names) if name not in done]
    for number in evaluation.team.agree(missing):
        combination = combinations[number]
        measured = evaluation.measure(seed, combination.config)
        if measured is None:
            continue
        done[names[number]] = result = measured[0]
        record = {
            "identity": names[number],
            "run": named(run),
            "settings": combination.swept,
            **evaluation.report,
            "sample": as_table(combination.config),
            "result": result,
        }
        kept.append(record)
        write_atomic(folder / RESULTS, "".join(json.dumps(r) + "\n" for r in kept).encode())
        where = f"{number + 1}/{len(names)} {combination.label}"
        log.info("%s: %s", where, fidelity_line(result))
    return done


def read_combinations(run: Path, options: GenerationOptions) -> list[Combination]:
    """All combinations, the last key changing fastest, each read as strictly as a recipe."""
    swept: dict[str, list[str]] = {}
    for argument in options.sweep or ():
        key, _, text = argument.partition("=")
        values = split_values(text)
        if not key.startswith(SECTION):
            raise InputError(
                f"--sweep {argument!r} is not of the form {SECTION}KEY=VALUE,VALUE: only settings "
                "of sampling change the images of a trained run"
            )
        if not all(values):
            raise InputError(f"--sweep {argument!r} has an empty value")
        if key in swept:
            raise InputError(f"--sweep {key} is given twice: name all its values in one")
        swept[key] = values
    combinations: dict[SamplerConfig, Combination] = {}
    for chosen in itertools.product(*swept.values()):
        overrides = [f"{key}={value}" for key, value in zip(swept, chosen, strict=True)]
        settings = [*(options.settings or ()), *overrides]
        try:
            config = load_recipe(run / "config.toml", settings, warn=False).sample
        except ConfigError as error:
            raise InputError(f"--sweep {' '.join(overrides)}: {error}") from error
        if config in combinations:
            raise InputError(f"--sweep {' '.join(overrides)} is there twice")
        names = [key.removeprefix(SECTION) for key in swept]
        combinations[config] = Combination(dict(zip(names, chosen, strict=True)), config)
    return list(combinations.values())


def split_values(text: str) -> list[str]:
    """The values between commas; those inside brackets or quotes belong to a value."""
    values, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "[]":
            depth += 1 if sign == "[" else -1
        if sign == "," and not depth and not quote:
            values.append("")
        else:
            values[-1] += sign
    return [value.strip() for value in values]


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of an earlier sweep; InputError where one is no result."""

    if not path.exists():
        return []
    try:
        lines = read_small(path).splitlines()
    except ValueError as error:
        raise InputError(f"{path.parent}: {error}: name another --out") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = parse_json(line, finite=False)
            is_result = _is_result(record["identity"], record["result"])
        except (ValueError, KeyError, TypeError):
            is_result = False
        if not is_result:
            raise InputError(
                f"{path} line {number} is no result of a sweep: remove it, or name another --out"
            )
        found.append(record)
    return found


def _is_result(identity: Any, result: dict[str, Any]) -> bool:
    """Whether a line has all that the table and the chart show; KeyError, TypeError where not."""
    numbers = [result[name] for name in ("frechet", "kid", "precision", "recall", "images")]
    texts = [identity, result["frechet_name"], result["kid_name"], *result["warnings"]]
    if "inception_score" in result:
        numbers.append(result["inception_score"])
        texts.append(result["score_name"])
    is_number = all(type(each) in (int, float) and abs(each) < 1e15 for each in numbers)
    return is_number and all(isinstance(each, str) for each in texts)


def marks_of(found: Sequence[dict[str, Any]]) -> list[str]:
    """ "best" for the lowest distance, `elbow` for where precision begins to cost more of it."""
    points = [(result["frechet"], result["precision"]) for result in found]
    marks = [""] * len(points)
    marks[pareto_front(points)[0]] = "best"
    turn = elbow(points)
    if turn is not None:
        marks[turn] = "elbow"
    return marks


def table_lines(
    combinations: Sequence[Combination], found: Sequence[dict[str, Any]], marks: Sequence[str]
) -> list[str]:
    """The results as a table, a row for each combination."""
    first = found[0]
    measures = {
        "frechet": first["frechet_name"],
        "kid": first["kid_name"],
        "precision": "precision",
        "recall": "recall",
    }
    if "inception_score" in first:
        measures["inception_score"] = first["score_name"]
    rows = [[*combinations[0].swept, *measures.values(), ""]]
    for combination, result, mark in zip(combinations, found, marks, strict=True):
        figures = [rounded(result[name], result["images"]) for name in measures]
        rows.append([*combination.swept.values(), *figures, mark])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _chart(
    combinations: Sequence[Combination], found: Sequence[dict[str, Any]], marks: Sequence[str]
) -> bytes:
    points = [
        SweepPoint(
            label=combination.label,
            distance=result["frechet"],
            precision=result["precision"],
            mark=mark,
        )
        for combination, result, mark in zip(combinations, found, marks, strict=True)
    ]
    return sweep_chart(points, found[0]["frechet_name"])


def _identities(evaluation: Evaluation, combinations: Sequence[Combination]) -> list[str]:
    """A hash of all that each result depends on: weights, settings, seed, the real features."""
    assert evaluation.real
    real = evaluation.real.images.values.contiguous().numpy().tobytes()
    depends_on = {
        **evaluation.report,
        "generators": evaluation.facts.generators,
        "features": hashlib.sha256(real).hexdigest(),
    }
    texts = [
        json.dumps({**depends_on, "sample": as_table(each.config)}, sort_keys=True)
        for each in combinations
    ]
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]
