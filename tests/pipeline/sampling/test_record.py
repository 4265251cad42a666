"""The record of a folder of samples: what counts as whole, and what cannot be gone on with."""

import os
from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.sampling.config import SamplerConfig
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.record import RECORD, files_digest, open_record, sample_facts

FACTS = {"seed": 0, "weights": {"of": "ema"}}


def test_batches_count_when_files_are_as_written(tmp_path: Path) -> None:
    """Missing and changed files, and a line cut short, mean that a batch is done again."""
    record = open_record(tmp_path / "a", FACTS, False)
    assert not (tmp_path / "a").exists()  # a start that fails later blocks no other
    record.begin()
    files = [tmp_path / "a" / name for name in ("0.png", "1.png")]
    for path in files:
        path.write_bytes(path.name.encode())
    digest = files_digest(path.read_bytes() for path in files)
    record.add(range(2), digest)
    record.add(range(2, 4), "other")
    with record.path.open("ab") as file:
        file.write(b'{"batch": [4], "files": "x"}\n{"batch": 4, "files": 4}\n[[\n{"batch": 4, "fi')
    again = open_record(tmp_path / "a", FACTS, True)
    assert again.done == {0: digest, 2: "other"}
    again.begin()
    assert record.path.read_bytes().endswith(b"}\n")
    assert again.is_whole(range(2), files)
    assert not again.is_whole(range(2, 4), files)
    assert not again.is_whole(range(4, 6), files)
    files[0].write_bytes(b"changed")
    assert not again.is_whole(range(2), files)
    files[0].unlink()
    assert not again.is_whole(range(2), files)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """One with files of others, with samples of other facts, or without --resume."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"x")
    for resume in (False, True):
        with pytest.raises(InputError, match=r"holds files, and no samples\.jsonl"):
            open_record(tmp_path / "mine", FACTS, resume)
    assert len(list((tmp_path / "mine").iterdir())) == 1
    open_record(tmp_path / "a", FACTS, True).begin()
    with pytest.raises(InputError, match="go on with --resume"):
        open_record(tmp_path / "a", FACTS, False)
    with pytest.raises(InputError, match="seed differs"):
        open_record(tmp_path / "a", FACTS | {"seed": 1}, True)
    (tmp_path / "a" / RECORD).write_bytes(b"")
    with pytest.raises(InputError, match="is no record"):
        open_record(tmp_path / "a", FACTS, True)
    (tmp_path / "a" / RECORD).unlink()
    os.mkfifo(tmp_path / "a" / RECORD)
    with pytest.raises(InputError, match=r"samples\.jsonl is a pipe .*name another --folder"):
        open_record(tmp_path / "a", FACTS, True)


def test_facts_are_all_that_images_depend_on(tmp_path: Path) -> None:
    """Weights, settings, seed, labels, batch size, and what steers."""
    for name in ("content", "detokenizer"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"weights")
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"white")
    options, config = SampleOptions(mask=mask), SamplerConfig()
    facts = [sample_facts(tmp_path, options, config, [0, 1])]
    facts.append(sample_facts(tmp_path, SampleOptions(mask=mask, seed=1), config, [0, 1]))
    facts.append(sample_facts(tmp_path, SampleOptions(mask=mask, batch_size=3), config, [0, 1]))
    facts.append(sample_facts(tmp_path, options, SamplerConfig(top_k=2), [0, 1]))
    facts.append(sample_facts(tmp_path, options, config, [1, 0]))
    mask.write_bytes(b"black")
    facts.append(sample_facts(tmp_path, options, config, [0, 1]))
    (tmp_path / "content.safetensors").write_bytes(b"others")
    facts.append(sample_facts(tmp_path, options, config, [0, 1]))
    assert all(one != other for n, one in enumerate(facts) for other in facts[:n])


def test_facts_hold_the_weights_of_the_checkpoint(tmp_path: Path) -> None:
    """Those that are sampled, not those of the run's end; an optimizer's state does not matter."""
    checkpoint = tmp_path / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    for folder in (tmp_path, checkpoint):
        for name in ("content", "structure", "structure-optimizer", "detokenizer"):
            (folder / f"{name}.safetensors").write_bytes(b"weights")
    options, config = SampleOptions(checkpoint=3), SamplerConfig()
    facts = sample_facts(tmp_path, options, config, [0])
    for name in (
        "content.safetensors",
        "checkpoints/step-00000003/structure-optimizer.safetensors",
    ):
        (tmp_path / name).write_bytes(b"others")
        assert sample_facts(tmp_path, options, config, [0]) == facts
    (checkpoint / "structure.safetensors").write_bytes(b"others")
    assert sample_facts(tmp_path, options, config, [0]) != facts
