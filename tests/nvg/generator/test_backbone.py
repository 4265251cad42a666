"""The backbone: sizes the paper states, rotary ids, and what it is conditioned on."""

from typing import Any

import pytest
import torch
from torch import nn

from nvg.choices import TokenKinds
from nvg.generator.backbone import CANVAS, CLASS, IMAGE, KINDS, STRUCTURE, Backbone
from nvg.generator.config import TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry, bit_embedding
from tests.nvg.generator.makers import make_shape, randomize

# B image, N position, C input channel, A id axis
CLASSES = 3
PAPER = Geometry(16)
IMAGENET: dict[str, Any] = {
    "grid": 16,
    "classes": 1000,
    "codebook_size": 4096,
    "latent_dim": 32,
    "latent_scale": 1.0,
}
COUNTED = KINDS[TokenKinds.COUNTED]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small(depth: int = 2, kinds: TokenKinds = TokenKinds.COUNTED, drop_path: float = 0) -> Backbone:
    """A backbone whose every parameter is random."""
    config = TransformerConfig(depth=depth, width=64, heads=2, drop_path=drop_path)
    backbone = Backbone(config, Geometry(4), CLASSES, 5, 3, kinds)
    randomize(backbone)
    return backbone.eval()


@pytest.mark.parametrize(("d", "millions"), [(16, 255), (20, 497), (24, 856)])
def test_content_generator_has_the_published_size(d: int, millions: int) -> None:
    """255M, 497M, 856M parameters for width 64 d, d heads, ImageNet's classes (results table)."""
    config = TransformerConfig(depth=d, width=64 * d, heads=d)
    with torch.device("meta"):
        model = ContentGenerator(make_shape(transformer=config, **IMAGENET))
    assert count(model) == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize(("d", "millions"), [(16, 64), (20, 125), (24, 215)])
def test_structure_generator_has_the_published_size(d: int, millions: int) -> None:
    """64M, 125M, 215M parameters for width 32 d and d / 2 heads (results table)."""
    config = TransformerConfig(depth=d, width=32 * d, heads=d // 2)
    with torch.device("meta"):
        model = StructureGenerator(make_shape(transformer=config, **IMAGENET))
    assert count(model) == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize("d", [16, 20, 24])
def test_the_blocks_hold_61440_d_cubed_weights(d: int) -> None:
    """The backbone's matrices are 15 d w^2 = 61,440 d^3 (A.4)."""
    config = TransformerConfig(depth=d, width=64 * d, heads=d)
    with torch.device("meta"):
        backbone = Backbone(config, PAPER, 1000, 32, 32)
    matrices = [p.numel() for p in backbone.blocks.parameters() if p.ndim == 2]
    assert sum(matrices) == 61_440 * d**3


def test_width_must_be_a_multiple_of_heads() -> None:
    """A width that the heads cannot share is an error with both numbers."""
    with pytest.raises(ValueError, match=r"width 64 .* heads 3"):
        TransformerConfig(depth=1, width=64, heads=3)


@pytest.mark.parametrize("kind", [IMAGE, STRUCTURE])
def test_the_class_token_comes_first_and_is_all_zero(kind: str) -> None:
    """Token 0 has the class kind and zeros on every other axis, whatever the tokens' kind is."""
    embedding_BNK = torch.full((2, 16, 4), 2)
    ids = small().token_ids(embedding_BNK, kind)
    assert ids.shape == (2, 1 + 16, 1 + 4 + 2)
    assert (COUNTED[CLASS], *ids[0, 0, 1:].tolist()) == (0,) * 7
    assert not ids[:, 0].any()


@pytest.mark.parametrize("kind", [IMAGE, STRUCTURE])
def test_position_tokens_carry_kind_structure_row_and_column(kind: str) -> None:
    """Axes: kind, the K channels of the bit embedding, row, column, in row-major order."""
    labels_BN = torch.arange(16).flip(0).repeat(2, 1) >> 2
    ids = small().token_ids(bit_embedding(labels_BN, 2, 4), kind)
    for position in range(16):
        label = (15 - position) >> 2
        channels = [2 * (label >> 1), 2 * (label & 1), 1, 1]
        expected = [COUNTED[kind], *channels, position // 4, position % 4]
        assert ids[1, 1 + position].tolist() == expected


def test_class_image_and_structure_tokens_are_told_apart() -> None:
    """The first rotary axis has three different ids (A.4), and one more for canvas tokens."""
    assert len({COUNTED[kind] for kind in (CLASS, IMAGE, STRUCTURE)}) == 3
    assert len({COUNTED[kind] for kind in (CLASS, IMAGE, STRUCTURE, CANVAS)}) == 4


def test_the_condition_is_class_plus_stage() -> None:
    """Class embedding + stage embedding drive the modulation; class `classes` is the null one."""
    backbone = small()
    got = backbone.condition(torch.tensor([0, CLASSES]), torch.tensor([4, 2]))
    classes, stages = backbone.class_embedding.weight, backbone.stage_embedding.weight
    assert classes.shape == (CLASSES + 1, 64)
    assert stages.shape == (5, 64)
    assert backbone.null_class == CLASSES
    assert torch.equal(got, torch.stack((classes[0] + stages[4], classes[CLASSES] + stages[2])))


def run(backbone: Backbone, label: int, stage: int) -> torch.Tensor:
    """The output for one random image."""
    values = torch.randn(1, 16, 5, generator=torch.Generator().manual_seed(0))
    angles = backbone.angles_of(torch.ones(1, 16, 4, dtype=torch.int64), IMAGE)
    labels, stages = torch.tensor([label]), torch.tensor([stage])
    return backbone(values, labels, backbone.condition(labels, stages), angles)[0]


def test_output_has_one_row_per_position() -> None:
    """The class token is dropped from the output."""
    assert run(small(), 0, 0).shape == (1, 16, 3)


@pytest.mark.parametrize(("label", "stage"), [(1, 0), (CLASSES, 0), (0, 3)])
def test_output_depends_on_class_and_stage(label: int, stage: int) -> None:
    """Another class, the null class or another stage gives another output."""
    backbone = small()
    assert not torch.allclose(run(backbone, label, stage), run(backbone, 0, 0), atol=1e-3)


def test_the_class_token_is_seen_by_the_positions() -> None:
    """With the same modulation, another class token alone changes the output."""
    backbone = small()
    values = torch.randn(1, 16, 5, generator=torch.Generator().manual_seed(0))
    angles = backbone.angles_of(torch.ones(1, 16, 4, dtype=torch.int64), IMAGE)
    condition = backbone.condition(torch.tensor([0]), torch.tensor([0]))
    one, other = (backbone(values, torch.tensor([c]), condition, angles)[0] for c in (0, 1))
    assert not torch.allclose(one, other, atol=1e-4)


def test_a_tap_gives_the_tokens_after_its_block() -> None:
    """Number 2 of 2 is what the output layer gets, number 0 what the first block gets."""
    backbone = small(depth=2)
    values = torch.randn(1, 16, 5, generator=torch.Generator().manual_seed(0))
    angles = backbone.angles_of(torch.ones(1, 16, 4, dtype=torch.int64), IMAGE)
    label = torch.tensor([0])
    condition = backbone.condition(label, label)
    output, last = backbone(values, label, condition, angles, 2)
    assert torch.equal(backbone.output(last, condition), output)
    assert torch.equal(backbone(values, label, condition, angles, 0)[1], backbone.input(values))


def test_release_ids_have_a_class_token_of_ones() -> None:
    """Class 1 on every axis; image and structure tokens are kind 0, those of a canvas 2."""
    embedding_BNK = bit_embedding(torch.arange(16).repeat(2, 1) >> 2, 2, 4)
    backbone = small(kinds=TokenKinds.RELEASE)
    for kind, number in ((IMAGE, 0), (STRUCTURE, 0), (CANVAS, 2)):
        ids = backbone.token_ids(embedding_BNK, kind)
        assert ids[:, 0].tolist() == [[1] * 7] * 2
        assert set(ids[:, 1:, 0].flatten().tolist()) == {number}
        assert torch.equal(ids[:, 1:, 1:], small().token_ids(embedding_BNK, kind)[:, 1:, 1:])


@pytest.mark.parametrize("kinds", list(TokenKinds))
def test_tokens_of_two_kinds_have_the_same_structure_and_place(kinds: TokenKinds) -> None:
    """All positions of the first kind, then all of the second: only the first axis differs."""
    embedding_BNK = bit_embedding(torch.arange(16).repeat(2, 1) >> 2, 2, 4)
    ids = small(kinds=kinds).token_ids(embedding_BNK, CANVAS, STRUCTURE)
    assert ids.shape == (2, 1 + 16 + 16, 1 + 4 + 2)
    canvas, structure = ids[:, 1:17], ids[:, 17:]
    assert torch.equal(canvas[..., 1:], structure[..., 1:])
    assert torch.equal(canvas[..., 1:5], embedding_BNK)
    numbers = KINDS[kinds]
    assert set(canvas[..., 0].flatten().tolist()) == {numbers[CANVAS]}
    assert set(structure[..., 0].flatten().tolist()) == {numbers[STRUCTURE]}


@pytest.mark.parametrize(
    ("depth", "expected"), [(1, [0.0]), (2, [0.0, 0.3]), (4, [0.0, 0.1, 0.2, 0.3])]
)
def test_drop_path_rises_linearly_over_the_blocks(depth: int, expected: list[float]) -> None:
    """From 0 at the first block to the config's probability at the last."""
    assert small(depth, drop_path=0.3).drop_path == pytest.approx(expected)


def test_drop_path_is_off_in_evaluation() -> None:
    """There, and in training with probability 0, the output is that of all branches."""
    dropping, plain = small(3, drop_path=0.9), small(3)
    plain.load_state_dict(dropping.state_dict())
    expected = run(plain, 0, 0)
    assert torch.equal(run(dropping, 0, 0), expected)
    assert torch.equal(run(plain.train(), 0, 0), expected)
    assert not torch.allclose(run(dropping.train(), 0, 0), expected, atol=1e-3)
