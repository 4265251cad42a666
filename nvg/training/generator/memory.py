"""Memory of training the generators: bytes that a step keeps, from depth, width and grid.

Upper bounds on a GPU, where the backbone is compiled and computes some of it again.
"""

import torch

from nvg.choices import CanvasCondition
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.geometry import Geometry
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.repa import HIDDEN
from nvg.training.memory import FLOAT, HALF, Memory, trained_memory

# Bytes of a token and a channel of the width in a block. Float32: the token 4, its norm 4, the
# modulated norm 4, the first linear's output 28, queries and keys normed 8 and turned 8, attention
# 4, the second linear's input 20 and output 4. With bfloat16 for linears and attention: 4, 4, 2,
# 14, queries and keys in float32 8, normed 8 and turned 4, then 2, 10 and 2.
BLOCK = {False: 84, True: 58}
MODULATION = {False: 24, True: 14}  # bytes of an image and a channel of the width in a block
OUTPUT, OUTPUT_MODULATION = 12, 20  # the same in the output layer, which is float32 everywhere
HEAD = 12  # bytes of a token and a head: two norms and attention
CANVASES = 10  # float32 tensors of a canvas's size: example, prediction, errors


def activation_bytes(
    part: GeneratorKind, shape: GeneratorShape, is_mixed: bool, recomputes: bool = False
) -> float:
    """Bytes that a generator keeps of one image and stage for the backward pass.

    One that `recomputes` keeps the tokens before each block, and all of one block at a time.
    """
    size, geometry = shape.transformer, Geometry(shape.grid)
    positions, width = geometry.positions, size.width
    is_structure = part is GeneratorKind.STRUCTURE
    has_canvas_tokens = shape.variant.canvas_condition is CanvasCondition.TOKENS
    tokens = 1 + positions * (2 if is_structure and has_canvas_tokens else 1)
    block = (BLOCK[is_mixed] * width + HEAD * size.heads) * tokens + MODULATION[is_mixed] * width
    rotation = 2 * FLOAT * tokens * width // size.heads
    output = (OUTPUT * positions + OUTPUT_MODULATION) * width
    values = FLOAT * CANVASES * positions * shape.latent_dim
    blocks = size.depth * block
    if recomputes:
        blocks = size.depth * FLOAT * tokens * width + block
    if is_structure:
        return blocks + rotation + output + values
    logits = FLOAT * geometry.tokens / geometry.stages * shape.codebook_size
    return blocks + rotation + output + values + logits


def align_bytes(width: int, positions: int, features: int, is_mixed: bool) -> float:
    """Bytes that the alignment keeps of one image: the projector's, and the features twice."""
    size = HALF if is_mixed else FLOAT
    return positions * (size * (width + 4 * HIDDEN) + 3 * FLOAT * features)


def generator_memory(
    shapes: dict[GeneratorKind, GeneratorShape],
    training: GeneratorTraining,
    is_mixed: bool,
    features: int = 0,
) -> Memory:
    """Memory of training generators on the same batches, one after the other in every step.

    `features` is the width of the features to align with, 0 without alignment.
    """
    found = []
    for part, shape in shapes.items():
        with torch.device("meta"):
            model = build_generator(part, shape)
        geometry = Geometry(shape.grid)
        stages = min(training.stages_per_image, geometry.stages)
        recomputes = training.checkpoint_activations
        activations = stages * activation_bytes(part, shape, is_mixed, recomputes)
        projector = 0
        if features and part is GeneratorKind.CONTENT:
            width = shape.transformer.width
            activations += stages * align_bytes(width, geometry.positions, features, is_mixed)
            projector = HIDDEN * (width + HIDDEN + features + 2) + features
        made = trained_memory(model, is_mixed, activations)
        found.append(made.with_trained(projector, is_mixed))
    return Memory(
        parameters=sum(each.parameters for each in found),
        gradients=sum(each.gradients for each in found),
        optimizer=sum(each.optimizer for each in found),
        ema=sum(each.ema for each in found),
        casts=max(each.casts for each in found),
        activations=max(each.activations for each in found),
    )
