"""Operations of the generators, from their sizes. A product of [m, k] and [k, n] takes 2 m k n.

A block of width w sees T tokens of an image: one for the class and N positions (A.4). It computes

- `linear_in`, w -> 7w (query, key, value, and 4w of the MLP): 2 T w 7w = 14 T w^2
- `linear_out`, 5w -> w: 10 T w^2
- attention, scores and their sum of values: 2 T^2 w + 2 T^2 w = 4 T^2 w
- modulation, w -> 3w, once an image: 6 w^2

Around the blocks: the input layer, 2 N i w for i input channels (content: C; structure: K + C); the
output layer, 2 N w o for o outputs (content: C; structure: K), and its modulation w -> 2w, 4 w^2;
the structure's time, 2 F w + 2 w^2 for F sinusoids; the content's head, 2 C V for each token of the
stages that are trained. Stages are drawn uniformly, so of one stage an image has (2N-1)/(K+1)
tokens on average.

A training step takes three times the forward pass: the backward pass computes for each product that
of the gradient with either factor. Recomputing, the optimizer, norms and the quantizer's
convolutions count nothing, as is the custom for the use of a machine (MFU).

For d16 at 256x256 that is 108 GFLOP forward for content and 28 for structure, so 409 GFLOP an image
in training and 105 TFLOP a step of 256: 250 ms of it are 42 % of an H100's 989 TFLOP/s.
"""

from nvg.generator.config import GeneratorKind, Variant
from nvg.geometry import Geometry
from tests.gpu.materials import Sizes

TRAINING = 3  # times the forward pass


def forward(sizes: Sizes, part: GeneratorKind) -> float:
    """FLOP of one forward pass with its loss, of one image at one stage."""
    geometry, config = Geometry(sizes.grid), sizes.transformer(part)
    positions, width = geometry.positions, config.width
    tokens = positions + 1
    block = 24 * tokens * width**2 + 4 * tokens**2 * width + 6 * width**2
    if part is GeneratorKind.CONTENT:
        inputs = outputs = sizes.latent_dim
        head_tokens = geometry.tokens / geometry.stages
        rest = 2 * head_tokens * sizes.latent_dim * sizes.codebook_size
    else:
        inputs, outputs = geometry.K + sizes.latent_dim, geometry.K
        rest = 2 * Variant().time_frequencies * width + 2 * width**2
    outer = 2 * positions * width * (inputs + outputs) + 4 * width**2
    return config.depth * block + outer + rest


def training_step(sizes: Sizes, batch: int) -> float:
    """FLOP of one step of both generators, forward and backward, of one stage an image."""
    return TRAINING * batch * sum(forward(sizes, part) for part in GeneratorKind)
