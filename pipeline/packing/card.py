"""The model card of a packed run: what it is, how it is used, what was measured."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nvg.files import parse_json, read_small
from nvg.metrics.generation import fidelity_line
from nvg.tokenizer.config import AutoencoderConfig
from pipeline.packing.parts import Parts

GRID = "samples.png"
MOST_LOG = 1 << 30  # bytes of a log
REPORTS = ("reconstruction.json", "generation.json", "likelihood.json")


def model_card(
    name: str,
    parts: Parts,
    config: AutoencoderConfig,
    classes: list[str],
    licence: str,
    has_tokenizer: bool,
) -> str:
    """The card as Markdown; figures are those of the run's own reports and log."""
    kind = "generators" if parts.has_generators else "tokenizer"
    head = f"---\nlicense: {json.dumps(licence)}\n---\n" if licence else ""
    lines = [
        f"{head}# {name}",
        "",
        f"{kind.capitalize()} of Next Visual Granularity generation (arXiv 2508.12811), "
        f"{config.image_size} pixels.",
        "",
        *_facts(parts, config, classes, has_tokenizer),
        "",
        "## Use",
        "",
        "```bash",
        *_commands(parts.has_generators, has_tokenizer),
        "```",
        "",
        "`PLACE` is this folder or its URL (`hf://USER/REPO`, `s3://`, `https://`).",
        "",
        "## Figures",
        "",
        *(_figures(parts) or ["Nothing was measured before it was packed."]),
        "",
        "## Licence",
        "",
        licence or "Not stated: ask whoever gave you these files.",
        "",
    ]
    if parts.has_generators:
        lines += [f"![Samples, a class a row]({GRID})", ""]
    return "\n".join(lines)


def _facts(
    parts: Parts, config: AutoencoderConfig, classes: list[str], has_tokenizer: bool
) -> Iterator[str]:
    grid = config.geometry.grid
    yield (
        f"- grid {grid}x{grid}, {config.geometry.tokens} tokens an image, codebook "
        f"{config.codebook_size} x {config.latent_dim}"
    )
    yield f"- weights: {', '.join(sorted(parts.weights))}, EMA weights where training kept some"
    if parts.step is not None:
        yield f"- of the checkpoint of step {parts.step}: its training was not at its end"
    if parts.has_generators:
        yield f"- {len(classes)} classes, in classes.json" if classes else "- without classes"
        yield "- with its tokenizer, in autoencoder/" if has_tokenizer else "- without a tokenizer"
    if config.names_code:
        yield f"- structure by the function {config.builder}, which is not in here: see --trust"


def _commands(has_generators: bool, has_tokenizer: bool) -> Iterator[str]:
    if has_generators:
        yield "nvgctl sample PLACE --png samples.png"
    if has_tokenizer or not has_generators:
        yield "nvgctl tokenize PHOTOS --tokenizer PLACE --out photos.vgs"
    if not has_generators:
        yield "nvgctl train autoencoder PHOTOS --from PLACE --out RUN"


def _figures(parts: Parts) -> list[str]:
    """Of reports that are about these weights, and the last held-out measures of training."""
    newest = max(path.stat().st_mtime for path in parts.weights.values() if path.exists())
    lines = []
    for name in REPORTS if parts.step is None else ():
        path = parts.run / name
        report = _parsed(_text_of(path)) if path.exists() else None
        if report and report.get("weights", "ema") != "ema":
            lines.append(f"- {name} is of other weights of the run: not repeated here")
        elif report and path.stat().st_mtime >= newest:
            lines += [f"- {line}" for line in _report_lines(name, report)]
        elif report:
            lines.append(f"- {name} is older than the weights: not repeated here")
    return [*lines, *_logged(parts)]


def _report_lines(name: str, report: dict[str, Any]) -> Iterator[str]:
    try:
        if name == "generation.json":
            extractor = f"{report['extractor']} {report['extractor_sha256'][:12]}".strip()
            yield (
                f"{report['generated']} generated against {report['real']} real images: "
                f"{fidelity_line(report['result'])} (features: {extractor})"
            )
        elif name == "reconstruction.json":
            line = (
                f"{report['images']} images rebuilt: PSNR {report['psnr']:.2f} dB, SSIM "
                f"{report['ssim']:.4f}, codebook use {report['usage']:.1%}"
            )
            if "frechet" in report:
                line += f", r{report['frechet']['name']} {report['frechet']['value']:.3f}"
            yield line
        else:
            yield (
                f"{report['images']} images ({report['split']}): {report['token_bits']:.1f} bits "
                f"of tokens, at most about {report['structure_bits']:.1f} of structure"
            )
    except (LookupError, TypeError, ValueError, ArithmeticError):  # of another version
        yield f"{name} cannot be read by this version"


def _logged(parts: Parts) -> Iterator[str]:
    """The last held-out losses that training logged, up to the packed step."""
    for path in sorted(parts.run.glob("metrics*.jsonl")):
        measured = [line for line in map(_parsed, _text_of(path).splitlines()) if _is_loss(line)]
        if parts.step is not None:
            measured = [line for line in measured if line["step"] <= parts.step]
        for split, table in measured[-1]["heldout"].items() if measured else ():
            if isinstance(table, dict):
                losses = {k: v for k, v in table.items() if isinstance(v, float)}
                said = ", ".join(f"{key} {value:.4f}" for key, value in losses.items())
                yield f"- loss on {split} rows at step {measured[-1]['step']}: {said}"


def _is_loss(line: dict[str, Any]) -> bool:
    """Whether a line of a log, which may come from elsewhere, has held-out losses of a step."""
    return isinstance(line.get("heldout"), dict) and type(line.get("step")) is int


def _text_of(path: Path) -> str:
    """The text of a file of a run; "" for what is no file or might never end."""
    try:
        return read_small(path, MOST_LOG).decode(errors="replace")
    except ValueError:
        return ""


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = parse_json(text, finite=False)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
