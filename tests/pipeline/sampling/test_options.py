"""What the options of sampling exclude; the verb's own tests have the rest."""

from pathlib import Path

import pytest

from nvg.errors import InputError
from pipeline.sampling.options import SampleOptions


def test_what_belongs_together(tmp_path: Path) -> None:
    """--resume needs a folder."""
    SampleOptions(folder=tmp_path, resume=True).check()
    with pytest.raises(InputError, match="--resume goes on with the files of a --folder"):
        SampleOptions(npz=tmp_path / "a.npz", resume=True).check()
    with pytest.raises(InputError, match="both name a step"):
        SampleOptions(checkpoint=4, weights="best").check()
    with pytest.raises(InputError, match="--device is for one process"):
        SampleOptions(device="cpu", workers=2).check()
    with pytest.raises(InputError, match="names no format that is written"):
        SampleOptions(png=tmp_path / "a.txt").check()


def test_short_options_are_settings() -> None:
    """After those of --set, so that they win; all that is not default is told apart."""
    options = SampleOptions(settings=["sample.top_p=1"], cfg_scale=2.0, top_p=0.5, steps=3)
    assert options.overrides == [
        "sample.top_p=1",
        "sample.content_guidance=2.0",
        "sample.top_p=0.5",
        "sample.flow_steps=3",
    ]
    assert SampleOptions(seed=3, number=2, label=["cat"]).others == {}
    assert options.others == {"settings": options.overrides}
    assert SampleOptions(weights="raw", checkpoint=4).others == {"checkpoint": 4, "weights": "raw"}


def test_paths_hold_in_any_folder() -> None:
    """For workers that run elsewhere; a row of a store keeps its number, an address its place."""
    options = SampleOptions(folder=Path("a"), reference="b/x.vgs:3", mask=Path("m.png")).absolute()
    assert options.folder == Path.cwd() / "a"
    assert options.mask == Path.cwd() / "m.png"
    assert options.reference == str(Path.cwd() / "b" / "x.vgs:3")
    assert options.tokenizer is None
    remote = SampleOptions(reference="s3://bucket/x.vgs:3").absolute()
    assert remote.reference == "s3://bucket/x.vgs:3"
