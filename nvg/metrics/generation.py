"""How close generated images are to real ones, from features; torch-fidelity does the sums.

Legend: B image of a batch, F feature channel, L logit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nvg.errors import InputError
from nvg.metrics.frechet import Moments, frechet_distance
from nvg.metrics.small_samples import distance_warnings, kernel_warnings, rounded, score_warnings
from nvg.pretrained.inception import Extractor, NamedExtractor

KID_SUBSET = 1000  # images, fewer where there are not so many
KID_SUBSETS = 100
NEIGHBOURS = 3  # of precision and recall
SPLITS = 10  # of the inception score


@dataclass(frozen=True)
class Features:
    """Of a set of images: values [B, F], and class logits [B, L] where the network gives some."""

    values: Tensor
    logits: Tensor | None

    @staticmethod
    def of(extractor: Extractor, pixels: Tensor) -> "Features":
        """Features of a batch of uint8 images [B, 3, D, D], on the CPU.

        InputError where the network gives some that are not finite.
        """
        values, logits = extractor.both(pixels)
        values = values.cpu()
        if not values.isfinite().all():
            raise InputError(
                f"{extractor.name} gives features that are not finite: use other weights"
            )
        return Features(values, None if logits is None else logits.cpu())

    @staticmethod
    def join(batches: "Sequence[Features]") -> "Features":
        """All batches as one; InputError where there is none."""
        if not batches:
            raise InputError("there are no images to take features of")
        logits = [each.logits for each in batches if each.logits is not None]
        return Features(
            torch.cat([each.values for each in batches]),
            torch.cat(logits) if len(logits) == len(batches) else None,
        )


def require_enough(images: int) -> None:
    """InputError for sets of so few images that no measure is of any."""
    if images <= NEIGHBOURS + 1:
        raise InputError(f"{images} images are too few to compare: use more than {NEIGHBOURS + 1}")


def fidelity(made: Features, real: Features, extractor: NamedExtractor) -> dict[str, Any]:
    """Every measure by name; those of classes only where the network gives logits.

    Precision is the fraction of samples within the real ones' manifold, recall the reverse.
    `images` counts the smaller set, and `warnings` say what so many are not enough for.
    Distances of images are held for a block of 10,000 against all, whatever their number.
    InputError when there are too few images for any.
    """
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    fewest = min(len(made.values), len(real.values))
    require_enough(fewest)
    found: dict[str, Any] = {
        "frechet": frechet_distance(_moments(made), _moments(real)),
        "frechet_name": extractor.distance_name,
        "kid_name": extractor.kernel_name,
        "score_name": extractor.score_name,
        "images": fewest,
        "warnings": distance_warnings(fewest, extractor.distance_name)
        + kernel_warnings(fewest, KID_SUBSET, extractor.kernel_name),
    }
    subset = min(KID_SUBSET, fewest)
    pair = made.values.float(), real.values.float()
    kernel = kid_features_to_metric(
        *pair, kid_subsets=KID_SUBSETS, kid_subset_size=subset, verbose=False
    )
    found["kid"] = kernel["kernel_inception_distance_mean"]
    spread = kernel["kernel_inception_distance_std"]
    found["kid_std"] = spread if fewest > KID_SUBSET else None
    found["kid_subset"] = subset
    manifold = prc_features_to_metric(
        *pair, prc_neighborhood=NEIGHBOURS, save_cpu_ram=True, verbose=False
    )
    found["precision"] = float(manifold["precision"])
    found["recall"] = float(manifold["recall"])
    if made.logits is not None:
        splits = min(SPLITS, len(made.logits))
        found["warnings"] += score_warnings(len(made.logits), splits, extractor.score_name)
        score = isc_features_to_metric(made.logits, splits=splits)
        found["inception_score"] = score["inception_score_mean"]
        found["inception_score_std"] = score["inception_score_std"]
    return found


def fidelity_line(found: dict[str, Any]) -> str:
    """The measures of `fidelity` as text, with no more digits than their images carry."""

    def text(name: str, spread: str = "") -> str:
        digits = rounded(found[name], found["images"])
        if found.get(spread) is None:
            return digits
        return f"{digits} ± {rounded(found[spread], found['images'])}"

    parts = [
        f"{found['frechet_name']} {text('frechet')}",
        f"{found['kid_name']} {text('kid', 'kid_std')}",
        f"precision {text('precision')}",
        f"recall {text('recall')}",
    ]
    if "inception_score" in found:
        score = text("inception_score", "inception_score_std")
        parts.append(f"{found['score_name']} {score}")
    return ", ".join(parts)


def _moments(features: Features) -> Moments:
    moments = Moments()
    moments.add(features.values)
    return moments
