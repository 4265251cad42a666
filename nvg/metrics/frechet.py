"""The Fréchet distance of features, by torch-fidelity.

Legend: B image of a batch, F feature channel.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.errors import InputError


class Moments:
    """Mean and covariance of features, batch by batch, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Any = 0.0
        self.outer: Any = 0.0

    def add(self, features_BF: Tensor) -> None:
        """Count a batch."""
        features = features_BF.double()
        self.count += len(features)
        self.total = self.total + features.sum(0).cpu()
        self.outer = self.outer + (features.T @ features).cpu()

    def statistics(self) -> dict[str, np.ndarray[Any, Any]]:
        """`mu` and `sigma` (unbiased), as torch-fidelity wants them."""
        if self.count < 2:
            raise InputError(f"{self.count} images are too few for a Frechet distance: use more")
        mean = self.total / self.count
        sigma = (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)
        return {"mu": mean.numpy(), "sigma": sigma.numpy()}


def frechet_distance(one: Moments, other: Moments) -> float:
    """torch-fidelity's distance of two Gaussians; at least 0."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    found = fid_statistics_to_metric(one.statistics(), other.statistics(), verbose=False)
    return max(float(found[KEY_METRIC_FID]), 0.0)
