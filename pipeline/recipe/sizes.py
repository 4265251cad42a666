"""Sizes for images without a recipe: what fits their number, their size and the memory in hand."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nvg.config import as_table
from nvg.errors import InputError
from nvg.tokenizer.config import AutoencoderConfig
from nvg.training.autoencoder.config import AutoencoderTraining
from pipeline.recipe import presets

if TYPE_CHECKING:
    from nvg.training.memory import Device

MULTIPLIERS = {  # image size -> channels by resolution; the last is that of the grid
    16: (1, 2, 4),
    32: (1, 2, 4),
    64: (1, 1, 2, 4),
    128: (1, 1, 2, 4),
    256: (1, 1, 2, 2, 4),
    512: (1, 1, 2, 2, 4, 4),
}
PRESETS = {4: "small4", 8: "small8", 16: "d12"}  # by grid
LARGEST = "d16"  # of larger grids
ON_CPU = "small4"  # of any grid: a step of a second, and something to look at after minutes
EPOCHS, FEWEST, MOST = 100, 1000, 200_000  # epochs, and steps at least and at most
POSITIONS = 1024  # of all images of a generators' batch on a CPU
BATCH = 256  # of the paper; less where it does not fit, or is more than a tenth of the images
CODES = {2_000: 512, 50_000: 1024}  # codes for up to so many images; the paper's 4096 beyond


@dataclass(frozen=True)
class Sizes:
    """The model and its training, with the reason of what was chosen."""

    model: AutoencoderConfig
    train: AutoencoderTraining
    preset: str
    generators: dict[str, int]
    """Of the generators' training, where images or steps of the preset would be too many."""
    why: dict[str, str]

    def generator_table(self) -> dict[str, Any]:
        """The section `generator` of a recipe."""
        return {"preset": self.preset, "train": self.generators}

    def table(self) -> dict[str, Any]:
        """The section `autoencoder` of a recipe: what differs from the defaults."""
        return {
            "model": _own(self.model, AutoencoderConfig()) | {"image_size": self.model.image_size},
            "train": _own(self.train, AutoencoderTraining()) | {"steps": self.train.steps},
        }


def sizes_for(
    image_size: int,
    images: int,
    device: "Device | None" = None,
    model: AutoencoderConfig | None = None,
) -> Sizes:
    """What suits so many images of a size on a device, by default the one in hand.

    With the model of an existing tokenizer, if one is given. InputError for a size without a grid.
    """
    if model is None and image_size not in MULTIPLIERS:
        raise InputError(
            f"--image-size {image_size} is none of {', '.join(map(str, MULTIPLIERS))}: choose one, "
            "or write a recipe (its grid must be a power of two)"
        )
    from nvg.training.memory import device_of  # here: a wrong size is refused without torch

    device = device or device_of()
    why = {}
    if model is None:
        why["autoencoder.model.base_channels"] = f"for {device.name}"
        why["autoencoder.model.codebook_size"] = f"for {images:,} images"
    model = model or AutoencoderConfig(
        image_size=image_size,
        base_channels=(128 if image_size > 64 else 64) if device.is_mixed else 32,
        multipliers=MULTIPLIERS[image_size],
        codebook_size=next((codes for most, codes in CODES.items() if images <= most), 4096),
    )
    batch = _batch(model, images, device)
    steps = min(max(EPOCHS * images // batch, FEWEST), MOST)
    lr = 1e-4 if batch >= 128 else 3e-4
    train = AutoencoderTraining(
        steps=steps,
        batch_size=batch,
        lr=lr,
        warmup=min(1000, steps // 10),
        checkpoint_every=max(steps // 10, 100),
        sample_every=max(steps // 10, 100),
    )
    grid, epochs = model.geometry.grid, steps * batch / max(images, 1)
    preset = PRESETS.get(grid, LARGEST) if device.is_mixed else ON_CPU
    generators = _generators(preset, grid, images, device)
    seen = generators["steps"] * generators["batch_size"] / max(images, 1)
    why |= {
        "autoencoder.train.steps": f"{epochs:.0f} epochs, at least {FEWEST} steps",
        "autoencoder.train.batch_size": f"fits {device.name}, and at most a tenth of the images",
        "generator.preset": f"for a grid of {grid}x{grid}" if device.is_mixed else "for the CPU",
        "generator.train.steps": f"{seen:.0f} epochs, at most the preset's steps",
        "generator.train.batch_size": f"for {device.name}, at most a fourth of the images",
    }
    return Sizes(model, train, preset, generators, why)


def _generators(preset: str, grid: int, images: int, device: "Device") -> dict[str, int]:
    """Steps and batch of the preset, or fewer where there are few images or no GPU."""
    usual = presets.PRESETS[preset]["train"]
    most = min(usual["batch_size"], max(images // 4, 8))
    if not device.is_mixed:  # a step of a second, not of many
        most = min(most, max(POSITIONS // grid**2, 8))
    batch = most if most == usual["batch_size"] else 1 << most.bit_length() - 1
    steps = min(max(EPOCHS * images // batch, FEWEST), usual["steps"])
    return {
        "steps": steps,
        "batch_size": batch,
        "warmup": min(usual.get("warmup", 1000), steps // 10),
        "checkpoint_every": max(steps // 10, 100),
    }


def _batch(model: AutoencoderConfig, images: int, device: "Device") -> int:
    """The largest power of two up to BATCH that fits the device and is a tenth of the images."""
    from nvg.training.autoencoder.memory import autoencoder_memory

    memory = autoencoder_memory(model, AutoencoderTraining(), device.is_mixed)
    most = min(BATCH, memory.largest(device.bytes), max(images // 10, 8))
    most = most if device.is_mixed else min(most, 32)  # a step of seconds, not of minutes
    return 1 << max(most, 1).bit_length() - 1


def _own(config: Any, default: Any) -> dict[str, Any]:
    """The keys in which a config differs from the defaults."""
    usual = as_table(default)
    return {key: value for key, value in as_table(config).items() if value != usual.get(key)}
