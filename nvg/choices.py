"""Every choice that the paper leaves open or varies, an enum each, with what it means.

The first member of each is the default of a config, so that what was made before an option existed
keeps its meaning; pipeline/recipe/profiles.py says which member a profile takes. Nothing needs
torch.
"""

from enum import StrEnum

# Tokenizer


class PhiForm(StrEnum):
    """How a stage's convolution phi joins what it refines (Eq. 5)."""

    BLEND = "blend"
    """(h + conv(h)) / 2, as in VAR."""
    RESIDUAL = "residual"
    """h + conv(h) / 2, as in the authors' release."""


class PhiCount(StrEnum):
    """How many distinct phi serve the stages."""

    FOUR = "four"
    """Four, each for the stages nearest to its tick, as in VAR."""
    STAGE = "per-stage"
    """One for each stage, as in the authors' release."""


class ChildOrder(StrEnum):
    """Which of two sibling clusters is child 2j, and which 2j + 1."""

    POSITION = "position"
    """2j holds the smallest position: the map of a hierarchy is unique."""
    MERGING = "merging"
    """2j was merged first, that is, its own two children were closer; leaves by position."""


class EncoderPrecision(StrEnum):
    """What the encoder computes in when images are tokenized, `tokenize.precision` of a recipe."""

    FP32 = "fp32"
    """float32 without TF32."""
    TF32 = "tf32"
    """Products and convolutions in TF32 on CUDA; as fp32 on a CPU."""
    BF16 = "bf16"
    """By autocast on any device, on most CPUs slowly; norms and sums stay float32."""


# Training of the tokenizer


class GeneratorLoss(StrEnum):
    """The adversarial term that the autoencoder minimizes, of its reconstructions' logits."""

    HINGE = "hinge"
    """Minus the mean logit, as in VQGAN and VAR."""
    NON_SATURATING = "non-saturating"
    """softplus of minus an image's mean logit, mean over the images, as in StyleGAN."""


class DiscriminatorLoss(StrEnum):
    """What the discriminator minimizes, of the logits of images and of reconstructions."""

    HINGE = "hinge"
    """mean relu(1 - real) + mean relu(1 + fake)."""
    HALF_HINGE = "half-hinge"
    """Half of that, as in VQGAN."""


class TrainingCrop(StrEnum):
    """Which square of an image a step of the training sees."""

    CENTER = "center"
    """ADM's centre crop, the same in every step."""
    RANDOM = "random-crop"
    """A random square of an image resized by ADM's way, drawn anew in every step; never flipped."""


# Generators


class ContentInput(StrEnum):
    """Input of the content generator at stage i (Table 3)."""

    CANVAS = "canvas"
    """x_{i-1}, the canvas of the stages before."""
    NOISED = "noised"
    """x_{i-1} + t eps with t = 1 - i / (K + 1), eps from N(0, 1): early on mostly noise."""
    VARIANCE_PRESERVING = "variance-preserving"
    """sqrt(1 - t^2) x_{i-1} + t eps, the same t."""


class StructureInput(StrEnum):
    """What the structure generator starts from at stage i (Table 3)."""

    PARTIAL = "partial"
    """Eq. 1: known channels keep their value, only the others are noise."""
    NOISE = "noise"
    """Noise in every channel; the model predicts the known ones too."""


class Rope(StrEnum):
    """Whether structure takes part in the rotary embedding of both generators (Table 3)."""

    STRUCTURE = "structure"
    SPATIAL = "spatial"
    """Row and column only: structure channels rotate nothing."""


class Prediction(StrEnum):
    """What the content generator's backbone is trained to predict (Table 3)."""

    FINAL = "final"
    """Eq. 3: the final canvas, whose residual over a cluster gives the token's logits."""
    DIRECT = "direct"
    """Cluster means of the backbone's output give the logits; there is no canvas error."""


class CanvasScale(StrEnum):
    """The unit in which the generators see and predict canvases."""

    CODEBOOK = "codebook"
    """The codebook's root mean square, for every stage, both networks and the canvas error."""
    STAGE = "per-stage"
    """The content generator sees each stage's canvas, and predicts the final one, in the root mean
    square of the canvases of that stage; all else is in latent units, as in the release."""


class ContentStart(StrEnum):
    """What the content generator sees at stage 0, in place of the empty canvas."""

    ZEROS = "zeros"
    LEARNT = "learnt"
    """A parameter [N, C], from N(0, 1), as in the release."""


class Skip(StrEnum):
    """How the content generator's output becomes the final canvas."""

    CANVAS = "canvas"
    """It is added to the input canvas."""
    NONE = "none"
    """It is the final canvas, as in the release."""


class TokenKinds(StrEnum):
    """The rotary ids that tell kinds of tokens apart, on the first axis."""

    COUNTED = "counted"
    """Class token 0 with zeros on the other axes, image 1, structure 2."""
    RELEASE = "release"
    """Class token 1 on every axis, image and structure 0, canvas as a condition 2."""


class Initialisation(StrEnum):
    """The first weights of a generator."""

    ZERO = "zero"
    """Modulation and output zero, embeddings N(0, 1), linears as torch makes them."""
    XAVIER = "xavier"
    """Linears Xavier uniform with zero biases, embeddings N(0, 0.02), as in the release."""


class CanvasCondition(StrEnum):
    """How the structure generator sees the canvas."""

    CHANNELS = "channels"
    """Beside the structure channels of each position: N + 1 tokens."""
    TOKENS = "tokens"
    """As N tokens of their own with the same structure and place: 2N + 1, as in the release."""


class StructureValues(StrEnum):
    """The numbers that stand for bits in the flow."""

    BITS = "bits"
    """0 and 2; 1 is unknown."""
    CENTRED = "centred"
    """-1 and 1; 0 is unknown, as in the release."""


class FlowLoss(StrEnum):
    """Channels whose velocity is trained."""

    UNKNOWN = "unknown"
    """Those that are not known at the stage."""
    ALL = "all"
    """All of them; the velocity of a known one is 0, as in the release."""


class FlowTime(StrEnum):
    """How the flow's time is drawn in training."""

    UNIFORM = "uniform"
    LOGIT_NORMAL = "logit-normal"
    """The sigmoid of N(0, 1), as in the release."""


# Sampling


class ParentSplit(StrEnum):
    """How a parent's positions are split into halves by the new channel's value."""

    GUMBEL = "gumbel"
    """Drawn without replacement, weighed by the value as a probability p (Gumbel-top-k)."""
    GUMBEL_ODDS = "gumbel-odds"
    """The same, weighed by the odds p / (1 - p)."""
    TOP_HALF = "top-half"
    """The larger half of the clipped values gets bit 1, as in the release."""


class LastSplit(StrEnum):
    """Order of the two leaves of each pair at stage K, which no network predicts."""

    POSITION = "position"
    """By position, as the tokenizer orders them."""
    NOISE = "noise"
    """The larger noise of the last channel, clipped to the bits, gets bit 1, as in the release."""


class TopPCurve(StrEnum):
    """How top-p falls from 1 to its last value over the stages; both are logarithmic."""

    EARLY = "early"
    """Fast first: 1 - (1 - last) log(1 + i) / log(1 + K)."""
    LATE = "late"
    """Fast last: last + (1 - last) (K - K^(i / K)) / (K - 1), as in the release."""


class TimeGrid(StrEnum):
    """Where the flow's steps lie between noise and data."""

    UNIFORM = "uniform"
    SHIFTED = "shifted"
    """t -> e^m / (e^m + 1/t - 1): finer near the noise; m = 0.5 at 256 positions and 1.15 at 4096,
    linear between, as in FLUX and the release."""


class FlowNoise(StrEnum):
    """The noise that the structure of each stage starts from."""

    FRESH = "fresh"
    SHARED = "shared"
    """One tensor for all stages of an image, as in the release."""


class StructureGuidance(StrEnum):
    """Which stage's guidance scale the structure of stage i takes."""

    OWN = "own"
    PARENT = "parent"
    """That of stage i - 1, as in the release."""
