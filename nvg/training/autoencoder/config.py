"""What a recipe says about the training of the autoencoder (A.5)."""

from dataclasses import dataclass, field
from enum import StrEnum

from nvg.config import renamed, require_fraction
from nvg.quantizer.codebook import CodebookInit
from nvg.training.autoencoder.adversarial import DiscriminatorConfig
from nvg.training.autoencoder.losses import LossConfig
from nvg.training.config import LoopConfig


class AutoencoderPart(StrEnum):
    """A part of the autoencoder."""

    ENCODER = "encoder"
    QUANTIZER = "quantizer"
    DECODER = "decoder"


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(LoopConfig):
    """How to train; the defaults are the paper's (A.5), but for losses that need weights files."""

    steps: int = 500_000
    batch_size: int = 256
    lr: float = 1e-4
    warmup: int = 1000
    betas: tuple[float, ...] = (0.5, 0.9)
    weight_decay: float = 0.0
    clip: float = 10.0
    ema: float = 0.999
    """Decay of the EMA weights, which are saved and measured; 0 for the last weights."""
    codebook_init: CodebookInit = CodebookInit.SAMPLE
    frozen: tuple[AutoencoderPart, ...] = ()
    """Parts that keep their weights, for fine-tuning the others."""
    ibq_steps: int = renamed(0, was="index_steps")
    """First steps in which gradients reach all codes (IBQ); the paper: one epoch."""
    dead_code_after: int = renamed(0, was="revive_after")
    """Steps unused after which a dead code is moved to a residual; 0 for never."""
    sample_every: int = 0
    """Steps between two validations on held-out images, 0 for none."""
    loss: LossConfig = field(default_factory=LossConfig)
    discriminator: DiscriminatorConfig = renamed(DiscriminatorConfig(), was="adversary")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(self, "ema")
        if set(self.frozen) == set(AutoencoderPart):
            raise ValueError("frozen names every part: nothing is left to train")
        for name in ("ibq_steps", "dead_code_after", "sample_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.sample_every % self.checkpoint_every:
            raise ValueError(
                f"sample_every {self.sample_every} must be a multiple of checkpoint_every "
                f"{self.checkpoint_every}"
            )
