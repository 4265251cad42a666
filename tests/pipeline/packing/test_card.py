"""The card says what was measured, and nothing that was not."""

import json
import os
from pathlib import Path

from nvg.tokenizer.autoencoder import autoencoder_config
from pipeline.packing.card import model_card
from pipeline.packing.parts import find_parts


def card(run: Path, step: int | None = None, licence: str = "") -> str:
    return model_card(
        "it", find_parts(run, step), autoencoder_config(run), [], licence, has_tokenizer=False
    )


def test_without_measures_it_says_so(autoencoder: Path) -> None:
    """Neither figures nor a licence are made up."""
    (autoencoder / "metrics.jsonl").unlink()
    text = card(autoencoder)
    assert text.startswith("# it\n")
    assert "Nothing was measured" in text
    assert "Not stated" in text
    text = card(autoencoder, licence="apache-2.0")
    assert text.startswith('---\nlicense: "apache-2.0"\n---\n# it\n')
    assert "Not stated" not in text


def test_figures_are_of_the_weights_that_are_packed(autoencoder: Path) -> None:
    """Not of earlier weights, and not of a checkpoint."""
    report = autoencoder / "reconstruction.json"
    report.write_text(json.dumps({"images": 7, "psnr": 21.345, "ssim": 0.5, "usage": 0.25}))
    figures = "7 images rebuilt: PSNR 21.34 dB, SSIM 0.5000, codebook use 25.0%"
    assert figures in card(autoencoder).replace("21.35", "21.34")
    assert figures[:8] not in card(autoencoder, step=2)
    os.utime(report, (1, 1))
    assert "older than the weights" in card(autoencoder)
    report.write_text("{}x")
    assert "images rebuilt" not in card(autoencoder)


def test_the_last_held_out_losses_are_told(autoencoder: Path) -> None:
    """Up to the step that is packed."""
    lines = [
        {"step": step, "heldout": {"val": {"content": loss, "n": 3}}}
        for step, loss in ((1, 1.5), (2, 1.25), (4, 9.5))
    ]
    (autoencoder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n{broken")
    assert "loss on val rows at step 2: content 1.2500\n" in card(autoencoder, step=2)
    assert "loss on val rows at step 4: content 9.5000\n" in card(autoencoder)
