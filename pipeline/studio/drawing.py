"""A drawing before anything is sampled: the hierarchy that it gives, and where regions mix.

Legend: N position, n cluster of a stage.
"""

from typing import Any

import numpy as np

from nvg.geometry import Geometry, labels
from nvg.structure.drawn import leaves_of_regions, mixed_fraction
from pipeline.sampling.request import Drawing
from pipeline.studio.models import MOST_REGIONS
from pipeline.studio.pictures import map_picture

Ints = np.ndarray[Any, Any]


def preview(drawing: Drawing, geometry: Geometry) -> dict[str, Any]:
    """Stages, regions and maps of a drawing; InputError for one that cannot be used."""
    regions_N = np.array(drawing.regions, np.int32)
    leaves_N, determined = leaves_of_regions(regions_N.reshape(geometry.grid, -1), geometry)
    stages = determined if drawing.stages is None else drawing.stages
    numbers, counts = np.unique(regions_N, return_counts=True)
    dense_N = np.searchsorted(numbers, regions_N)
    hierarchy = []
    for stage in range(geometry.stages):
        map_N = labels(leaves_N, stage, geometry.K).numpy()
        hierarchy.append(
            {
                "stage": stage,
                "clusters": geometry.clusters(stage),
                "labels": map_N.tolist(),
                "structure": map_picture(map_N, stage, geometry),
                "mixed": mixed_clusters(map_N, dense_N),
                "mixed_fraction": mixed_fraction(leaves_N, dense_N, stage, geometry),
                "given": stage < stages,
            }
        )
    sizes = zip(numbers.tolist(), counts.tolist(), strict=True)
    regions = [{"region": region, "positions": count} for region, count in sizes]
    found = {"stages": stages, "determined": determined}
    return found | {"regions": regions, "hierarchy": hierarchy}


def mixed_clusters(map_N: Ints, region_N: Ints) -> list[int]:
    """Clusters of a map [N] that hold positions of more than one region [N]."""
    pairs = np.unique(np.stack((map_N, region_N)), axis=1)
    clusters, regions = np.unique(pairs[0], return_counts=True)
    mixed: list[int] = clusters[regions > 1].tolist()
    return mixed


def few_regions(region_N: Ints, most: int = MOST_REGIONS) -> tuple[list[int], int]:
    """Regions [N] numbered 0.. from the largest on, and how many small ones are now the last."""
    dense_N, counts = np.unique(region_N, return_inverse=True, return_counts=True)[1:]
    rank_n = np.empty(len(counts), np.int64)
    rank_n[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    found: list[int] = rank_n[dense_N].clip(max=most - 1).tolist()
    return found, max(len(counts) - most, 0)
