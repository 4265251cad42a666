"""Which numbers a part computes in: autocast, TF32 and what a user has set, before and after."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.choices import EncoderPrecision
from nvg.precision import PRECISION, Numbers, Part, encoder_numbers, numbers
from tests.nvg.launches import fake_cuda

ROOT = Path(__file__).resolve().parents[2]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BACKENDS: Any = torch.backends
READERS: list[Callable[[], Any]] = [
    lambda: BACKENDS.fp32_precision,
    lambda: BACKENDS.cuda.matmul.fp32_precision,
    lambda: BACKENDS.cudnn.conv.fp32_precision,
    lambda: BACKENDS.cudnn.rnn.fp32_precision,
    lambda: BACKENDS.mkldnn.matmul.fp32_precision,
    lambda: BACKENDS.mkldnn.conv.fp32_precision,
    torch.get_float32_matmul_precision,
    lambda: BACKENDS.cuda.matmul.allow_tf32,
]
EXACT = [part for part, kind in PRECISION.items() if kind is Numbers.EXACT]
WAYS: dict[str, Callable[[], None]] = {
    "default": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "everything": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
    "products": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "CPU products": lambda: setattr(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
    "no TF32": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
}


def state() -> list[Any]:
    """What every switch says; where an older one contradicts the newer, torch refuses to."""
    found: list[Any] = []
    for read in READERS:
        try:
            found.append(read())
        except RuntimeError:
            found.append("refused")
    return found


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """torch's own defaults after a test."""
    yield
    torch.set_float32_matmul_precision("highest")
    BACKENDS.fp32_precision = "none"
    BACKENDS.cudnn.allow_tf32 = True
    for switch in (BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv, BACKENDS.cuda.matmul):
        switch.fp32_precision = "none"


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_exact_parts_switch_reduced_products_off_and_back(way: str, device: torch.device) -> None:
    """Whatever a user has set, and by whichever of torch's interfaces; nested, and after errors."""
    WAYS[way]()
    before = state()
    convolutions = BACKENDS.cudnn.conv if device == CUDA else BACKENDS.mkldnn.conv
    switches = (BACKENDS.cuda.matmul, BACKENDS.mkldnn.matmul, convolutions)
    with numbers(EXACT[0], device), numbers(EXACT[1], device):
        assert {switch.fp32_precision for switch in switches} <= {"none", "ieee"}
        assert not BACKENDS.cuda.matmul.allow_tf32  # the older one agrees: torch would refuse
    assert state() == before
    with pytest.raises(KeyError), numbers(EXACT[0], device):
        raise KeyError
    assert state() == before


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("precision", [EncoderPrecision.FP32, EncoderPrecision.TF32])
def test_the_encoder_computes_in_what_its_name_says(
    precision: EncoderPrecision, device: torch.device, way: str
) -> None:
    """Whatever a user has set; TF32 on CUDA only; switches are back after it, errors included."""
    WAYS[way]()
    before = state()
    convolutions = BACKENDS.cudnn.conv if device == CUDA else BACKENDS.mkldnn.conv
    with encoder_numbers(precision, device):
        found = {s.fp32_precision for s in (BACKENDS.cuda.matmul, convolutions)}
        if precision is EncoderPrecision.TF32 and device == CUDA:
            assert found == {"tf32"}
            assert BACKENDS.cuda.matmul.allow_tf32  # the older one agrees: torch would refuse
            with numbers(Part.QUANTIZER, device):
                assert not BACKENDS.cuda.matmul.allow_tf32
            assert BACKENDS.cuda.matmul.allow_tf32
        else:
            assert found <= {"none", "ieee"}
    assert state() == before
    with pytest.raises(KeyError), encoder_numbers(precision, device):
        raise KeyError
    assert state() == before


@pytest.mark.parametrize("precision", list(EncoderPrecision))
def test_the_encoder_replaces_the_autocast_around_it(precision: EncoderPrecision) -> None:
    """bfloat16 where it is asked for, on any device; else float32."""
    wanted = torch.bfloat16 if precision is EncoderPrecision.BF16 else torch.float32
    with torch.autocast("cpu", torch.bfloat16), encoder_numbers(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == wanted
    with fake_cuda(), encoder_numbers(precision, CUDA):
        one = torch.ones(2, 2, device="cuda")
        assert (one @ one).dtype == wanted


@pytest.mark.parametrize("part", list(Part))
def test_a_part_replaces_the_autocast_around_it(part: Part) -> None:
    """bfloat16 on CUDA for what trains; float32 for everything else, and for all on a CPU."""
    with torch.autocast("cpu", torch.bfloat16), numbers(part, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    wanted = torch.bfloat16 if part in (Part.BLOCKS, Part.AUTOENCODER) else torch.float32
    with fake_cuda(), torch.autocast("cuda", torch.bfloat16), numbers(part, CUDA):
        one = torch.ones(2, 2, device="cuda")
        assert (one @ one).dtype == wanted


def test_no_other_file_settles_numbers() -> None:
    """Neither autocast nor a switch of torch's in the product but in one place."""
    word = re.compile(r"autocast\(|\bamp\.|allow_tf32|fp32_precision|float32_matmul_precision")
    folders = [ROOT / name for name in ("nvg", "pipeline", "cli")]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in files if word.search(file.read_text())}
    assert found == {"nvg/precision.py"}


def test_a_switch_that_follows_a_wider_one_goes_on_following() -> None:
    """On a CPU nothing is set where nothing is reduced: what a user sets later counts."""
    with numbers(Part.QUANTIZER, CPU):
        pass
    BACKENDS.fp32_precision = "tf32"
    assert BACKENDS.mkldnn.matmul.fp32_precision == "tf32"
