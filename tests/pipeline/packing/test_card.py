"""The card says what was measured, and nothing that was not."""

import json
import os
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    "line",
    [
        *('{"step": "4", "heldout": {}}', '{"step": 4, "heldout": 3}', "[]", "[" * 9999, "\xff"),
        '{"step": 4, "heldout": {"val": 1, "train": {"content": "x", "flow": [1.5]}}}',
    ],
)
def test_a_log_from_elsewhere_is_no_obstacle(autoencoder: Path, line: str) -> None:
    """Lines that are not of ours are passed over, also where a checkpoint is packed."""
    (autoencoder / "metrics.jsonl").write_bytes(line.encode("latin-1") + b"\n")
    (autoencoder / "reconstruction.json").write_text(
        '{"images": 1, "psnr": 1' + "0" * 400 + ', "ssim": 0.5, "usage": 0.25}'
    )
    assert "reconstruction.json cannot be read by this version" in card(autoencoder)
    assert "loss on" not in card(autoencoder, step=2)


def test_what_is_no_file_is_not_waited_for(autoencoder: Path) -> None:
    """A pipe in the place of a log or a report."""
    (autoencoder / "metrics.jsonl").unlink()
    for name in ("metrics.jsonl", "reconstruction.json"):
        os.mkfifo(autoencoder / name)
    assert "Nothing was measured" in card(autoencoder)
