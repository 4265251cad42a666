"""VAR's weights in our networks: numbers its own code gave, for weights made by a formula.

tests/golden/var_tokenizer.json holds names and shapes of a small tokenizer of VAR's code, and what
that code made of the weights and the picture below.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from cli.app import app
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from nvg.tokenizer.config import Pyramid
from nvg.tokenizer.import_var import State, convert, import_var
from nvg.weights import CheckpointError
from tests.nvg.tokenizer.makers import picture

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[3] / "tests/golden" / "var_tokenizer.json").read_text()
)


def formula_state() -> State:
    """Weights of the golden shapes: a sine whose phase is the number of the name."""
    state = {}
    for number, name in enumerate(sorted(GOLDEN["shapes"])):
        shape = GOLDEN["shapes"][name]
        count = int(torch.tensor(shape).prod())
        wave = torch.sin(0.1 * torch.arange(count, dtype=torch.float64) + number).view(shape)
        is_scale = "norm" in name and name.endswith("weight")
        flat = (1.0 if is_scale else 0.0) + 0.1 * wave
        state[name] = (wave * (count // shape[0]) ** -0.5 if len(shape) > 1 else flat).float()
    return state


@torch.no_grad()
def test_outputs_are_those_of_vars_own_code() -> None:
    """Latents within 1e-5, pixels within 1e-4, and under VAR's pyramid its tokens and its loss."""
    model = convert(formula_state())
    latents = model.encoder(picture())
    wanted = torch.tensor(GOLDEN["latents"])
    assert torch.allclose(latents.flatten()[::97], wanted, atol=1e-5)
    grid = torch.sin(torch.arange(8 * 256.0) * 0.37).view(1, 8, 256)
    pixels = model.decoder(grid.mT).flatten()[::9973]
    assert torch.allclose(pixels, torch.tensor(GOLDEN["pixels"]), atol=1e-4)

    scales = Autoencoder(replace(model.config, pyramid=Pyramid.SCALE))
    scales.load_state_dict(model.state_dict())
    found = scales.quantizer(latents, scales.leaves(latents))
    assert found.content[0, ::11].tolist() == GOLDEN["tokens"]
    assert float(found.loss) == pytest.approx(GOLDEN["loss"], rel=1e-5)


def test_every_weight_has_a_place() -> None:
    """All of VAR's weights are used, but for its counter of hits; the shape is read off them."""
    state = formula_state()
    model = convert(state)
    used = sum(p.numel() for p in model.parameters())
    given = sum(v.numel() for name, v in state.items() if "ema_vocab_hit" not in name)
    assert used == given
    config = model.config
    assert (config.image_size, config.base_channels, config.multipliers) == (
        256,
        32,
        (1, 1, 2, 2, 4),
    )
    assert (config.blocks, config.attention, config.latent_dim, config.codebook_size) == (
        2,
        True,
        8,
        16,
    )


@pytest.mark.thorough
def test_the_verb_leaves_a_run_directory(tmp_path: Path) -> None:
    """`import-weights` writes what train, tokenize and evaluate take; an existing one is kept."""
    torch.save(formula_state(), tmp_path / "vae.pth")
    arguments = ["import-weights", str(tmp_path / "vae.pth"), "--from", "var", "--out"]
    done = CliRunner().invoke(app, [*arguments, str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "codebook 16 x 8" in done.output
    loaded = load_autoencoder(tmp_path / "run").state_dict()
    expected = convert(formula_state()).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    again = CliRunner().invoke(app, [*arguments, str(tmp_path / "run")])
    assert again.exit_code == 2
    assert "exists" in again.output


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """Nothing there, text, other weights, a weight lost, a weight of another shape."""
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name, words in (
        ("none.pth", "does not hold VAR's tokenizer: No such file or directory"),
        ("text.pth", "it is a text file, not the weights"),
        ("other.pth", "is not VAR's tokenizer"),
        ("list.pth", "it holds a list, no named tensors"),
    ):
        with pytest.raises(CheckpointError, match=words):
            import_var(tmp_path / name)
    lost, bent = formula_state(), formula_state()
    del lost["decoder.mid.attn_1.qkv.weight"]
    bent["decoder.conv_out.weight"] = torch.zeros(3, 16, 3, 3)
    with pytest.raises(CheckpointError, match=r"decoder\.mid\.attn_1\.qkv\.weight is missing"):
        convert(lost)
    with pytest.raises(CheckpointError, match=r"decoder\.conv_out\.weight is of shape \(3, 16"):
        convert(bent)
