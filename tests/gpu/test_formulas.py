"""Operations by the formulas against those that torch counts."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nvg.generator.config import GeneratorKind
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import sample_example
from tests.gpu.formulas import TRAINING, forward, training_step
from tests.gpu.materials import batch_of, generators, paper, quantizer_of, random_store, small


@pytest.mark.parametrize("part", list(GeneratorKind))
def test_torch_counts_the_same(tmp_path: Path, part: GeneratorKind) -> None:
    """Forward to the last operation, every image at all of its stages; backward about twice that.

    Not quite: no gradient goes to the inputs, and those of attention compute its scores again.
    """
    sizes = small(tiny=True)
    store = random_store(tmp_path, sizes, 2)
    model = generators(sizes, store)[part]
    batch, training = batch_of(store, 2), GeneratorTraining(stages_per_image=5)
    example = sample_example({part: model}, quantizer_of(store), batch, training)[part]
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as there:
            terms, _ = model.loss(example)
        with FlopCounterMode(display=False) as back:
            torch.stack(list(terms.values())).sum().backward()
    expected = len(example.label) * forward(sizes, part)
    assert there.get_total_flops() == expected
    whole = there.get_total_flops() + back.get_total_flops()
    assert whole == pytest.approx(TRAINING * expected, rel=0.06)


def test_d16_takes_what_the_docstring_says() -> None:
    """GFLOP an image, TFLOP a step."""
    sizes = paper(16)
    assert forward(sizes, GeneratorKind.CONTENT) == pytest.approx(108e9, rel=0.01)
    assert forward(sizes, GeneratorKind.STRUCTURE) == pytest.approx(28e9, rel=0.02)
    assert training_step(sizes, 256) == pytest.approx(105e12, rel=0.01)
    assert training_step(sizes, 256) / 0.25 / 989e12 == pytest.approx(0.42, abs=0.01)
