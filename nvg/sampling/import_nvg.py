"""The generators of the authors' release (d16.ckpt) as a run of ours.

One file holds both networks, their EMA weights and usually the autoencoder they were trained with.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nvg.files import write_atomic
from nvg.foreign import State, quoted, read_tensors, take, weight
from nvg.generator.build import build_generator
from nvg.generator.config import (
    RELEASE,
    GeneratorKind,
    GeneratorShape,
    TransformerConfig,
)
from nvg.sampling.generators import CLASSES
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE
from nvg.tokenizer.import_nvg import EMA, FIRST_STAGE, KEY, autoencoder_state, below, convert
from nvg.tokenizer.import_var import child_count
from nvg.weights import CheckpointError, fingerprint, weights_bytes

PREFIX = "nvgformer."
HEAD_WIDTH = 64
DROP_PATH = 0.1  # of the last block of 24, as they were trained
SKIPPED = ("projector.", "rope_ids", "scale_factors")  # alignment's own; what we compute ourselves
BLOCK = {
    "modulation.linear": "modulation.lin",
    "linear_in": "linear1",
    "linear_out": "linear2",
    "query_norm.weight": "norm.query_norm.scale",
    "key_norm.weight": "norm.key_norm.scale",
}
LAYERS = {  # ours -> theirs; a layer's weight and bias, or one tensor
    GeneratorKind.CONTENT: {
        "backbone.class_embedding.weight": "content_class_embed.weight",
        "backbone.stage_embedding.weight": "content_stage_embed.weight",
        "backbone.input": "content_embed",
        "backbone.output.modulation.linear": "x0_head.adaLN_modulation.1",
        "backbone.output.linear": "x0_head.linear",
        "head": "cls_head.linear",
        "start": "content_start_embed",
    },
    GeneratorKind.STRUCTURE: {
        "backbone.class_embedding.weight": "structure_class_embed.weight",
        "backbone.stage_embedding.weight": "structure_stage_embed.weight",
        "backbone.input": "structure_embed",
        "backbone.output.modulation.linear": "structure_head.adaLN_modulation.1",
        "backbone.output.linear": "structure_head.linear",
        "canvas": "structure_content_cond_embed",
        "time.0": "structure_time_embed.in_layer",
        "time.2": "structure_time_embed.out_layer",
    },
}


@dataclass(frozen=True)
class Imported:
    """What a checkpoint of generators holds."""

    shapes: dict[GeneratorKind, GeneratorShape]
    weights: dict[str, State]
    """By the stem of the file they go to: content, content-ema, ..."""
    autoencoder: Autoencoder


def holds_generators(state: State) -> bool:
    """Whether a checkpoint's tensors are generators' and not an autoencoder's."""
    return any(name.startswith((PREFIX, EMA + PREFIX)) for name in state)


def import_generators(file: Path, tokenizer: Path | None = None) -> Imported:
    """Both generators of a checkpoint, and the autoencoder that is in it or at `tokenizer`.

    CheckpointError naming what is missing, of another shape or has no place.
    """
    state = read_tensors(file)
    if not holds_generators(state):
        raise CheckpointError(f"{file} holds no generators: its names do not start with {PREFIX}")
    if tokenizer is not None:
        autoencoder = load_autoencoder(tokenizer)
    elif FIRST_STAGE + KEY in state:
        autoencoder = convert(autoencoder_state(state, file), file)
    else:
        raise CheckpointError(f"{file} holds no autoencoder: name an imported one by --tokenizer")
    last, averaged = below(state, PREFIX), below(state, EMA + PREFIX)
    weights, shapes = {}, {}
    for suffix, found in (("", last or averaged), ("-ema", averaged)):
        _require_known(found, file)
        for part in GeneratorKind if found else ():
            shapes[part] = shape_of_release(part, found, autoencoder, file)
            weights[part.value + suffix] = _converted(part, shapes[part], found, file)
    content, structure = (shapes[part] for part in GeneratorKind)
    for name, one, other in (
        ("classes", content.classes, structure.classes),
        ("blocks", content.transformer.depth, structure.transformer.depth),
    ):
        if one != other:
            raise CheckpointError(f"{file}: content has {one} {name}, structure {other}")
    return Imported(shapes, weights, autoencoder)


def save_generators(imported: Imported, out: Path) -> None:
    """Write the networks, the detokenizer and class names into a run directory."""
    identity = fingerprint(imported.autoencoder)
    classes = imported.shapes[GeneratorKind.CONTENT].classes
    for stem, state in imported.weights.items():
        shape = imported.shapes[GeneratorKind(stem.removesuffix("-ema"))]
        write_atomic(out / f"{stem}.safetensors", weights_bytes(state, shape, tokenizer=identity))
    model = imported.autoencoder
    decoding = {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.")}
    data = weights_bytes(decoding, model.config, tokenizer=identity)
    write_atomic(out / DETOKENIZER_FILE, data)
    write_atomic(out / CLASSES, json.dumps([str(n) for n in range(classes)]).encode())


def shape_of_release(
    part: GeneratorKind, state: State, autoencoder: Autoencoder, file: Path
) -> GeneratorShape:
    """Our shape of one of the networks, read off the weights."""
    name, config = part.value, autoencoder.config
    classes, width = weight(state, f"{name}_class_embed.weight", 2, file).shape
    head = len(weight(state, f"{name}_blocks.0.norm.query_norm.scale", 1, file))
    depth = child_count(state, f"{name}_blocks")
    scales = weight(state, "scale_factors", 1, file).double()
    codes, channels = weight(state, "cls_head.linear.weight", 2, file).shape
    if not bool((scales > 0).all()) or classes < 2:
        wrong = "scale_factors are not positive" if classes > 1 else "there is no class"
        raise CheckpointError(f"{file} is no generator of the release: {wrong}")
    if head != HEAD_WIDTH:
        raise CheckpointError(f"{file}: heads of {head} channels are not known, only {HEAD_WIDTH}")
    if (codes, channels) != (config.codebook_size, config.latent_dim):
        raise CheckpointError(
            f"{file} was trained on {codes} codes of {channels} channels, the autoencoder has "
            f"{config.codebook_size} of {config.latent_dim}"
        )
    try:
        drop_path = round(DROP_PATH * depth / 24, 4)
        return GeneratorShape(
            transformer=TransformerConfig(
                depth=depth, width=width, heads=width // head, drop_path=drop_path
            ),
            grid=config.geometry.grid,
            classes=classes - 1,
            codebook_size=codes,
            latent_dim=channels,
            latent_scale=float(autoencoder.quantizer.codebook.detach().square().mean().sqrt()),
            canvas_rms=tuple((1 / scales).tolist()),
            variant=RELEASE,
        )
    except ValueError as error:
        raise CheckpointError(f"{file} is no generator of the release: {error}") from None


def _converted(part: GeneratorKind, shape: GeneratorShape, state: State, file: Path) -> State:
    """Weights of one network under our names.

    Their structure stages are counted from the first that is predicted, ours from 0; those that no
    network predicts are zero.
    """
    with torch.device("meta"):
        own = build_generator(part, shape).state_dict()
    state = dict(state)
    if part is GeneratorKind.CONTENT:
        state["content_start_embed"] = weight(state, "content_start_embed", 3, file).flatten(0, 1)
    else:
        stages = weight(state, "structure_stage_embed.weight", 2, file)
        whole = torch.zeros(own["backbone.stage_embedding.weight"].shape)
        if stages.shape == whole[1:-1].shape:
            whole[1:-1] = stages
            state["structure_stage_embed.weight"] = whole
    return take(state, dict(_names(part, shape.transformer.depth, list(own))), own, file)


def _names(part: GeneratorKind, depth: int, own: list[str]) -> Iterator[tuple[str, str]]:
    """(ours, theirs) for every weight."""
    layers = dict(LAYERS[part])
    for n in range(depth):
        for ours, theirs in BLOCK.items():
            layers[f"backbone.blocks.{n}.{ours}"] = f"{part.value}_blocks.{n}.{theirs}"
    for name in own:
        layer, _, last = name.rpartition(".")
        yield name, layers[name] if name in layers else f"{layers[layer]}.{last}"


def _require_known(state: State, file: Path) -> None:
    """CheckpointError for a tensor that neither network has a place for."""
    places = [f"{part.value}_blocks." for part in GeneratorKind]
    places += [theirs for layers in LAYERS.values() for theirs in layers.values()]
    for name in sorted(state):
        if not name.startswith((*places, *SKIPPED)):
            raise CheckpointError(
                f"{file}: {quoted(name)} has no place in generators of the release"
            )
