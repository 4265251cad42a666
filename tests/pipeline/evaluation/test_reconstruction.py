"""`nvgctl evaluate reconstruction`: every number against slow code, the report, the picture."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cli.app import app
from nvg.config import dump
from pipeline.images.decode import decode
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.pretrained.makers import OWN
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.images.makers import center_crop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, one of them bad, recipe.toml and an untrained run."""
    write_image_folder(tmp_path / "images", per_class=4, size=20)
    (tmp_path / "images" / "bee" / "001.jpg").write_bytes(b"no image")
    dump(tiny_recipe(tmp_path / "images"), tmp_path / "recipe.toml")
    write_autoencoder(tmp_path / "run")
    return tmp_path


def evaluate(folder: Path, *flags: str) -> tuple[int, str]:
    """Exit code and output of the verb."""
    arguments = ["evaluate", "reconstruction", str(folder / "run")]
    done = CliRunner().invoke(app, [*arguments, "--data", str(folder / "recipe.toml"), *flags])
    return done.exit_code, done.output


@pytest.mark.thorough
def test_the_report_holds_what_slow_code_finds(folder: Path, tokenizer: Path) -> None:
    """PSNR and usage image by image; similarity is 1 only for equal images; names of networks."""
    code, said = evaluate(folder, "--extractor", OWN)
    assert code == 0, said
    report = json.loads((folder / "run" / "reconstruction.json").read_text())
    model = write_autoencoder(folder / "again")
    errors, used = [], set()
    for path in sorted((folder / "images").rglob("*.*")):
        if path.name == "001.jpg" and path.parent.name == "bee":
            continue
        pixels = torch.from_numpy(center_crop(decode(path.read_bytes())[0], 8))[None]
        leaves, content, _ = model.tokenize(pixels)
        rebuilt = model.decoder(model.quantizer.canvas(content, leaves)).detach().clamp(-1, 1)
        errors.append(float((rebuilt - (pixels.float() / 127.5 - 1)).square().mean()))
        used |= set(content.flatten().tolist())
    assert report["images"] == 11
    assert report["skipped"] == 1
    assert report["mse"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert report["psnr"] == pytest.approx(10 * math.log10(4 / np.mean(errors)), abs=1e-4)
    assert report["usage"] == len(used) / 16
    assert report["stage_psnr"][-1] == report["psnr"]
    assert len(report["stage_psnr"]) == 5
    assert -1 < report["ssim"] < 1
    assert report["frechet"]["extractor"] == OWN
    assert report["frechet"]["value"] > 0
    assert "lpips" not in report
    assert f"rFrechet distance ({OWN})" in said
    assert f"warning: rFrechet distance ({OWN}) of 11 images is too large" in said
    assert "FID" not in said


def test_the_picture_has_a_column_for_each_stage(folder: Path) -> None:
    """The readable ones of eight originals and five canvases each, 64 pixels a tile."""
    assert evaluate(folder, "--out", str(folder / "report"))[0] == 0
    with Image.open(folder / "report" / "reconstruction.png") as picture:
        assert picture.size[0] == 4 + 6 * 68
        assert picture.size[1] > 7 * 68
    assert not (folder / "run" / "reconstruction.png").exists()
    assert "frechet" not in json.loads((folder / "report" / "reconstruction.json").read_text())


def test_fewer_images_on_demand(folder: Path) -> None:
    """-n takes the first ones."""
    assert evaluate(folder, "-n", "3")[0] == 0
    assert json.loads((folder / "run" / "reconstruction.json").read_text())["images"] == 3


def test_bad_requests_are_one_line(folder: Path) -> None:
    """No run, missing weights, an unknown extractor, LPIPS on images that are too small."""
    for flags, words in (
        (("--weights", str(folder / "none.pth")), "none.pth is no file"),
        (("--extractor", "no:thing"), "cannot be imported"),
        (("--vgg", "random"), "too small for LPIPS"),
    ):
        code, said = evaluate(folder, *flags)
        assert code == 2, said
        assert words in said.splitlines()[-1]
    (folder / "run" / "autoencoder.safetensors").unlink()
    code, said = evaluate(folder)
    assert code == 2
    assert "holds no autoencoder.safetensors" in said
