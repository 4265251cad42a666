"""Corrupted tokens: near ones, as many as asked for, below the canvas only."""

import numpy as np
import torch

from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind
from nvg.sequence import Sequences
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.corruption import NEAR, corrupted, draw_errors, near_codes
from nvg.training.generator.objective import sample_example
from tests.nvg.generator.makers import make_shape
from tests.nvg.quantizer.makers import quantizer_case


def test_near_codes_are_the_nearest_others() -> None:
    """By hand on a line, and against a sort of all distances."""
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert near_codes(line).tolist() == [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]]
    codebook = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    values = codebook.double().numpy()
    for code, found in enumerate(near_codes(codebook).tolist()):
        distance = np.square(values - values[code]).sum(1)
        others = [other for other in np.argsort(distance).tolist() if other != code]
        assert found == others[:NEAR]


def test_the_fraction_asked_for_becomes_near_codes() -> None:
    """A third of many tokens, each one of those near it; none at 0, all at 1."""
    near = near_codes(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))
    content = torch.randint(40, (200, 100), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    found = corrupted(content, near, *draw_errors(content.shape, near, 1 / 3))
    changed = found != content
    assert abs(float(changed.float().mean()) - 1 / 3) < 0.01
    assert (near[content[changed]] == found[changed].unsqueeze(1)).any(1).all()
    none, all_of_them = (draw_errors(content.shape, near, share) for share in (0.0, 1.0))
    assert torch.equal(corrupted(content, near, *none), content)
    assert (corrupted(content, near, *all_of_them) != content).all()


def test_only_what_lies_below_a_canvas_is_corrupted() -> None:
    """Canvases change from stage 1 on; tokens, labels and the final canvas are the true ones."""
    quantizer = quantizer_case(4, channels=3, codes=11)[0]
    models = {part: build_generator(part, make_shape()) for part in GeneratorKind}
    generator = torch.Generator().manual_seed(0)
    leaves = torch.stack([torch.randperm(16, generator=generator) for _ in range(8)])
    content = torch.randint(11, (8, 31), generator=generator)
    batch = Sequences(leaves, content, torch.zeros(8, dtype=torch.int64))
    training = GeneratorTraining(corruption=1.0, stages_per_image=5)
    examples = []
    for near in (None, near_codes(quantizer.codebook)):
        torch.manual_seed(3)
        examples.append(sample_example(models, quantizer, batch, training, near))
    for part in GeneratorKind:
        clean, wrong = (example[part] for example in examples)
        assert torch.equal(clean.final, wrong.final)
        assert torch.equal(clean.batch.content, wrong.batch.content)
        is_same = (clean.canvas == wrong.canvas).flatten(1).all(1)
        assert torch.equal(is_same, clean.stage == 0)
