"""Checkpoints of other projects: tensors are read, nothing is run, foreign files are refused."""

import os
import pickle
import sys
import zipfile
from collections import defaultdict
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nvg.foreign import quoted, read_tensors, take, weight
from nvg.weights import CheckpointError


class Trainer:
    """What a trainer might leave beside the weights."""

    def __init__(self) -> None:
        self.path = "here"
        self.lines = ["a"]


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> type[Trainer]:
    """The class as if a module of the trainer had it, which is not installed here."""
    module = ModuleType("pytorch_lightning.callbacks")
    monkeypatch.setitem(sys.modules, "pytorch_lightning", ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", module)
    monkeypatch.setattr(Trainer, "__module__", "pytorch_lightning.callbacks")
    monkeypatch.setattr(module, "Trainer", Trainer, raising=False)
    return Trainer


def test_tensors_are_found_beside_a_trainers_objects(
    tmp_path: Path, lightning: type[Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, parameters, shared storage, half precision; the objects are not made."""
    whole = torch.arange(6.0)
    state = {
        "a": whole.view(2, 3),
        "b": whole[2:4],
        "c": torch.nn.Parameter(torch.ones(2)),
        "d": torch.ones(3, dtype=torch.bfloat16),
        "note": "text",
    }
    callbacks = {
        "x": lightning(),
        "path": Path("y"),
        "size": torch.Size([1]),
        "type": torch.float16,
    }
    checkpoint = {"state_dict": state, "epoch": 3, "callbacks": callbacks}
    torch.save(checkpoint, tmp_path / "x.ckpt")
    monkeypatch.delitem(sys.modules, "pytorch_lightning.callbacks")
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    found = read_tensors(tmp_path / "x.ckpt")
    assert sorted(found) == ["a", "b", "c", "d"]
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [2, 3]
    assert found["c"].tolist() == [1, 1]
    assert found["d"].dtype is torch.bfloat16


def test_code_is_not_run(tmp_path: Path) -> None:
    """A command in the pickle is named, and leaves no trace."""
    trace = tmp_path / "trace"
    checkpoint = {"state_dict": {"a": torch.ones(1)}, "x": Code(f"touch {trace}")}
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt cannot be imported: it holds code \(posix"):
        read_tensors(tmp_path / "x.ckpt")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__"])
def test_builtins_that_act_are_code(tmp_path: Path, name: str) -> None:
    """Only plain values are known."""
    data = b"\x80\x02cbuiltins\n" + name.encode() + b"\n."
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
        archive.writestr("x/data.pkl", data)
        archive.writestr("x/version", "3\n")
        archive.writestr("x/byteorder", "little")
    with pytest.raises(CheckpointError, match=f"it holds code \\(builtins.{name}\\)"):
        read_tensors(tmp_path / "x.ckpt")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """Nothing there, a folder, text, a bare pickle, one cut short, compressed, without tensors."""
    torch.save({"state_dict": {"a": torch.ones(1000)}}, tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    (tmp_path / "folder.ckpt").mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("no weights")
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": {"a": 1}}, tmp_path / "empty.ckpt")
    old = {"_use_new_zipfile_serialization": False}
    torch.save({"a": torch.ones(1)}, tmp_path / "old.ckpt", **old)
    torch.save([torch.ones(1)], tmp_path / "list.ckpt")
    source = zipfile.ZipFile(tmp_path / "whole.ckpt")
    with zipfile.ZipFile(tmp_path / "small.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in source.infolist():
            archive.writestr(entry.filename, source.read(entry))
    source.close()
    for name, words in (
        ("none", "cannot be read: No such file"),
        ("folder", "cannot be read: Is a directory"),
        ("text", "is a text file, not the weights"),
        ("bare", "no zip archive, as torch.save writes, or it is cut short"),
        ("cut", "is cut short, an archive without its end"),
        ("other", "it is a safetensors file: name the checkpoint that was published"),
        ("old", "a file of before PyTorch 1.6 must be saved anew"),
        ("small", "entries are compressed"),
        ("empty", "no state_dict with tensors"),
        ("list", "no state_dict with tensors"),
    ):
        with pytest.raises(CheckpointError, match=words):
            read_tensors(tmp_path / f"{name}.ckpt")


def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    """A stride of 0 stands for any size."""
    torch.save({"state_dict": {"a": torch.ones(1).expand(1 << 40)}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="a is larger than the file"):
        read_tensors(tmp_path / "x.ckpt")


def test_torchscript_is_code(tmp_path: Path) -> None:
    """Loading such an archive would run it."""
    for entry in ("constants.pkl", "code/__torch__.py"):
        torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "x.ckpt")
        with zipfile.ZipFile(tmp_path / "x.ckpt", "a") as archive:
            archive.writestr(f"x/{entry}", "")
        with pytest.raises(CheckpointError, match=r"holds code \(TorchScript\)"):
            read_tensors(tmp_path / "x.ckpt")


def test_what_a_trainer_saves_as_hyper_parameters_is_skipped(tmp_path: Path) -> None:
    """Containers, numbers, dates and functions by name: nothing of them is made."""
    extras: tuple[Any, ...] = (
        defaultdict(list),
        np.float64(1.5),
        b"bytes",
        datetime(2025, 1, 1),
        partial(print, "x"),
        range(3),
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.1),
    )
    torch.save(
        {"state_dict": {"a": torch.ones(2)}, "hyper_parameters": extras}, tmp_path / "x.ckpt"
    )
    assert read_tensors(tmp_path / "x.ckpt")["a"].tolist() == [1, 1]


def test_only_plain_finite_weights_are_taken(tmp_path: Path) -> None:
    """Named with what is wrong."""
    state = {
        "whole": torch.ones(2, dtype=torch.int64),
        "sparse": torch.ones(2).to_sparse(),
        "nan": torch.tensor([1.0, float("nan")]),
        "scalar": torch.tensor(1.0),
        "none": torch.ones(0),
        "good": torch.ones(2),
    }
    for name, words in (
        ("whole", "no plain tensor of floating point"),
        ("sparse", "no plain tensor of floating point"),
        ("nan", "holds NaN or Inf"),
        ("scalar", "not of rank 1"),
        ("none", "not of rank 1"),
        ("other", "other is missing"),
    ):
        with pytest.raises(CheckpointError, match=words):
            weight(state, name, 1, tmp_path)
    assert weight(state, "good", 1, tmp_path) is state["good"]


def test_foreign_names_stay_on_one_line() -> None:
    """Control characters are escaped, long ones cut."""
    assert quoted("a\n\x1b[31m\0b") == r"a\n\x1b[31m\x00b"
    assert len(quoted("x" * 1000)) < 100


def test_tensors_are_taken_by_name_and_shape(tmp_path: Path) -> None:
    """Copied, in the model's precision."""
    state = {"theirs": torch.ones(2, dtype=torch.float16)}
    found = take(state, {"ours": "theirs"}, {"ours": torch.zeros(2)}, tmp_path)
    assert found["ours"].dtype is torch.float32
    for own, words in ((torch.zeros(3), r"is \(2,\), not \(3,\)"), (torch.zeros(2), "is missing")):
        names = {"ours": "theirs" if own.numel() == 3 else "other"}
        with pytest.raises(CheckpointError, match=words):
            take(state, names, {"ours": own}, tmp_path)
