"""Likelihood of stored images under a run's generators: losses by stage, bits an image."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from nvg.errors import InputError
from nvg.fetch import named
from nvg.files import write_atomic
from nvg.generator.config import GeneratorKind
from nvg.loader.first_views import first_views, spread
from nvg.metrics.likelihood import Likelihood, likelihood
from nvg.progress import progress
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.generators import Generators
from nvg.store import Split, Store, open_store
from nvg.training.generator.objective import Objective
from pipeline.run_weights import open_generators

BATCH, TIMES = 256, 32
REPORT = "likelihood.json"


@dataclass(frozen=True, kw_only=True)
class LikelihoodOptions:
    """The options of the verb."""

    split: str = Split.VAL.value
    most: int | None = None
    """Upper limit of images, taken from all over the split."""
    weights: str = "ema"
    """ema, raw or best, see `open_generators`."""
    out: Path | None = None
    """Folder of the report, by default the run."""


def evaluate_likelihood(run: Path, store_path: str, options: LikelihoodOptions) -> list[str]:
    """Measure the first view of a split's rows; writes REPORT, returns the lines to print."""
    generators, store = open_generators(run, options.weights), open_store(store_path)
    found = likelihood_of(generators, store, Split(options.split), options.most)
    report = {
        "run": named(run),
        "weights": options.weights,
        "store": store_path,
        "split": options.split,
        **{f"{part.value}_loss": round(found.loss(part), 5) for part in GeneratorKind},
        **found.table(),
    }
    path = (options.out or run) / REPORT
    write_atomic(path, json.dumps(report, indent=1).encode())
    return [*_lines(found), f"wrote {path}"]


def likelihood_of(
    generators: Generators, store: Store, split: Split = Split.VAL, most: int | None = None
) -> Likelihood:
    """Of the first view of a split's rows, at most `most`; the noise is the same every time.

    InputError for rows of another tokenizer, or where there are none.
    """
    store.require_finished()
    store.require_tokenizer(generators.tokenizer)
    rows = store.ok_rows(split)
    if not len(rows):
        raise InputError(
            f"{store.path} has no {split.value} rows: set data.heldout and tokenize again, or name "
            "the other --split"
        )
    rows = spread(rows, most or len(rows))
    quantizer = generators.detokenizer.quantizer
    assert isinstance(quantizer, MultiGranularityQuantizer)  # no store has another
    models = {
        GeneratorKind.CONTENT: generators.content,
        GeneratorKind.STRUCTURE: generators.structure,
    }
    torch.manual_seed(0)
    batches = first_views(store, rows, BATCH, quantizer.codebook.device)
    return likelihood(
        models,
        {part: Objective(model).eval() for part, model in models.items()},
        quantizer,
        progress(batches, total=-(-len(rows) // BATCH), desc="likelihood", unit="batch"),
        min(TIMES, len(rows)),
    )


def _lines(found: Likelihood) -> list[str]:
    """A line a stage, and the sums."""
    lines = [
        f"{found.images} images; by stage: cross-entropy of a token (nats), canvas error, flow loss"
    ]
    for stage, entropy in enumerate(found.entropy):
        cells = [f"{entropy:.3f}", f"{found.canvas[stage]:.4f}" if found.canvas else "-"]
        is_drawn = 1 <= stage <= len(found.flow)
        cells.append(f"{found.flow[stage - 1]:.4f}" if is_drawn else "-")
        lines.append(f"  stage {stage}:  " + "  ".join(cells))
    bits = found.token_bits + found.structure_bits
    lines.append(
        f"bits an image: {found.token_bits:.1f} of tokens given their structure, at most about "
        f"{found.structure_bits:.1f} of structure, {bits:.1f} in all"
    )
    return lines
