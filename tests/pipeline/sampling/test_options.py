"""What the options of sampling exclude; the verb's own tests have the rest."""

from pathlib import Path

import pytest

from nvg.errors import InputError
from pipeline.sampling.options import SampleOptions


def test_what_belongs_together(tmp_path: Path) -> None:
    """--resume needs a folder, --address workers."""
    SampleOptions(folder=tmp_path, resume=True).check()
    SampleOptions(folder=tmp_path, workers=2, address="auto").check()
    with pytest.raises(InputError, match="--resume goes on with the files of a --folder"):
        SampleOptions(npz=tmp_path / "a.npz", resume=True).check()
    with pytest.raises(InputError, match="say how many"):
        SampleOptions(folder=tmp_path, address="auto").check()
    with pytest.raises(InputError, match="nothing to write"):
        SampleOptions().check()


def test_paths_hold_in_any_folder() -> None:
    """For workers that run elsewhere; a row of a store keeps its number, an address its place."""
    options = SampleOptions(folder=Path("a"), reference="b/x.vgs:3", mask=Path("m.png")).absolute()
    assert options.folder == Path.cwd() / "a"
    assert options.mask == Path.cwd() / "m.png"
    assert options.reference == str(Path.cwd() / "b" / "x.vgs:3")
    assert options.tokenizer is None
    remote = SampleOptions(reference="s3://bucket/x.vgs:3").absolute()
    assert remote.reference == "s3://bucket/x.vgs:3"
