"""Which numbers every part computes in: the one place that says so.

On a CPU every part computes in float32. On CUDA the matrix products of the generators, and of the
autoencoder in training, take bfloat16; what decides tokens, canvases and measures stays float32
there, whatever autocast and torch's switches for TF32 say. The encoder takes what the recipe's
`tokenize.precision` names. The decoder follows torch's switches: by default its convolutions run
in TF32.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Any

import torch

from nvg.choices import EncoderPrecision


class Numbers(StrEnum):
    """What a matrix product or a convolution of float32 tensors computes in on CUDA."""

    MIXED = "bfloat16"
    """Operands in bfloat16, by autocast; residual stream, norms and sums stay float32."""
    SINGLE = "float32"
    """float32, or TF32 where torch's switch for products allows it."""
    EXACT = "float32 without TF32"


class Part(StrEnum):
    """A part whose numbers are settled here."""

    BLOCKS = "blocks of the generators"
    AUTOENCODER = "autoencoder, its discriminator and losses, in training"
    QUERIES = "QK-norm and rotary embedding"
    OUTPUT = "output layer and head of the generators"
    QUANTIZER = "quantizer: pooling, code search, convolutions phi"
    FEATURES = "features and measures of an evaluation"
    """Features that training aligns with, too."""


PRECISION = {
    Part.BLOCKS: Numbers.MIXED,
    Part.AUTOENCODER: Numbers.MIXED,
    Part.QUERIES: Numbers.SINGLE,
    Part.OUTPUT: Numbers.SINGLE,
    Part.QUANTIZER: Numbers.EXACT,
    Part.FEATURES: Numbers.EXACT,
}

FULL = ("ieee", "none")  # torch's words for float32 products that are computed as such


def numbers(part: Part, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a part computes on a device; it replaces any autocast around it.

    EXACT changes switches of the process, and puts them back: not for threads that compute in
    different numbers at once. A backward pass outside computes in what is set there.
    """
    kind, name = PRECISION[part], device.type
    if kind is Numbers.EXACT:
        return _switched(name, "ieee")
    is_mixed = kind is Numbers.MIXED and name == "cuda"
    return torch.autocast(name, torch.bfloat16 if is_mixed else None, enabled=is_mixed)


def encoder_numbers(
    precision: EncoderPrecision, device: torch.device
) -> AbstractContextManager[Any]:
    """The context in which the encoder tokenizes on a device; as `numbers` in all else."""
    name = device.type
    if precision is EncoderPrecision.BF16:
        return torch.autocast(name, torch.bfloat16)
    is_tf32 = precision is EncoderPrecision.TF32 and name == "cuda"
    return _switched(name, "tf32" if is_tf32 else "ieee")


@contextmanager
def weights_cast_anew() -> Iterator[None]:
    """Autocast keeps no cast of a weight for later, which would then be the memory of a graph."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


@contextmanager
def _switched(name: str, word: str) -> Iterator[None]:
    """No autocast, and torch's word for products and convolutions on devices of this type."""
    backends: Any = torch.backends  # declared without these members
    convolutions = backends.cudnn.conv if name == "cuda" else backends.mkldnn.conv
    switches = [backends.cuda.matmul, backends.mkldnn.matmul, convolutions]
    before = [switch.fp32_precision for switch in switches]
    wanted = FULL if word in FULL else (word,)
    with torch.autocast(name, enabled=False):
        older, newer = _older_switch(), "highest" if word in FULL else "high"
        if older == newer and all(value in wanted for value in before):
            yield
            return
        try:
            # torch refuses to compute where its older switch contradicts the newer ones.
            if older != newer:
                torch.set_float32_matmul_precision(newer)
            _set(switches, [word if s.fp32_precision not in wanted else None for s in switches])
            yield
        finally:
            if older != newer:
                torch.set_float32_matmul_precision(older)
            _set(switches, before)


def _older_switch() -> str:
    """torch's older switch of products; as good as untouched where it contradicts the newer."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "highest"


def _set(switches: list[Any], values: list[str | None]) -> None:
    """Set what differs, so that a switch which follows a wider one goes on following it."""
    for switch, value in zip(switches, values, strict=True):
        if value is not None and switch.fp32_precision != value:
            switch.fp32_precision = value
