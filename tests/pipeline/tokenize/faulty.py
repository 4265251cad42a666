"""`nvgctl`, after a file that an interpreter would read first: see test_poison.py."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    _, file, *words = sys.argv
    sys.path.insert(0, str(Path(file).parent))  # for the interpreters that it starts
    runpy.run_path(file)
    sys.argv = ["nvgctl", *words]
    runpy.run_module("cli.app", run_name="__main__", alter_sys=True)
