"""The runner: what stops a part stops no other, what is done is done once, exit codes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.gpu import runner
from tests.gpu.__main__ import main
from tests.gpu.report import Outcome, Report, Setting, Skipped, read
from tests.gpu.runner import Part, run_all, run_apart, run_here, summary

Body = Callable[[Setting, Report], None]


@dataclass(frozen=True)
class Fake(Part):
    """A part that does what it is given."""

    body: Body = lambda setting, report: None

    def run(self, setting: Setting, report: Report) -> None:
        self.body(setting, report)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(torch.device("cpu"), True, tmp_path)


def install(patch: pytest.MonkeyPatch, **bodies: Body) -> list[str]:
    """Replace all parts; the names, in order."""
    patch.setattr(runner, "PARTS", {name: Fake(name, 10, body) for name, body in bodies.items()})
    return list(bodies)


def fine(setting: Setting, report: Report) -> None:
    report.check("sums", True, "equal")
    report.figure("speed", 3.0, "1/s", at_least=5)


def wrong(setting: Setting, report: Report) -> None:
    report.check("leaves", False, "2 differ")
    report.within("error", float("nan"), 1)


def raises(setting: Setting, report: Report) -> None:
    report.figure("before", 1.0)
    raise RuntimeError("device lost")


def absent(setting: Setting, report: Report) -> None:
    raise Skipped("no such library")


def test_a_part_that_raises_does_not_stop_the_others(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what it measured, and its traceback lies beside; the command fails."""
    names = install(monkeypatch, first=raises, second=fine, third=absent)
    run_all(names, setting, 1, run=run_here)
    rows, code = summary(names, setting.out)
    assert code == 1
    found = [read(name, setting.out) for name in names]
    assert [table and table["outcome"] for table in found] == ["raised", "ok", "skipped"]
    assert found[0]["entries"][0]["value"] == 1.0  # type: ignore[index]
    assert "RuntimeError: device lost" in (setting.out / "first.txt").read_text()
    assert "device lost" in rows[0]
    assert rows[-1] == (
        "1 of 1 checks ok, 0 of 1 targets met; bad parts: first; not at their end: none"
    )


def test_a_false_check_fails_and_a_missed_target_does_not(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN is within no limit."""
    install(monkeypatch, good=fine, bad=wrong)
    run_all(["good"], setting, 1, run=run_here)
    rows, code = summary(["good"], setting.out)
    assert code == 0
    assert "       speed: 3 1/s  (MISSED: >= 5)" in rows
    run_all(["bad"], setting, 1, run=run_here)
    rows, code = summary(["good", "bad"], setting.out)
    assert code == 1
    assert [row for row in rows if row.startswith("  FAIL")] == [
        "  FAIL leaves: 2 differ",
        "  FAIL error: nan, at most 1",
    ]


def test_done_parts_are_skipped_and_others_run_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised ones are tried again; all are at other sizes, or when asked for by name."""
    names = install(monkeypatch, first=raises, second=fine, third=wrong)
    calls: list[str] = []

    def run(part: Part, where: Setting, seconds: float) -> Outcome:
        calls.append(part.name)
        return run_here(part, where, seconds)

    run_all(names, setting, 1, run=run)
    run_all(names, setting, 1, run=run)
    assert calls == ["first", "second", "third", "first"]
    run_all(["second"], setting, 1, again=True, run=run)
    run_all(["third"], Setting(setting.device, False, setting.out), 1, run=run)
    assert calls[4:] == ["second", "third"]


def test_without_time_a_part_is_left_for_the_next_run(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the command does not pass for complete."""
    names = install(monkeypatch, only=fine)
    run_all(names, setting, 0, run=run_here)
    rows, code = summary(names, setting.out)
    assert (code, "no time left" in rows[0]) == (runner.INCOMPLETE, True)
    run_all(names, setting, 1, run=run_here)
    assert summary(names, setting.out)[1] == 0


def test_entries_are_on_disk_at_once(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is killed leaves what it has found, and counts as stopped."""

    def looks(where: Setting, report: Report) -> None:
        report.figure("first", 1.0)
        table = read("looks", where.out)
        assert table
        assert (table["outcome"], len(table["entries"])) == ("stopped", 1)
        assert not report.has_time(20, "second")

    install(monkeypatch, looks=looks)
    assert run_here(runner.PARTS["looks"], setting, 10) is Outcome.OK


def test_a_part_that_takes_too_long_is_killed(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process ends with its time-box; nothing waits for it."""
    monkeypatch.setattr(runner, "START", 0.0)
    assert run_apart(runner.PARTS["device"], setting, 0.05) is Outcome.STOPPED
    assert "device: stopped" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_full_sizes_ask_for_a_gpu(tmp_path: Path) -> None:
    """A CPU would take days."""
    assert main(["--out", str(tmp_path)]) == 2


@pytest.mark.slow
def test_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, as it is typed; the table is in a file too."""
    assert main(["--tiny", "--only", "device", "--out", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "device       ok" in out
    assert (tmp_path / "summary.txt").read_text() in out
