"""A pack is all that others need, checked, smaller, and used as the run it came from."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import nvg
from cli.app import app
from nvg.errors import InputError, WorkError
from nvg.fetch.listing import FILES
from pipeline.packing.pack import PackOptions, pack_run
from pipeline.recipe import load_recipe
from pipeline.train import fit_generator
from tests.makers import files_below
from tests.nvg.fetch.makers import serving
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.processes import ROOT

KEPT = ROOT / "tests" / "golden" / "v0.1"


def nvgctl(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.mark.thorough
def test_a_pack_samples_the_same_bytes_from_a_folder_and_a_url(
    generators: Path, autoencoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And tokenizes, as it has its tokenizer with it; both from Python too."""
    out = tmp_path / "web" / "pack"
    (first, _) = pack_run(generators, PackOptions(out=out, tokenizer=autoencoder))
    assert first.startswith(f"wrote {out}: ")
    assert " MB, of the run's " in first
    monkeypatch.setenv("NVG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path / "web") as server:
        url = f"{server.url}/pack"
        for number, place in enumerate((generators, out, url)):
            code, said = nvgctl("sample", place, "-n", 2, "--seed", 3, "--png", f"{number}.png")
            assert code == 0, said
        assert not any("autoencoder" in each for each in server.asked)
        code, said = nvgctl("sample", url, "-n", 1)
        assert (code, "wrote samples/all-n1-seed0.png" in said) == (0, True), said
        own, packed = nvg.load_tokenizer(autoencoder), nvg.load_tokenizer(url)
        made = nvg.load_generators(url).sample([2, 1], kind="tensor")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    assert torch.equal(packed.tokenize(made).content, own.tokenize(made).content)


def test_the_list_has_the_checksum_of_every_file(generators: Path, tmp_path: Path) -> None:
    """Nothing of training is in a pack; the EMA weights are those of the run."""
    out = tmp_path / "pack"
    pack_run(generators, PackOptions(out=out))
    found = files_below(out)
    assert set(found) == {
        *("README.md", "classes.json", "config.toml", "content-ema.safetensors", FILES),
        *("detokenizer.safetensors", "samples.png", "structure-ema.safetensors"),
    }
    listed = json.loads(found.pop(FILES))["files"]
    assert {each["path"]: each["sha256"] for each in listed} == {
        path: hashlib.sha256(data).hexdigest() for path, data in found.items()
    }
    for name in ("content-ema.safetensors", "detokenizer.safetensors", "classes.json"):
        assert found[name] == (generators / name).read_bytes()
    assert sum(map(len, found.values())) < sum(map(len, files_below(generators).values()))
    assert nvgctl("sample", out, "--weights", "raw", "--png", tmp_path / "a.png") == (
        2,
        f"nvgctl: {out} holds EMA weights alone: leave out --weights raw\n",
    )


def test_a_damaged_upload_is_named(
    autoencoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its checksum, in one line."""
    pack_run(autoencoder, PackOptions(out=tmp_path / "pack"))
    weights = tmp_path / "pack" / "autoencoder.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    monkeypatch.setenv("NVG_CACHE", str(tmp_path / "cache"))
    with serving(tmp_path) as server:
        words = ("tokenize", tmp_path, "--tokenizer", f"{server.url}/pack", "--out", "a.vgs")
        code, said = nvgctl(*words, "--dry-run")
    assert code == 1
    assert "pack/autoencoder.safetensors does not match its checksum" in said


def test_a_checkpoint_of_an_unfinished_run(generators: Path, tmp_path: Path) -> None:
    """Samples what the checkpoint does; both kinds of run."""
    for file in generators.glob("content*.safetensors"):
        file.unlink()
    with pytest.raises(InputError, match=r"is unfinished, it holds no content.*--checkpoint 3"):
        pack_run(generators, PackOptions(out=tmp_path / "pack"))
    assert not (tmp_path / "pack").exists()
    pack_run(generators, PackOptions(out=tmp_path / "pack", checkpoint=3))
    for number, words in enumerate(((generators, "--checkpoint", 3), (tmp_path / "pack",))):
        code, said = nvgctl("sample", *words, "-n", 1, "--png", tmp_path / f"{number}.png")
        assert code == 0, said
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_what_cannot_be_packed_is_refused(
    generators: Path, autoencoder: Path, tmp_path: Path
) -> None:
    """Before anything is written: a place that is taken, another tokenizer, no run."""
    taken = PackOptions(out=tmp_path / "runs")
    with pytest.raises(InputError, match="exists: choose another --out"):
        pack_run(generators, taken)
    other = tmp_path / "other"
    write_autoencoder(other, seed=5)
    with pytest.raises(InputError, match=r"other is tokenizer .* name that one"):
        pack_run(generators, PackOptions(out=tmp_path / "pack", tokenizer=other))
    with pytest.raises(InputError, match="--tokenizer is for generators"):
        pack_run(autoencoder, PackOptions(out=tmp_path / "pack", tokenizer=other))
    with pytest.raises(InputError, match="runs holds no detokenizer"):
        pack_run(tmp_path / "runs", PackOptions(out=tmp_path / "pack"))
    assert not (tmp_path / "pack").exists()


def test_an_autoencoder_inside_is_taken_along(
    generators: Path, autoencoder: Path, tmp_path: Path
) -> None:
    """As imported runs have one."""
    shutil.copytree(autoencoder, generators / "autoencoder")
    pack_run(generators, PackOptions(out=tmp_path / "pack"))
    inner = files_below(tmp_path / "pack" / "autoencoder")
    assert set(inner) == {"autoencoder.safetensors", "config.toml", FILES}


@pytest.mark.thorough
def test_generators_are_trained_on_from_a_pack(generators: Path, tmp_path: Path) -> None:
    """By its EMA weights: as from a run whose last weights are these."""
    recipe = load_recipe(generators / "config.toml", (), warn=False)
    store = str(KEPT / "tokens.vgs")
    pack_run(generators, PackOptions(out=tmp_path / "pack"))
    for ema in generators.glob("*-ema.safetensors"):
        shutil.copyfile(ema, ema.with_name(ema.name.replace("-ema", "")))
    for start in (generators, tmp_path / "pack"):
        fit_generator(recipe, store, tmp_path / f"on-{start.name}", None, False, start)
    one, other = (tmp_path / f"on-{name}/content.safetensors" for name in ("generator", "pack"))
    assert one.read_bytes() == other.read_bytes()


def test_a_full_disk_is_work_that_failed(
    generators: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the remedy, which is not --resume; nothing is left, and the same call then does it."""

    def full(*arguments: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.packing.pack.model_card", full)
        with pytest.raises(WorkError, match=r"pack: no space is left .* give the command again"):
            pack_run(generators, PackOptions(out=tmp_path / "pack"))
    assert not list(tmp_path.glob("pack*"))
    pack_run(generators, PackOptions(out=tmp_path / "pack"))
