"""Does the server of processes find the project wherever a test stands?"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

FIRST = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.processes import Forked
process = Forked("platform")
print(process.wait(), process.said())
"""


@pytest.mark.thorough
def test_a_server_started_from_another_folder_imports_these_tests(tmp_path: Path) -> None:
    """One folder has a package `tests` of its own, as an installed library may have."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    code = f"if __name__ == '__main__':\n{FIRST}".replace("\n", "\n    ")
    file = tmp_path / "first.py"
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, file, ROOT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("0 "), done.stderr
