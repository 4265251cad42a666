"""Algorithm 2 and its parts: noise per image, whole samples."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nvg.choices import ChildOrder, FlowNoise, LastSplit, StructureGuidance, StructureValues
from nvg.generator.config import Variant
from nvg.geometry import canonical
from nvg.sampling.config import SamplerConfig, Solver
from nvg.sampling.control import Control
from nvg.sampling.guidance import Noise
from nvg.sampling.sampler import Stage
from nvg.sequence import Sequences
from tests.nvg.sampling.makers import (
    CLASSES,
    CODES,
    PAPER,
    RELEASE_PARTS,
    RELEASE_SAMPLE,
    make_sampler,
    sampled,
)
from tests.nvg.structure import reference

# B image, N position, C channel, K structure channel
CPU = torch.device("cpu")


def samples(labels: list[int], seed: int = 0, batch: int = 64, **parts: Any) -> Sequences:
    """Sequences from random models."""
    return sampled(make_sampler(**parts), labels, seed, batch=batch)


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_samples_are_valid_sequences(grid: int) -> None:
    """Leaves are canonical permutations with leaf 0 at position 0; tokens are in the codebook."""
    made = samples([0, 1, 2, 0, -1], grid=grid)
    assert made.leaves.dtype == torch.uint8
    assert made.label.tolist() == [0, 1, 2, 0, -1]
    assert made.content.shape == (5, 2 * grid**2 - 1)
    assert 0 <= int(made.content.min()) <= int(made.content.max()) < CODES
    for row in made.leaves.tolist():
        assert sorted(row) == list(range(grid**2))
        assert row[0] == 0
        assert reference.canonical(row) == row
    assert torch.equal(canonical(made.leaves), made.leaves)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("parts", [{}, RELEASE_PARTS], ids=["paper", "release"])
def test_an_image_does_not_depend_on_its_batch(batch: int, parts: dict[str, Any]) -> None:
    """Image i of a seed is the same for every batch size."""
    labels = [0, 2, 1, -1, 1]
    whole, made = samples(labels, **parts), samples(labels, batch=batch, **parts)
    assert torch.equal(made.leaves, whole.leaves)
    assert torch.equal(made.content, whole.content)


def test_seed_and_label_change_the_images() -> None:
    """Another seed gives other tokens, and so does another class with the same seed."""
    base = samples([0] * 4)
    assert torch.equal(base.content, samples([0] * 4).content)
    assert not torch.equal(base.content, samples([0] * 4, seed=1).content)
    assert not torch.equal(base.content, samples([1] * 4).content)


def test_no_class_is_the_null_class() -> None:
    """Label -1 draws what the null class, one past the last, draws."""
    assert torch.equal(samples([-1, -1]).content, samples([CLASSES, CLASSES]).content)


def first_calls(config: SamplerConfig, labels: list[int]) -> dict[int, tuple[Tensor, ...]]:
    """What the structure generator gets in the first step of each stage."""
    sampler = make_sampler(config=config)
    calls: dict[int, tuple[Tensor, ...]] = {}

    def remember(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls.setdefault(int(inputs[5][0]), inputs)

    sampler.structure.register_forward_pre_hook(remember)
    sampled(sampler, labels, 0)
    return calls


def test_the_flow_of_every_stage_may_start_from_the_same_noise() -> None:
    """The first an image draws: in the channels that no stage knows yet."""
    labels = [0, 1]
    normal = Noise(0, range(2), CPU).normal(16, 4)
    for kind, is_shared in ((FlowNoise.SHARED, True), (FlowNoise.FRESH, False)):
        calls = first_calls(replace(PAPER, flow_noise=kind), labels)
        assert sorted(calls) == [1, 2, 3]
        starts = [calls[stage][0][:2, :, 2:] for stage in (1, 2, 3)]
        assert all(torch.equal(start, normal[..., 2:]) for start in starts) == is_shared
        assert torch.equal(starts[1], starts[0]) == is_shared


def test_structure_guided_as_its_parent_has_none_at_stage_1() -> None:
    """The scale of stage 0 is 1: there is no unconditional pass; at the stages after there is."""
    config = replace(PAPER, structure_guidance_of=StructureGuidance.PARENT)
    for settings_of, expected in ((config, [2, 4, 4]), (PAPER, [4, 4, 4])):
        calls = first_calls(settings_of, [0, 1])
        assert [len(calls[stage][0]) for stage in (1, 2, 3)] == expected


@pytest.mark.parametrize("values", list(StructureValues))
@pytest.mark.parametrize("kind", list(LastSplit))
def test_the_last_pairs_are_ordered_by_position_or_noise(
    kind: LastSplit, values: StructureValues
) -> None:
    """Leaf 2j + 1 is a pair's later position, or that of the larger noise, clipped at the bits."""
    labels = [0, 1, 2, 0]
    config = replace(PAPER, flow_noise=FlowNoise.SHARED, last_split=kind)
    made = samples(labels, config=config, variant=Variant(structure_values=values))
    low, high = (-1, 1) if values is StructureValues.CENTRED else (0, 2)
    noise = Noise(0, range(len(labels)), CPU).normal(16, 4)[..., 3].tolist()
    compared = 0
    for leaves, own in zip(made.leaves.tolist(), noise, strict=True):
        assert sorted(leaves) == list(range(16))
        for j in range(8):
            first, second = leaves.index(2 * j), leaves.index(2 * j + 1)
            if kind is LastSplit.POSITION:
                assert second > first
                continue
            before, after = (min(max(own[n], low), high) for n in (first, second))
            assert after >= before
            compared += after > before
    assert kind is LastSplit.POSITION or compared > 10


@pytest.mark.thorough
@pytest.mark.parametrize("name", list(RELEASE_SAMPLE))
def test_every_choice_of_the_release_changes_the_samples(name: str) -> None:
    """Each alone, on top of the shared noise that one of them needs."""
    labels = [0, 1, 2] * 4
    # Strong guidance, because the random models hardly tell one class from another.
    base = replace(PAPER, structure_guidance=50.0)
    if name != "flow_noise":
        base = replace(base, flow_noise=FlowNoise.SHARED)
    config = replace(base, **{name: RELEASE_SAMPLE[name]})
    one, other = samples(labels, config=base), samples(labels, config=config)
    is_same = torch.equal(one.leaves, other.leaves) and torch.equal(one.content, other.content)
    assert not is_same


@pytest.mark.parametrize("order", list(ChildOrder))
def test_children_keep_their_bits_where_their_order_is_learnt(order: ChildOrder) -> None:
    """By position the leaves are canonical; in the order of merging the networks decide."""
    sampler = replace(make_sampler(), child_order=order)
    made = sampled(sampler, [0, 1, 2] * 4, 0)
    is_canonical = torch.equal(canonical(made.leaves), made.leaves)
    assert is_canonical == (order is ChildOrder.POSITION)
    for row in made.leaves.tolist():
        assert sorted(row) == list(range(16))


@pytest.mark.parametrize("solver", list(Solver))
@pytest.mark.parametrize("parts", [{}, RELEASE_PARTS], ids=["paper", "release"])
def test_stages_come_one_by_one(solver: Solver, parts: dict[str, Any]) -> None:
    """Each refines the one before; joined they are the sample; steps are counted as announced."""
    config = replace(parts.get("config", PAPER), solver=solver)
    sampler = make_sampler(**{**parts, "config": config})
    label, images = sampler.on_device([0, 2, -1]), range(3)
    wanted, called, counts = sampler.batch(label, images, 5), [0], []

    def count() -> None:
        called[0] += 1

    made: list[Stage] = []
    for stage in sampler.batch_stages(label, images, 5, before_step=count):
        assert torch.is_grad_enabled()  # whoever takes a stage computes as they like
        if made:
            assert torch.equal(stage.structure >> 1, made[-1].structure)
        made.append(stage)
        counts.append(called[0])
    assert [stage.stage for stage in made] == list(range(5))
    assert counts == list(itertools.accumulate(sampler.steps()))
    joined = sampler.joined(label, made)
    assert torch.equal(joined.canvas, wanted.canvas)
    assert torch.equal(joined.sequences.leaves, wanted.sequences.leaves)
    assert torch.equal(joined.sequences.content, wanted.sequences.content)
    for stage in made:
        part = sampler.quantizer.geometry.stage_slice(stage.stage)
        assert torch.equal(stage.content, wanted.sequences.content[:, part])


def test_a_sampling_ends_within_one_step() -> None:
    """What `before_step` raises comes out at once; given structure needs no steps."""
    sampler, called = make_sampler(), [0]

    def stop() -> None:
        called[0] += 1
        if called[0] == 3:
            raise KeyboardInterrupt

    stages = sampler.batch_stages(sampler.on_device([0]), range(1), 0, before_step=stop)
    assert next(stages).stage == 0  # one evaluation: of the content
    with pytest.raises(KeyboardInterrupt):
        next(stages)  # two steps of the flow were wanted, and the content
    assert called == [3]
    assert list(stages) == []
    assert sampler.steps() == [1, 3, 3, 3, 1]
    assert sampler.steps(Control(torch.zeros(1, 16), structure_stages=2)) == [1, 1, 3, 3, 1]
