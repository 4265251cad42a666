"""Shapes and training of the tiny generators."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig, Variant
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.training.generator.shape import shape_of
from nvg.training.generator.train import train_generator
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe


def fit(
    store: Store,
    out: Path,
    parts: list[GeneratorKind],
    resume: bool = False,
    name: str = "",
    **train: Any,
) -> None:
    """Train the tiny generators into `out`, logging every step."""
    settings = replace(tiny_recipe().generator.train, log_every=1, **train)
    config = replace(tiny_recipe().generator, train=settings)
    run = Run(out, tiny_recipe(generator=config), resume, ("generator",), name)
    train_generator(config, store, parts, run)


def shape_for(transformer: TransformerConfig, store: Store, **variant: Any) -> GeneratorShape:
    """The shape of a generator of a store; without ablation options unless they are named."""
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    return shape_of(transformer, store, quantizer, Variant(**variant))
