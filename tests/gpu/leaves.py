"""Leaves of the device against those of the CPU, to the bit.

Legend: B image of a batch, N position, C channel.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.backend import Backend
from nvg.structure import GREEDY_SPACE, build_leaves, order_by_merging
from tests.gpu.report import Report, Setting
from tests.nvg.structure import kinds

CASES = {  # where backends could differ
    "random": kinds.normal_latents,
    "ties": kinds.tied,
    "near ties": kinds.nearly_tied,
    "constant": kinds.constant,
    "repeats": kinds.duplicates,
    "far offset": kinds.offset,
    "one pair a round": kinds.ladder,
}
POSITIONS, TINY_POSITIONS = (64, 256, 1024), (16, 64)
IMAGES = {64: 512, 256: 128, 1024: 24}  # more than one slice of the builder at the largest
CHANNELS, TINY_CHANNELS, TINY_IMAGES = 32, 4, 5
SPLITS = (1, 3, 7)  # parts that a batch is cut into
SPACE: dict[str, Any] = {"builder": GREEDY_SPACE, "space_weight": 0.7}


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    for positions in TINY_POSITIONS if setting.tiny else POSITIONS:
        wrong = _Wrong()
        for name, kind in CASES.items():
            images = TINY_IMAGES if setting.tiny else IMAGES[positions]
            channels = TINY_CHANNELS if setting.tiny else CHANNELS
            batch = kinds.batch_of(kind, 0, images, positions, channels)
            _compare(torch.from_numpy(batch), setting.device, name, wrong)
        for claim in wrong.counts:
            report.check(f"N = {positions}, {claim}", not wrong.of(claim), wrong.detail(claim))


class _Wrong:
    """Images whose leaves differ, by claim and case."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, tuple[int, int]]] = {}

    def add(self, claim: str, case: str, expected: Tensor, found: Tensor) -> None:
        """Count the images of a case that differ in value; all where the dtype does."""
        differs_B = (expected.cpu().long() != found.cpu().long()).any(1)
        count = len(differs_B) if expected.dtype != found.dtype else int(differs_B.sum())
        self.counts.setdefault(claim, {})[case] = count, len(differs_B)

    def of(self, claim: str) -> list[str]:
        """The cases that differ."""
        return [case for case, (count, _) in self.counts[claim].items() if count]

    def detail(self, claim: str) -> str:
        """In words."""
        total = sum(images for _, images in self.counts[claim].values())
        if not self.of(claim):
            return f"{total} images of {len(self.counts[claim])} kinds"
        found = self.counts[claim]
        return ", ".join(f"{case}: {found[case][0]} images differ" for case in self.of(claim))


def _compare(latents_BNC: Tensor, device: torch.device, case: str, wrong: _Wrong) -> None:
    """One batch by every way; the CPU's numba kernel is the standard."""
    there_BNC = latents_BNC.to(device)
    expected_BN = build_leaves(latents_BNC, backend=Backend.NUMBA)
    found_BN = build_leaves(there_BNC, backend=Backend.TORCH)
    wrong.add(f"greedy in {str(expected_BN.dtype)[6:]}", case, expected_BN, found_BN)
    for parts in SPLITS[1:]:
        pieces = there_BNC.chunk(parts)
        joined = np.concatenate([build_leaves(p, backend=Backend.TORCH).cpu() for p in pieces])
        wrong.add(
            "batches cut otherwise", f"{case} in {parts}", expected_BN, torch.from_numpy(joined)
        )
    wrong.add("child order by merging", case, order_by_merging(latents_BNC, expected_BN),
              order_by_merging(there_BNC, found_BN))  # fmt: skip
    spaced_BN = build_leaves(latents_BNC, backend=Backend.NUMBA, **SPACE)
    there_BN = build_leaves(there_BNC, backend=Backend.TORCH, **SPACE)
    wrong.add(GREEDY_SPACE, case, spaced_BN, there_BN)
    wrong.add(f"{GREEDY_SPACE} by merging", case, order_by_merging(latents_BNC, spaced_BN, 0.7),
              order_by_merging(there_BNC, there_BN, 0.7))  # fmt: skip
