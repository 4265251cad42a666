"""Patch features as a few bytes: principal components, 8 bits each. Fitted by FAISS.

Legend: M vector of a flat list, N position, F feature channel, P component of a stored feature.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nvg.config import require_positive
from nvg.errors import InputError
from nvg.weights import load_weights, read_config, weights_bytes

LEVELS = 255  # steps of a component between its least and greatest sample
SAMPLES_A_COMPONENT = 40  # what FAISS asks for at least, to fit without a warning


@dataclass(frozen=True, kw_only=True)
class CodecShape:
    """Channels of a feature, and bytes it is kept in."""

    width: int
    dims: int

    def __post_init__(self) -> None:
        require_positive(self, "width", "dims")
        if self.dims > self.width:
            raise ValueError(f"dims {self.dims} is more than the {self.width} channels there are")


class FeatureCodec(nn.Module):
    """Features [..., F] <-> uint8 [..., P]."""

    basis: Tensor
    mean: Tensor
    low: Tensor
    span: Tensor

    def __init__(self, shape: CodecShape) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("basis", torch.zeros(shape.dims, shape.width))  # orthonormal rows
        self.register_buffer("mean", torch.zeros(shape.width))
        for name in ("low", "span"):
            self.register_buffer(name, torch.zeros(shape.dims))

    def encode(self, features: Tensor) -> Tensor:
        """Nearest codes; what lies beyond the samples' range is clipped to it."""
        share = ((features.float() - self.mean) @ self.basis.T - self.low) / self.span
        return (share.clamp(0, 1) * LEVELS).to(torch.uint8)

    def decode(self, codes: Tensor) -> Tensor:
        """Features that the codes stand for, float32."""
        components = self.low + (codes.float() + 0.5) / LEVELS * self.span
        return components @ self.basis + self.mean

    def kept(self, features: Tensor) -> float:
        """Share of the variance of [M, F] that encoding keeps."""
        lost = (self.decode(self.encode(features)) - features).square().sum()
        return 1 - float(lost / (features - features.mean(0)).square().sum())

    def to_bytes(self) -> bytes:
        """One safetensors blob."""
        return weights_bytes(self.state_dict(), self.shape)

    @staticmethod
    def from_bytes(data: bytes) -> "FeatureCodec":
        """The codec that `to_bytes` wrote; CheckpointError if it is none."""
        codec = FeatureCodec(read_config(CodecShape, data))
        load_weights(codec, data, "the codec of the store's features")
        return codec


def fit_codec(features_MF: Tensor, dims: int) -> FeatureCodec:
    """The codec of these samples. InputError when there are too few."""
    import faiss

    count, width = features_MF.shape
    codec = FeatureCodec(CodecShape(width=width, dims=dims))
    if count < SAMPLES_A_COMPONENT * dims:
        raise InputError(
            f"{count} patches are too few to fit tokenize.features.dims = {dims} components: "
            f"at least {SAMPLES_A_COMPONENT * dims} are needed; lower dims, or use more images"
        )
    samples = np.ascontiguousarray(features_MF.cpu().numpy(), np.float32)
    rotation = faiss.PCAMatrix(width, dims)
    rotation.train(samples)
    quantizer = faiss.ScalarQuantizer(dims, faiss.ScalarQuantizer.QT_8bit)
    quantizer.train(rotation.apply(samples))
    low, span = faiss.vector_to_array(quantizer.trained).reshape(2, dims)
    codec.basis.copy_(torch.from_numpy(faiss.vector_to_array(rotation.A).reshape(dims, width)))
    codec.mean.copy_(torch.from_numpy(faiss.vector_to_array(rotation.mean)))
    codec.low.copy_(torch.from_numpy(low))
    codec.span.copy_(torch.from_numpy(span).clamp(min=torch.finfo(torch.float32).tiny))
    return codec
