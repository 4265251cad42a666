"""Given structure, stages and regions are kept, the rest is sampled."""

import pytest
import torch

from nvg.errors import InputError
from nvg.generator.config import TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry, canonical, labels
from nvg.sampling.config import SamplerConfig
from nvg.sampling.control import (
    Condition,
    Control,
    condition_on_stages,
    edit_region,
    keep_stages,
)
from nvg.sampling.sampler import Sampler
from nvg.sequence import Sequences
from tests.nvg.generator.makers import make_shape, randomize
from tests.nvg.quantizer.makers import quantizer_case
from tests.nvg.sampling.makers import sampled

# B image, N position
GEOMETRY = Geometry(4)
CONFIG = SamplerConfig(flow_steps=2)
COUNT = 6


class Case:
    """Random generators on a 4x4 grid and a reference."""

    def __init__(self) -> None:
        self.quantizer, latents, leaves = quantizer_case(4, codes=64)
        shape = make_shape(
            transformer=TransformerConfig(depth=1, width=64, heads=1),
            classes=3,
            codebook_size=64,
            latent_dim=4,
            latent_scale=1.0,
        )
        self.content, self.structure = ContentGenerator(shape), StructureGenerator(shape)
        for model in (self.content, self.structure):
            randomize(model)
            model.eval()
        one = leaves[:1].long()
        content = self.quantizer.encode(latents[:1], one)
        self.reference = Sequences(one, content, torch.tensor([-1]))

    def sample(self, control: Control | None, seed: int = 0, batch: int = 64) -> Sequences:
        sampler = Sampler(self.content, self.structure, self.quantizer, CONFIG)
        return sampled(sampler, [1] * COUNT, seed, control, batch)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def same_maps(made: Sequences, reference: Sequences, stage: int) -> list[bool]:
    """For each image whether its map of a stage is the reference's."""
    one, other = (labels(s.leaves.long(), stage, 4) for s in (made, reference))
    return (one == other).all(1).tolist()


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
@pytest.mark.parametrize("what", list(Condition))
def test_first_stages_are_kept(case: Case, what: Condition, stages: int) -> None:
    """Maps of the first stages are the reference's, with `all` their tokens too; others differ."""
    made = case.sample(condition_on_stages(case.reference, GEOMETRY, what, stages, COUNT))
    for stage in range(5):
        part = GEOMETRY.stage_slice(stage)
        is_kept = (made.content[:, part] == case.reference.content[:, part]).all(1)
        if stage < stages:
            assert all(same_maps(made, case.reference, stage))
            if what is Condition.ALL:
                assert is_kept.all()
        elif 1 < stage < 4:
            assert not all(same_maps(made, case.reference, stage))
        if what is Condition.STRUCTURE and stage > 1:
            assert not is_kept.all()


def test_stages_keep_different_things(case: Case) -> None:
    """Structure of the first four stages, and tokens of the second and fourth only."""
    kept = [Condition.STRUCTURE, Condition.ALL, Condition.STRUCTURE, Condition.ALL]
    made = case.sample(keep_stages(case.reference, GEOMETRY, kept, COUNT))
    for stage in range(5):
        part = GEOMETRY.stage_slice(stage)
        is_kept = (made.content[:, part] == case.reference.content[:, part]).all(1)
        assert bool(is_kept.all()) == (stage in (1, 3))
        assert all(same_maps(made, case.reference, stage)) or stage == 4


def test_the_last_map_follows_from_the_pairs(case: Case) -> None:
    """Keeping all maps but the last gives canonical leaves that refine them."""
    made = case.sample(condition_on_stages(case.reference, GEOMETRY, Condition.STRUCTURE, 4, COUNT))
    leaves = made.leaves.long()
    assert all(same_maps(made, case.reference, 3))
    assert torch.equal(canonical(leaves), leaves)


def test_a_region_is_kept(case: Case) -> None:
    """Its positions keep their leaves and last tokens in every image; the rest varies."""
    edited = torch.zeros(16, dtype=torch.bool)
    edited[8:] = True
    made = case.sample(edit_region(case.reference, GEOMETRY, edited, COUNT))
    leaves, own = made.leaves.long(), case.reference.leaves[0]
    for stage in range(4):
        found, wanted = labels(leaves, stage, 4), labels(own, stage, 4)
        assert torch.equal(found[:, ~edited], wanted[~edited].expand(COUNT, -1))
    last = GEOMETRY.stage_slice(4)
    token = made.content[:, last].gather(1, leaves)
    expected = case.reference.content[0, last][own]
    assert torch.equal(token[:, ~edited], expected[~edited].expand(COUNT, -1))
    assert len({tuple(row) for row in token[:, edited].tolist()}) > 1
    for image in leaves:
        assert sorted(image.tolist()) == list(range(16))


def test_control_does_not_depend_on_the_batch(case: Case) -> None:
    """Image i is the same in a batch of 2 and in one of 6."""
    edited = torch.arange(16) % 3 == 0
    control = edit_region(case.reference, GEOMETRY, edited, COUNT)
    one, other = case.sample(control, batch=2), case.sample(control, batch=64)
    assert torch.equal(one.content, other.content)
    assert torch.equal(one.leaves, other.leaves)


def test_no_control_is_free(case: Case) -> None:
    """A control that gives nothing changes nothing."""
    nothing = Control(torch.zeros(COUNT, 16, dtype=torch.int64))
    one, other = case.sample(None), case.sample(nothing)
    assert torch.equal(one.content, other.content)
    assert torch.equal(one.leaves, other.leaves)


def test_what_cannot_be_kept_is_refused(case: Case) -> None:
    """Too many stages, none, another grid, an empty or a full mask."""
    for stages in (0, 6):
        with pytest.raises(InputError, match=r"has 1\.\.5"):
            condition_on_stages(case.reference, GEOMETRY, Condition.ALL, stages, 1)
    with pytest.raises(InputError, match="the reference has 16 positions, the generators 64"):
        condition_on_stages(case.reference, Geometry(8), Condition.ALL, 2, 1)
    for value, word in ((True, "every"), (False, "no")):
        with pytest.raises(InputError, match=f"the mask marks {word} position"):
            edit_region(case.reference, GEOMETRY, torch.full((16,), value), 1)
