"""The tests that are marked `gpu`, by pytest, where it and what they import are there."""

import subprocess
import sys
from importlib.util import find_spec

from tests.gpu.report import Report, Setting, Skipped
from tests.gpu.runner import ROOT

NEEDED = ("pytest", "hypothesis")
MARK = "pytest.mark.gpu"


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Skipped(f"{', '.join(missing)}: not installed")
    if not setting.is_cuda:
        raise Skipped("no CUDA device: these tests would be skipped")
    files = [p for p in sorted(ROOT.glob("tests/**/test_*.py")) if MARK in p.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    (setting.out / "pytest.txt").write_text(done.stdout + done.stderr)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    report.check("tests marked gpu", done.returncode == 0, f"{last} (pytest.txt)")
