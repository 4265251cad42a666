"""Choices by name: `profile` of a recipe fills in what the recipe leaves out.

A run, a checkpoint and a store record the choices themselves, so they outlive a profile's name.
"""

from collections.abc import Mapping
from typing import Any

from nvg import choices
from nvg.config import ConfigError, as_table
from nvg.generator.config import RELEASE as GENERATORS
from nvg.quantizer.config import CodebookInit

Table = dict[str, Any]

RELEASE: Table = {
    "autoencoder": {
        "model": {
            "phi": choices.PhiForm.RESIDUAL,
            "phis": choices.PhiCount.STAGE,
            "child_order": choices.ChildOrder.MERGING,
            "outer_convs": False,
            "attention": False,
        },
        "train": {
            "betas": [0.9, 0.95],
            "warmup": 0,
            "clip": 1.0,
            "ema": 0.9999,
            "ema_warmup": False,
            "codebook_init": CodebookInit.UNIFORM,
            "crop": choices.TrainingCrop.RANDOM,
            "loss": {"l1": 1.0, "l2": 0.0},
            "discriminator": {
                "loss": choices.DiscriminatorLoss.HALF_HINGE,
                "generator_loss": choices.GeneratorLoss.NON_SATURATING,
                "weight": 0.1,
                "adaptive": False,
                "start": 0.0,
                "ramp": 0.0,
                "warmup": 0,
                "blur": False,
                "consistency": 0.0,
                "lecam": 0.001,
                "betas": [0.9, 0.95],
                "weight_decay": 5e-4,
            },
        },
    },
    "generator": {
        "variant": as_table(GENERATORS),
        "train": {
            "stages_per_image": 9,
            "clip": 1.0,
            "ema_warmup": False,
            "warmup_start": 0.005,
        },
    },
    "sample": {
        "split": choices.ParentSplit.TOP_HALF,
        "last_split": choices.LastSplit.NOISE,
        "top_p_curve": choices.TopPCurve.LATE,
        "time_grid": choices.TimeGrid.SHIFTED,
        "flow_noise": choices.FlowNoise.SHARED,
        "structure_guidance_of": choices.StructureGuidance.PARENT,
    },
}
"""The authors' release, where the paper is silent."""

PROFILES: dict[str, Table] = {"classic": {}, "release": RELEASE}
"""classic: the defaults of every config, what this project did before the release was out."""


def expand(table: Table) -> Table:
    """A recipe's table with its profile's values where it has none of its own. ConfigError."""
    if "profile" not in table:
        return table
    given = dict(table)
    name = given.pop("profile")
    if not isinstance(name, str) or name not in PROFILES:
        raise ConfigError(f"profile must be one of {', '.join(PROFILES)}, not {name!r}")
    return merge(_of_sections(PROFILES[name], given), given)


def _of_sections(profile: Table, given: Table) -> Table:
    """A profile for the sections that a recipe has; [sample] needs none to have its defaults."""
    kept = {key: value for key, value in profile.items() if key in given or key == "sample"}
    own = given.get("autoencoder")
    if "autoencoder" in kept and isinstance(own, Mapping) and "model" not in own:
        kept["autoencoder"] = {"train": kept["autoencoder"]["train"]}
    return kept


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Tables joined key by key; where both have a value, that of `above`."""
    joined = {**below, **above}
    for key, value in below.items():
        if isinstance(value, Mapping) and key in above:
            own = above[key]
            joined[key] = merge(value, own) if isinstance(own, Mapping) else own
    return joined
