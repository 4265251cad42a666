"""What a recipe says about the generators: their sizes, their training, ablation options."""

from dataclasses import dataclass, field

from nvg.config import renamed, require_fraction, require_not_negative, require_positive
from nvg.generator.config import TransformerConfig, Variant
from nvg.loader import LoaderMode
from nvg.training.config import LoopConfig, ShardOver

REFERENCE_BATCH = 256  # the learning rate is given for this batch and scaled linearly


@dataclass(frozen=True, kw_only=True)
class GeneratorTraining(LoopConfig):
    """How to train both generators; the defaults are the paper's d16 (A.5), lr for batch 256.

    `batch_size` is divided by the processes and by `accumulate`.
    """

    steps: int = 333_000
    """[A.5]"""
    batch_size: int = 768
    """[A.5]"""
    lr: float = 1e-4
    """Learning rate after the warm-up, for a batch of 256; it grows with the batch. [A.5]"""
    warmup: int = 1000
    """[A.5]"""
    betas: tuple[float, ...] = (0.9, 0.95)
    """[A.5]"""
    weight_decay: float = 0.05
    """[A.5]"""
    clip: float = 2.0
    """[A.5]"""
    decay_start: float = 0.8
    """Fraction of the steps after which the learning rate falls. [A.5]"""
    class_dropout_prob: float = renamed(0.1, was="null_share")
    """Probability that a label becomes the null class, for classifier-free guidance. [A.5]"""
    stages_per_image: int = 1
    """How many different stages of an image a step trains; random ones where not all. The release
    trains all nine, and the seven of structure."""
    corruption: float = 0.0
    """Fraction of the tokens below a canvas that are replaced by near codes, so that training sees
    canvases with errors, as sampling makes them."""
    ema: float = 0.9999
    """Decay of the EMA weights, 0 for none. [A.5]"""
    ema_warmup: bool = True
    """A smaller decay in the first steps."""
    warmup_start: float = 0.0
    """Fraction of the learning rate at which warm-up starts, 0.005 in the release."""
    final_lr: float = 0.1
    """Fraction of the learning rate at which the decay ends. [A.5]"""
    sharded: bool = False
    """Shard weights and optimizer state over the processes (FSDP2) instead of replicating (DDP)."""
    shard_over: ShardOver = ShardOver.AUTO
    """With `sharded`: over all processes, or over those of a node with a copy on every node."""
    align: float = 0.0
    """Weight of the content generator's alignment with the store's features, 0.5 in REPA."""
    align_block: int = 8
    """The block whose output is aligned."""
    loader: LoaderMode = LoaderMode.AUTO
    """Where the rows of the store come from."""
    sample_every: int = 0
    """Steps between two sample images, 0 for none; needs both generators."""
    val_every: int = 0
    """Steps between two measurements of held-out losses, 0: with every checkpoint. A store without
    held-out rows has none."""
    val_images: int = 256
    """How many held-out images are measured, and as many of the training images."""
    patience: int = 0
    """Measurements without a lower held-out loss of any generator that end the training, 0: none
    do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(self, "class_dropout_prob", "decay_start", "ema")
        require_fraction(self, "warmup_start", "final_lr", "corruption")
        require_positive(self, "align_block", "stages_per_image")
        require_positive(self, "val_images")
        require_not_negative(self, "val_every", "patience", "align")
        every = self.val_every or self.checkpoint_every
        if every % self.checkpoint_every and self.checkpoint_every % every:
            raise ValueError(
                f"val_every {self.val_every} must divide checkpoint_every {self.checkpoint_every} "
                "or be a multiple of it: the best checkpoint is one that was measured"
            )
        if self.sample_every < 0 or self.sample_every % self.checkpoint_every:
            raise ValueError(
                f"sample_every {self.sample_every} must be a multiple of checkpoint_every "
                f"{self.checkpoint_every}: a picture is drawn from a checkpoint"
            )


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Both generators, their training, and the options of the paper's ablation."""

    content: TransformerConfig
    """Size of the network that draws tokens."""
    structure: TransformerConfig
    """Size of the network that draws structure maps."""
    train: GeneratorTraining = GeneratorTraining()
    """How both are trained."""
    variant: Variant = field(default_factory=Variant)
    """What they are fed and predict."""

    def __post_init__(self) -> None:
        if self.train.align and self.train.align_block > self.content.depth:
            raise ValueError(
                f"train.align_block {self.train.align_block} is beyond the content generator's "
                f"{self.content.depth} blocks"
            )
