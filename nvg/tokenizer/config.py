"""Shape of a tokenizer: sizes, structure builder, and which pyramid of tokens it makes."""

from dataclasses import dataclass
from enum import StrEnum

from nvg.choices import ChildOrder, PhiCount, PhiForm
from nvg.config import MOST_BLOCKS, MOST_CHANNELS, require_fraction, require_size
from nvg.geometry import Geometry
from nvg.structure import GREEDY_SPACE, require_builder_name, require_space_weight


class Pyramid(StrEnum):
    """What the stages of a tokenizer are."""

    GRANULARITY = "granularity"
    """NVG's: clusters of equal size, 1 to N of them."""
    SCALE = "scale"
    """VAR's: grids of growing side. For comparison only: such tokens have no structure to store."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Shape of the tokenizer. The defaults are the paper's (Table 2): 256x256 -> 16x16x32."""

    image_size: int = 256
    """Side of an image in pixels. [A.5]"""
    base_channels: int = 128
    """Channels at full resolution. [Table 2]"""
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    """Channels of each resolution, in base channels; the grid has image_size / 2^(their number -
    1) a side. [VAR]"""
    blocks: int = 2
    """Residual blocks of each resolution. [VAR]"""
    attention: bool = True
    """Attention at the lowest resolution. [VAR]"""
    dropout: float = 0.0
    """In the residual blocks. [VAR]"""
    latent_dim: int = 32
    """Channels of a latent and of a code. [A.5]"""
    codebook_size: int = 4096
    """Codes. [A.5]"""
    builder: str = "greedy"
    """Structure builder: greedy, greedy+2opt, greedy+space, optimal, spatial, segments, or
    MODULE:FUNCTION. [Alg. 1]"""
    space_weight: float | None = None
    """Weight of distance on the grid beside that of latents, for the builder `greedy+space`."""
    pyramid: Pyramid = Pyramid.GRANULARITY
    phi: PhiForm = PhiForm.BLEND
    """[VAR]"""
    phis: PhiCount = PhiCount.FOUR
    """[VAR]"""
    child_order: ChildOrder = ChildOrder.POSITION
    outer_convs: bool = True
    """A further 3x3 convolution after the encoder and before the decoder, as in VAR; the release
    has none. [VAR]"""

    def __post_init__(self) -> None:
        require_size(self, MOST_CHANNELS, "base_channels", "latent_dim", "image_size")
        require_size(self, MOST_BLOCKS, "blocks")
        require_fraction(self, "dropout")
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError("multipliers must name at least one resolution, each at least 1")
        if max(self.multipliers) * self.base_channels > MOST_CHANNELS:
            raise ValueError(f"multipliers of base_channels must be at most {MOST_CHANNELS}")
        require_builder_name(self.builder)
        self._check_space_weight()
        if self.image_size % self.downsampling:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of the downsampling "
                f"{self.downsampling} that {len(self.multipliers)} multipliers make"
            )
        if not 2 <= self.codebook_size <= 65536:
            raise ValueError(f"codebook_size must be 2..65536 (uint16), not {self.codebook_size}")
        _ = self.geometry

    def _check_space_weight(self) -> None:
        is_needed = self.builder == GREEDY_SPACE
        if self.space_weight is not None and not is_needed:
            raise ValueError(f"space_weight belongs to builder {GREEDY_SPACE!r}: leave it out")
        if self.space_weight is None and is_needed:
            raise ValueError(f"builder {GREEDY_SPACE!r} needs space_weight (0 is greedy)")
        if self.space_weight is not None:
            require_space_weight(self.space_weight)

    @property
    def names_code(self) -> bool:
        """Whether the builder is a `module:function`, which is imported to build structure."""
        return ":" in self.builder

    @property
    def downsampling(self) -> int:
        """Image pixels per latent position along one side."""
        return 1 << (len(self.multipliers) - 1)

    @property
    def geometry(self) -> Geometry:
        """The latent grid; ValueError if its side is not a power of two."""
        return Geometry(self.image_size // self.downsampling)
