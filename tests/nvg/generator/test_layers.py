"""The parallel block against the FLUX single-stream block, written out in plain tensor algebra."""

import math

import pytest
import torch
from torch import Tensor

from nvg.generator.layers import Modulation, OutputLayer, ParallelBlock, draw_paths
from nvg.generator.rope import Rotary, rope_dims
from tests.nvg.generator import reference
from tests.nvg.generator.makers import randomize

# B image, T token, W width, H head, E head width
WIDTH, HEADS, K = 64, 2, 4
DIMS = rope_dims(WIDTH // HEADS, K)
Inputs = tuple[Tensor, Tensor, Tensor]


def make_inputs(seed: int = 0, batch: int = 2, tokens: int = 5) -> Inputs:
    """Tokens [B, T, W], condition [B, W] and whole-number rotary ids [B, T, A]."""
    generator = torch.Generator().manual_seed(seed)
    token_BTW = torch.randn(batch, tokens, WIDTH, generator=generator)
    condition_BW = torch.randn(batch, WIDTH, generator=generator)
    return (
        token_BTW,
        condition_BW,
        torch.randint(0, 5, (batch, tokens, len(DIMS)), generator=generator),
    )


def layer_norm(vector_W: Tensor) -> Tensor:
    """LayerNorm without affine, eps 1e-6 (peers c.9)."""
    centred_W = vector_W - vector_W.mean()
    return centred_W / (centred_W.square().mean() + 1e-6).sqrt()


def rms_norm(vector_E: Tensor, scale_E: Tensor) -> Tensor:
    """RMSNorm with a learned scale, eps 1e-6 (peers c.9)."""
    return vector_E / (vector_E.square().mean() + 1e-6).sqrt() * scale_E


def gelu_tanh(values: Tensor) -> Tensor:
    """GELU in its tanh form."""
    inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
    return 0.5 * values * (1 + torch.tanh(inner))


def turned(vector_E: Tensor, ids_A: Tensor) -> Tensor:
    """One head's query or key after the rotary embedding."""
    angles = reference.rotation_angles(ids_A.tolist(), DIMS, 10000.0)
    return torch.tensor(reference.rotate(vector_E.tolist(), angles), dtype=torch.float64)


def flux_block(state: dict[str, Tensor], image: Inputs) -> Tensor:
    """The block for one image (tokens [T, W], condition [W], ids [T, A]), token by token."""
    token_TW, condition_W, ids_TA = image
    count, head_width = len(token_TW), WIDTH // HEADS
    silu_W = condition_W / (1 + torch.exp(-condition_W))
    modulation = state["modulation.linear.weight"] @ silu_W + state["modulation.linear.bias"]
    shift_W, scale_W, gate_W = modulation[:WIDTH], modulation[WIDTH:-WIDTH], modulation[-WIDTH:]
    hidden = []
    for token_W in token_TW:
        normed_W = (1 + scale_W) * layer_norm(token_W) + shift_W
        hidden.append(state["linear_in.weight"] @ normed_W + state["linear_in.bias"])
    attended_TW = torch.zeros(count, WIDTH, dtype=torch.float64)
    for head in range(HEADS):
        at = slice(head * head_width, (head + 1) * head_width)
        parts = [[h[n * WIDTH : (n + 1) * WIDTH][at] for h in hidden] for n in range(3)]
        query = [rms_norm(q, state["query_norm.weight"]) for q in parts[0]]
        key = [rms_norm(k, state["key_norm.weight"]) for k in parts[1]]
        query = [turned(q, ids) for q, ids in zip(query, ids_TA, strict=True)]
        key = [turned(k, ids) for k, ids in zip(key, ids_TA, strict=True)]
        for t in range(count):
            weight = torch.stack([query[t] @ k / math.sqrt(head_width) for k in key]).exp()
            mixed = sum(w * v for w, v in zip(weight / weight.sum(), parts[2], strict=True))
            attended_TW[t, at] = mixed
    out = []
    for t in range(count):
        joined = torch.cat((attended_TW[t], gelu_tanh(hidden[t][3 * WIDTH :])))
        update_W = state["linear_out.weight"] @ joined + state["linear_out.bias"]
        out.append(token_TW[t] + gate_W * update_W)
    return torch.stack(out)


@pytest.mark.parametrize("seed", [0, 1])
def test_parallel_block_equals_the_flux_single_stream_block(seed: int) -> None:
    """With arbitrary weights and modulation, the block is the one of peers c.9 to rounding."""
    block = ParallelBlock(WIDTH, HEADS)
    randomize(block, seed)
    token_BTW, condition_BW, ids_BTA = make_inputs(seed)
    got = block(token_BTW, condition_BW, Rotary(DIMS)(ids_BTA))
    state = {name: value.double() for name, value in block.state_dict().items()}
    for image in range(len(token_BTW)):
        inputs = (token_BTW[image].double(), condition_BW[image].double(), ids_BTA[image])
        torch.testing.assert_close(
            got[image].double(), flux_block(state, inputs), atol=1e-4, rtol=1e-4
        )


def test_block_is_the_identity_at_initialization() -> None:
    """Zero modulation means a zero gate: a fresh block returns its tokens unchanged."""
    torch.manual_seed(0)
    block = ParallelBlock(WIDTH, HEADS)
    token_BTW, condition_BW, ids_BTA = make_inputs()
    assert torch.equal(block(token_BTW, condition_BW, Rotary(DIMS)(ids_BTA)), token_BTW)


@pytest.mark.parametrize(("width", "heads"), [(64, 1), (64, 2), (192, 3)])
def test_block_has_15_w_squared_weights(width: int, heads: int) -> None:
    """w -> 3w + 4w, w + 4w -> w and w -> 3w make 15 w^2; biases 11 w and two QK-norm scales."""
    block = ParallelBlock(width, heads)
    matrices = sum(p.numel() for p in block.parameters() if p.ndim == 2)
    vectors = sum(p.numel() for p in block.parameters() if p.ndim == 1)
    assert matrices == 15 * width**2
    assert vectors == (7 + 1 + 3) * width + 2 * (width // heads)


def test_permuting_tokens_with_their_ids_permutes_the_output() -> None:
    """Position enters through the rotary ids alone."""
    block = ParallelBlock(WIDTH, HEADS)
    randomize(block)
    token_BTW, condition_BW, ids_BTA = make_inputs()
    order = torch.tensor([3, 0, 4, 1, 2])
    straight = block(token_BTW, condition_BW, Rotary(DIMS)(ids_BTA))
    moved = block(token_BTW[:, order], condition_BW, Rotary(DIMS)(ids_BTA[:, order]))
    torch.testing.assert_close(moved, straight[:, order], atol=1e-5, rtol=1e-5)


def test_dropout_acts_in_training_only() -> None:
    """Evaluation is deterministic; in training two passes differ."""
    block = ParallelBlock(WIDTH, HEADS, dropout=0.5)
    randomize(block)
    token_BTW, condition_BW, ids_BTA = make_inputs()
    angles = Rotary(DIMS)(ids_BTA)
    torch.manual_seed(0)
    first, second = (block.train()(token_BTW, condition_BW, angles) for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (block.eval()(token_BTW, condition_BW, angles) for _ in range(2))
    assert torch.equal(first, second)


def test_modulation_starts_at_zero() -> None:
    """A fresh modulation gives zero shift, scale and gate, each [B, 1, W]."""
    parts = Modulation(WIDTH, 3)(make_inputs()[1])
    assert [tuple(part.shape) for part in parts] == [(2, 1, WIDTH)] * 3
    assert not torch.stack(parts).any()


def test_output_layer_equals_its_formula() -> None:
    """linear((1 + scale) * norm(x) + shift), shift first, as FLUX's last layer orders them."""
    layer = OutputLayer(WIDTH, 3)
    randomize(layer)
    token_BTW, condition_BW, _ = make_inputs()
    got = layer(token_BTW, condition_BW)
    state = {name: value.double() for name, value in layer.state_dict().items()}
    for image, condition_W in enumerate(condition_BW.double()):
        silu_W = condition_W / (1 + torch.exp(-condition_W))
        both = state["modulation.linear.weight"] @ silu_W + state["modulation.linear.bias"]
        for t, token_W in enumerate(token_BTW[image].double()):
            normed_W = (1 + both[WIDTH:]) * layer_norm(token_W) + both[:WIDTH]
            expected = state["linear.weight"] @ normed_W + state["linear.bias"]
            torch.testing.assert_close(got[image, t].double(), expected, atol=1e-4, rtol=1e-4)


def test_output_layer_starts_at_zero() -> None:
    """A fresh generator predicts zero everywhere."""
    token_BTW, condition_BW, _ = make_inputs()
    assert not OutputLayer(WIDTH, 3)(token_BTW, condition_BW).any()


def test_drop_path_drops_whole_images_and_keeps_the_mean() -> None:
    """A factor is 0 with probability p, else 1 / (1 - p); 1 where nothing is dropped."""
    count, p = 20_000, 0.3
    torch.manual_seed(0)
    first_B, second_B = draw_paths([0.0, p], count, torch.device("cpu"))
    assert torch.equal(first_B, torch.ones(count))
    torch.testing.assert_close(second_B.unique(), torch.tensor([0, 1 / (1 - p)]))
    # Four standard deviations of the mean of so many images.
    spread = math.sqrt(p / (1 - p) / count)
    assert float(second_B.mean()) == pytest.approx(1, abs=4 * spread)


def test_all_paths_are_drawn_in_the_order_of_blocks() -> None:
    """By torch's CPU generator, one block after the other; a block that drops none draws none."""
    torch.manual_seed(3)
    found_SB = draw_paths([0.0, 0.25, 0.5], 50, torch.device("cpu"))
    torch.manual_seed(3)
    for path_B, p in zip(found_SB[1:], (0.25, 0.5), strict=True):
        assert torch.equal(path_B, (torch.rand(50) < 1 - p).float() / (1 - p))


def test_a_block_whose_path_is_dropped_keeps_its_tokens() -> None:
    """Of three images one passes unchanged; to the others the branch times a factor is added."""
    block = ParallelBlock(WIDTH, HEADS)
    randomize(block)
    token_BTW, condition_BW, ids_BTA = make_inputs(batch=3)
    given = token_BTW, condition_BW, Rotary(DIMS)(ids_BTA)
    path_B = torch.tensor([0.0, 2.0, 1.0])
    got, branch = block(*given, path_B), block(*given) - token_BTW
    assert torch.equal(got[0], token_BTW[0])
    assert torch.equal(got[2], block(*given)[2])
    torch.testing.assert_close(got, token_BTW + path_B.view(-1, 1, 1) * branch)
