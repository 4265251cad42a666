"""Batches to tokens: the overlapped way gives the bytes of the serial one, and never waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import nvg.quantizer.residual
from nvg.choices import EncoderPrecision
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.image_batch import ImageBatch
from pipeline.tokenize.batches import Overlapped, Serial, batch_encoder
from tests.nvg.launches import Launches, fake_cuda
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model

# B image, N position, P component of a stored feature
FP32 = EncoderPrecision.FP32
SPACE = replace(tiny_model(), builder="greedy+space", space_weight=0.5)
MODELS = {
    "greedy": tiny_model(),
    "greedy+space": SPACE,
    "spatial": replace(tiny_model(), builder="spatial"),
    "segments": replace(tiny_model(), builder="segments"),
}


def batches(*counts: int, segments: bool = False) -> list[ImageBatch]:
    """Random images and label maps, in batches of so many."""
    rng, found = np.random.default_rng(0), []
    for count in counts:
        pixels = rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
        regions = rng.integers(0, 3, (count, 16), dtype=np.int32) if segments else None
        found.append(ImageBatch(pixels, regions))
    return found


def sums(pixels: Tensor) -> Tensor:
    """Stands for the features of images [B, N, P]."""
    return pixels.flatten(1)[:, :32].unflatten(1, (16, 2))


@pytest.mark.parametrize("on_host", [None, True, False])
@pytest.mark.parametrize("name", MODELS)
def test_overlapped_batches_have_the_same_bytes(name: str, on_host: bool | None) -> None:
    """Wherever leaves are built; of every builder, with label maps and features, in order."""
    model: Any = tiny_autoencoder(config=MODELS[name])
    given = batches(3, 1, 2, segments=name == "segments")
    overlapped = Overlapped(model, FP32, sums)  # type: ignore[arg-type]  # as good as an encoder
    overlapped.on_host = on_host
    found = list(overlapped(given))
    expected = list(Serial(model, FP32, sums)(given))  # type: ignore[arg-type]
    assert [len(parts) for parts in found] == [4, 4, 4]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert (one.dtype, one.device) == (other.dtype, torch.device("cpu"))
        assert torch.equal(one, other)
    assert list(overlapped([])) == []


@pytest.mark.parametrize("precision", list(EncoderPrecision))
def test_both_ways_have_the_precision_that_is_asked_for(precision: EncoderPrecision) -> None:
    """Their tokens are those of the autoencoder in it."""
    model, (batch,) = tiny_autoencoder(), batches(4)
    expected = model.tokenize(torch.from_numpy(batch.pixels), None, precision)
    for way in (Serial, Overlapped):
        (found,) = way(model, precision)([batch])
        assert all(map(torch.equal, found, expected))


def test_a_cpu_takes_one_batch_after_another() -> None:
    """The overlapped way is for GPUs."""
    assert type(batch_encoder(tiny_autoencoder(), FP32)) is Serial


def test_the_quicker_place_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock, host first; builders that have one way are not timed."""
    clock = iter([0.0, 3.0, 3.0, 5.0])
    monkeypatch.setattr("pipeline.tokenize.batches.time.perf_counter", lambda: next(clock))
    overlapped = Overlapped(tiny_autoencoder(), FP32)
    list(overlapped(batches(2, 2)))
    assert overlapped.on_host is False
    spatial = Overlapped(tiny_autoencoder(config=MODELS["spatial"]), FP32)
    list(spatial(batches(2)))
    assert spatial.on_host is False


class FakeStream:
    """Notes what is asked of a stream."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes, self.device = name, notes, torch.device("cuda")

    def wait_stream(self, other: "FakeStream") -> None:
        self.notes.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: "FakeEvent") -> None:
        self.notes.append(f"{self.name} waits for {event.name}")

    def record_event(self) -> "FakeEvent":
        event = FakeEvent(self.notes)
        event.name = f"encoded {sum(note.startswith('mark') for note in self.notes)}"
        self.notes.append(f"mark {event.name}")
        return event


class FakeEvent:
    """The same of an event; the host waits for copies only."""

    name = "copies"

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def record(self) -> None:
        self.notes.append(f"mark {self.name}")

    def synchronize(self) -> None:
        self.notes.append(f"host waits for {self.name}")


@contextmanager
def gpu(patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fake tensors and streams; the notes of what was asked of them."""
    notes: list[str] = []
    stack = [FakeStream("main", notes)]

    @contextmanager
    def entered(stream: FakeStream) -> Iterator[None]:
        stack.append(stream)
        yield
        stack.pop()

    def lend(tensor: Tensor, stream: FakeStream) -> None:
        notes.append(f"{stream.name} borrows {tuple(tensor.shape)}")

    def encode(self: Autoencoder, pixels: Tensor, precision: EncoderPrecision) -> Tensor:
        notes.append(f"encode on {stack[-1].name}")
        return right(self, pixels, precision)

    def nearest(vectors_MC: Tensor, codebook_VC: Tensor) -> Tensor:
        notes.append(f"codes on {stack[-1].name}") if len(vectors_MC) == 2 else None
        return torch.zeros(len(vectors_MC), dtype=torch.int64, device=vectors_MC.device)

    def leaves(self: Autoencoder, latents_BNC: Tensor) -> Tensor:
        notes.append(f"leaves on {latents_BNC.device.type}")
        positions = torch.arange(16, device=latents_BNC.device).to(torch.uint8)
        return positions.expand(len(latents_BNC), -1).contiguous()

    right = Autoencoder.latents
    patch.setattr(torch.cuda, "Stream", lambda device, priority: FakeStream("side", notes))
    patch.setattr(torch.cuda, "Event", lambda: FakeEvent(notes))
    patch.setattr(torch.cuda, "stream", entered)
    patch.setattr(torch.cuda, "current_stream", lambda device: stack[-1])
    patch.setattr(Tensor, "record_stream", lend)
    patch.setattr(Autoencoder, "latents", encode)
    patch.setattr(Autoencoder, "leaves", leaves)
    patch.setattr(nvg.quantizer.residual, "nearest_code", nearest)
    with fake_cuda():
        yield notes


def fake_model(config: AutoencoderConfig) -> Autoencoder:
    """On the fake GPU."""
    with torch.device("cuda"):
        return Autoencoder(config).eval()


END = [  # of a batch of two images
    "side borrows (2, 16, 4)",
    "mark copies",
    "host waits for copies",
    "leaves on cpu",
    "codes on side",
    "mark copies",
    "host waits for copies",
]


@pytest.mark.thorough
@pytest.mark.parametrize("precision", list(EncoderPrecision))
def test_a_gpu_encodes_the_next_batch_meanwhile(
    monkeypatch: pytest.MonkeyPatch, precision: EncoderPrecision
) -> None:
    """Each stream waits for what it takes from the other and for no more; memory is lent; nothing
    blocks but for the batch before."""
    begin = ["main waits for side", "main borrows (2, 3, 8, 8)", "encode on main"]
    with gpu(monkeypatch) as notes:
        overlapped = batch_encoder(fake_model(tiny_model()), precision)
        assert isinstance(overlapped, Overlapped)
        overlapped.on_host = True
        with Launches() as launches:
            made = list(overlapped(batches(2, 2)))
    marks = [n for n, note in enumerate(notes) if note.startswith("mark encoded")]
    first, second = (notes[n].removeprefix("mark ") for n in marks)
    assert notes == [
        *begin,
        f"mark {first}",
        *begin,  # before the first batch is ended
        f"mark {second}",
        f"side waits for {first}",
        *END,
        f"side waits for {second}",
        *END,
    ]
    assert [tuple(part.shape) for part in made[1]] == [(2, 16), (2, 31), (2, 5)]
    assert {part.device.type for part in chain(*made)} == {"cpu"}
    # Images, leaves; latents, leaves, content, error: each queued.
    assert (launches.copies, launches.waits) == (2 * 6, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("on_host", [None, True, False])
def test_a_gpu_gives_the_same_bytes_either_way(on_host: bool | None) -> None:
    """Many batches overlapped, as one after another."""
    model, given = tiny_autoencoder().to("cuda"), batches(*[64] * 10, 3)
    overlapped = Overlapped(model, FP32)
    overlapped.on_host = on_host
    for found, expected in zip(overlapped(given), Serial(model, FP32)(given), strict=True):
        assert all(map(torch.equal, found, expected))
