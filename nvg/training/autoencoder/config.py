"""What a recipe says about the training of the autoencoder (A.5)."""

from dataclasses import dataclass, field
from enum import StrEnum

from nvg.choices import DiscriminatorLoss, GeneratorLoss, TrainingCrop
from nvg.config import (
    renamed,
    require_betas,
    require_fraction,
    require_not_negative,
    require_positive,
)
from nvg.quantizer.config import CodebookInit
from nvg.training.config import LoopConfig


class AutoencoderPart(StrEnum):
    """A part of the autoencoder."""

    ENCODER = "encoder"
    QUANTIZER = "quantizer"
    DECODER = "decoder"


class PerceptualNetwork(StrEnum):
    """In whose features the perceptual loss compares images."""

    VGG16 = "vgg16"
    """LPIPS; needs a file of weights."""
    EFFICIENTNET = "efficientnet-lite0"
    """A distance that is not LPIPS; its weights come with the extra `studies`."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weight of each term; the defaults are those of VAR's tokenizer trainer, without LPIPS."""

    l1: float = 0.2
    """Weight of the mean absolute error. [VAR]"""
    l2: float = 1.0
    """Weight of the mean squared error. [VAR]"""
    quantizer: float = 1.0
    """Weight of the commitment loss of every stage. [VAR]"""
    perceptual: float = 0.0
    """LPIPS, 1.0 in all trainers that use it."""
    network: PerceptualNetwork = PerceptualNetwork.VGG16
    vgg: str = ""
    """Local file of torchvision's VGG16 weights for LPIPS, or "random" for a trial without."""
    entropy: float = 0.0
    """Entropy of a token minus that of all; 0.05 in IBQ, 0.1 in Open-MAGVIT2."""

    def __post_init__(self) -> None:
        require_not_negative(self, "l1", "l2", "quantizer", "perceptual", "entropy")
        if self.perceptual and self.network is PerceptualNetwork.VGG16 and not self.vgg:
            raise ValueError(
                'perceptual needs vgg: a file of VGG16 weights, or "random"; or network = '
                f'"{PerceptualNetwork.EFFICIENTNET}"'
            )


class DiscriminatorKind(StrEnum):
    """The network that tells reconstructions from images."""

    NONE = "none"
    DINO = "dino"
    """Heads on a frozen vision transformer, as for VAR's tokenizer; needs its weights."""
    PATCH = "patch"
    """PatchGAN, as in Open-MAGVIT2; needs no weights."""
    EFFICIENTNET = "efficientnet-lite0"
    """Heads on the maps of a frozen network, as in projected GANs; the extra `studies` has it."""


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The discriminator and how it is used; the defaults are those of VAR's tokenizer trainer."""

    kind: DiscriminatorKind = DiscriminatorKind.NONE
    weights: str = ""
    """Local file with the weights of `model`, for `dino`."""
    model: str = "vit_small_patch16_224.dino"
    """Its name in timm, for `dino`."""
    loss: DiscriminatorLoss = DiscriminatorLoss.HINGE
    """[VAR]"""
    generator_loss: GeneratorLoss = GeneratorLoss.HINGE
    """[VAR]"""
    weight: float = 0.4
    """Of its loss among those of the autoencoder. [VAR]"""
    adaptive: bool = True
    """Scale the weight by the ratio of gradients at the decoder's last layer (VQGAN). [VAR]"""
    start: float = 0.2
    """Fraction of the steps after which it begins. [VAR]"""
    ramp: float = 0.02
    """Fraction of the steps over which its weight grows; its images' blur fades over twice that.
    [VAR]"""
    blur: bool = True
    """Blur its images at first. [VAR]"""
    consistency: float = 8.0
    """Weight of the difference of two augmentations' logits (bCR). [VAR]"""
    augment: float = 1.0
    """Probability that a batch is augmented. [VAR]"""
    lecam: float = 0.0
    """Weight of LeCam's regularizer; Open-MAGVIT2 uses 0.05."""
    betas: tuple[float, ...] | None = None
    """Of its optimizer; without, those of the autoencoder."""
    weight_decay: float | None = None
    """Of its optimizer; without, that of the autoencoder."""
    warmup: int | None = None
    """Steps of its learning rate's warm-up; without, those of the ramp, at least one."""

    def __post_init__(self) -> None:
        require_fraction(self, "start", "ramp", "augment")
        require_not_negative(self, "weight", "consistency", "lecam", "weight_decay", "warmup")
        if self.betas is not None:
            require_betas(self.betas)
        if self.kind is DiscriminatorKind.DINO and not self.weights:
            raise ValueError("kind dino needs weights: a local file; patch needs none")


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(LoopConfig):
    """How to train; the defaults are the paper's (A.5), but for losses that need weights files."""

    steps: int = 500_000
    """[A.5]"""
    batch_size: int = 256
    """[A.5]"""
    lr: float = 1e-4
    """[A.5]"""
    warmup: int = 1000
    cosine_every: int = 1
    """Steps after which the learning rate moves along its cosine; an epoch's, to move with it."""
    betas: tuple[float, ...] = (0.5, 0.9)
    """[VQGAN]"""
    weight_decay: float = 0.0
    """[VQGAN]"""
    clip: float = 10.0
    """[VAR]"""
    ema: float = 0.999
    """Decay of the EMA weights, which are saved and measured; 0 for the last weights. [VAR]"""
    ema_warmup: bool = True
    """A smaller decay in the first steps, in which EMA weights then move fast."""
    crop: TrainingCrop = TrainingCrop.CENTER
    crop_resize: float = 1.125
    """Short side of the image that random crops are cut from, in image sizes."""
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
        require_positive(self, "cosine_every")
        if not 1 <= self.crop_resize <= 4:
            raise ValueError(f"crop_resize must be between 1 and 4, not {self.crop_resize}")
        if set(self.frozen) == set(AutoencoderPart):
            raise ValueError("frozen names every part: nothing is left to train")
        require_not_negative(self, "ibq_steps", "dead_code_after", "sample_every")
        if self.sample_every % self.checkpoint_every:
            raise ValueError(
                f"sample_every {self.sample_every} must be a multiple of checkpoint_every "
                f"{self.checkpoint_every}"
            )
