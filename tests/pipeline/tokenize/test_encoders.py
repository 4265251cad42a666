"""How many encoders share a GPU, by a batch that is measured on a stand-in for one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.tokenize.chunk import ChunkTokenizer
from pipeline.tokenize.encoders import CONTEXT, Room, fed_encoders, measured_room

GIB = 1 << 30


@pytest.mark.parametrize(
    ("total", "needed", "most", "expected"),
    [
        (80, 12, 4, 4),
        (80, 20, 4, 3),  # 72 of 80 GiB are given away
        (80, 37, 4, 1),
        (24, 40, 4, 1),  # it may fit after all; Ray is not the one to refuse it
        (80, 2, 2, 2),
    ],
)
def test_as_many_as_the_memory_holds(total: int, needed: int, most: int, expected: int) -> None:
    """A tenth of it is left free; one encoder there always is."""
    assert Room(total * GIB, needed * GIB).encoders(most) == expected


def test_the_numbers_are_said() -> None:
    """In GiB."""
    assert str(Room(79 * GIB, 5 * GIB // 2)) == "each takes 2.5 of 79.0 GiB"


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"), [(2, 1, 1), (4, 1, 2), (16, 1, 4), (32, 8, 2), (8, 8, 1)]
)
def test_each_encoder_needs_cores_that_decode(cpus: int, gpus: int, expected: int) -> None:
    """Two each, and no more than four encoders."""
    assert fed_encoders(cpus, gpus) == expected


def test_a_cpu_has_no_room_to_share(tokenizer: Path) -> None:
    """One encoder a core, whatever it takes."""
    assert measured_room(ChunkTokenizer(tokenizer, 4), 2) is None


def test_a_whole_batch_of_views_is_measured(
    tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peak of encoder and features, one more batch of pixels, and what the process itself takes."""
    encoder = ChunkTokenizer(tokenizer, 4)
    seen: list[tuple[Any, ...]] = []

    class Counting:
        def __init__(self, *found: Any, **named: Any) -> None:
            seen.append(found[0])
            self.nbytes = 3 * GIB

    monkeypatch.setattr(encoder, "device", torch.device("cuda"))
    monkeypatch.setattr("pipeline.tokenize.encoders.torch.zeros", Counting)
    monkeypatch.setattr(encoder, "features", lambda images: seen.append(("features",)))
    monkeypatch.setattr(encoder.model, "latents", lambda images, numbers: seen.append((numbers,)))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 5 * GIB)
    card = SimpleNamespace(total_memory=80 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert measured_room(encoder, 2) == Room(80 * GIB, 8 * GIB + CONTEXT)
    size = encoder.model.config.image_size
    assert seen == [(8, 3, size, size), (encoder.encode.precision,), ("features",)]
