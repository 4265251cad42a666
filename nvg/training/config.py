"""What every training has: its length, optimizer settings, how often it logs and saves."""

from dataclasses import dataclass
from enum import StrEnum

from nvg.config import require_betas, require_not_negative, require_positive


class ShardOver(StrEnum):
    """Which processes share the weights of a sharded network out; the others have copies."""

    AUTO = "auto"
    """Those of a node, where there are several nodes with as many processes each; else all."""
    NODE = "node"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Length, optimizer settings and seed of a training, and how often it logs and saves."""

    steps: int
    """Steps of the optimizer."""
    batch_size: int
    """Images of a step, of all processes together."""
    lr: float
    """Learning rate after the warm-up."""
    warmup: int
    """Steps over which the learning rate rises."""
    betas: tuple[float, ...]
    """The two of Adam's moments."""
    weight_decay: float
    """Of AdamW; biases, norms and tables of embeddings have none."""
    clip: float
    """Largest norm of the gradient."""
    accumulate: int = 1
    """Micro-batches of a step, whose gradients are added up; they divide its memory."""
    checkpoint_activations: bool = False
    """Keep the inputs of blocks only, and compute the rest again in the backward pass."""
    seed: int = 0
    """Of weights, order and noise."""
    log_every: int = 50
    """Steps between two lines of the log."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints."""
    keep: int = 2
    """How many of the newest checkpoints to keep, beside those of the lowest losses."""

    def __post_init__(self) -> None:
        require_positive(self, "steps", "batch_size", "log_every", "checkpoint_every", "keep")
        require_positive(self, "accumulate")
        require_not_negative(self, "lr", "warmup", "weight_decay", "clip", "seed")
        require_betas(self.betas)
