"""A recipe: one TOML file for one dataset."""

from pipeline.recipe.schema import (
    AutoencoderSection,
    DataConfig,
    Exif,
    FeaturesConfig,
    Icc,
    Recipe,
    SourceKind,
    TokenizeConfig,
    View,
    load_recipe,
    resolved,
)

__all__ = [
    "AutoencoderSection",
    "DataConfig",
    "Exif",
    "FeaturesConfig",
    "Icc",
    "Recipe",
    "SourceKind",
    "TokenizeConfig",
    "View",
    "load_recipe",
    "resolved",
]
