"""The release's autoencoder in our networks: numbers its own code gave for weights by formula."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nvg.choices import ChildOrder, PhiCount, PhiForm
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.import_nvg import import_autoencoder
from nvg.weights import CheckpointError
from tests.nvg.makers import release, release_autoencoder, release_generators, waves
from tests.nvg.tokenizer.makers import picture


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    """Imported from a checkpoint whose EMA weights are those of the formula."""
    path = tmp_path_factory.mktemp("release") / "ae.ckpt"
    last = {name: torch.zeros_like(value) for name, value in release_autoencoder().items()}
    state = {**last, **release_autoencoder("ema_model."), "loss.discriminator.x": torch.zeros(3)}
    torch.save({"state_dict": state, "epoch": 7}, path)
    return import_autoencoder(path)


def latents() -> Tensor:
    """Two images' latents [2, 256, 8]."""
    return waves(2, 256, 8, power=1.3, factor=0.7, shift=1.0)


def close(found: Tensor, wanted: list[float], step: int, error: float = 1e-5) -> bool:
    """Whether every `step`-th number is the wanted one."""
    return torch.allclose(found.flatten()[::step], torch.tensor(wanted), atol=error, rtol=1e-5)


@torch.no_grad()
def test_encoder_and_decoder_are_the_releases(model: Autoencoder) -> None:
    """Latents and pixels within 1e-5."""
    assert close(model.encoder(picture()), release()["latents"], 29)
    canvas = model.quantizer.canvas(
        torch.tensor(release()["content"]), torch.tensor(release()["leaves"])
    )
    assert close(model.decoder(canvas), release()["pixels"], 9973)


@torch.no_grad()
def test_leaves_tokens_and_canvases_are_the_releases(model: Autoencoder) -> None:
    """Given the same latents: the hierarchy, its child order, every token and canvas, the loss."""
    leaves = model.leaves(latents())
    assert leaves.tolist() == release()["leaves"]
    assert model.quantizer.encode(latents(), leaves).tolist() == release()["content"]
    content = torch.tensor(release()["content"])
    for canvas, wanted in zip(
        model.quantizer.canvases(content, leaves), release()["canvases"], strict=True
    ):
        assert close(canvas, wanted, 97)
    loss = model.quantizer(latents(), leaves).loss
    assert float(loss) == pytest.approx(release()["quantizer_loss"], rel=1e-5)


def test_the_shape_is_read_off_the_weights(model: Autoencoder) -> None:
    """Sizes and choices."""
    config = model.config
    assert (config.image_size, config.base_channels, config.multipliers) == (
        256,
        32,
        (1, 1, 1, 1, 2),
    )
    assert (config.blocks, config.latent_dim, config.codebook_size) == (1, 8, 64)
    assert (config.phi, config.phis) == (PhiForm.RESIDUAL, PhiCount.STAGE)
    assert config.child_order is ChildOrder.MERGING
    assert not config.attention
    assert not config.outer_convs


def test_the_autoencoder_of_generators_is_found(tmp_path: Path) -> None:
    """Under the name of the first stage."""
    torch.save({"state_dict": release_generators()}, tmp_path / "d2.ckpt")
    found = import_autoencoder(tmp_path / "d2.ckpt").state_dict()
    assert torch.equal(
        found["quantizer.codebook"], release_autoencoder()["quantize.embedding.weight"]
    )


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    """A weight lost, one too many, one of another shape, another network, generators alone."""
    lost, more, bent = (release_autoencoder() for _ in range(3))
    del lost["decoder.mid.block_1.conv1.conv.bias"]
    more["encoder.mid.attn_1.q.conv.weight"] = torch.zeros(1)
    bent["quantize.quant_resi.3.weight"] = torch.zeros(8, 8, 1, 1)
    alone = release_generators(with_autoencoder=False)
    cases = {
        "lost": (lost, r"decoder\.mid\.block_1\.conv1\.conv\.bias is missing"),
        "more": (more, r"encoder\.mid\.attn_1\.q\.conv\.weight has no place"),
        "bent": (bent, r"quant_resi\.3\.weight is \(8, 8, 1, 1\), not \(8, 8, 3, 3\)"),
        "other": ({"a": torch.zeros(2)}, r"no autoencoder of the release"),
        "alone": (alone, r"holds generators, no autoencoder"),
    }
    for name, (state, words) in cases.items():
        torch.save({"state_dict": state}, tmp_path / f"{name}.ckpt")
        with pytest.raises(CheckpointError, match=words):
            import_autoencoder(tmp_path / f"{name}.ckpt")
