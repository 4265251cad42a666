"""`python -m tests.gpu [--out FOLDER] [--only PART ...] [--tiny]`: is it correct and fast here?

Prints a table at the end. Exit code 1 where a check failed or a part raised, 3 where only time ran
out: called again with the same folder it goes on. A missed target of speed fails nothing.

`python -m tests.gpu train` is the evidence run of `tests/gpu/evidence.py` instead.
"""

import argparse
import sys
from pathlib import Path

from nvg.distributed import default_device
from tests.gpu.report import Setting
from tests.gpu.runner import PARTS, run_all, run_here, summary

MINUTES = 9.0


def main(words: list[str] | None = None) -> int:
    """Run the parts, print the table; the exit code."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["train"]:
        from tests.gpu.evidence import main as train

        return train(words[1:])
    options = _parser().parse_args(words)
    setting = Setting(default_device(), options.tiny, options.out.absolute())
    setting.out.mkdir(parents=True, exist_ok=True)
    if options.here:
        run_here(PARTS[options.here], setting, options.seconds)
        return 0
    if not (setting.is_cuda or setting.tiny):
        print("no CUDA device: on a CPU only --tiny makes sense", file=sys.stderr)
        return 2
    names = options.only or list(PARTS)
    run_all(names, setting, options.minutes, again=bool(options.only))
    rows, code = summary(names, setting.out)
    print("\n".join(rows))
    (setting.out / "summary.txt").write_text("\n".join(rows) + "\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder for the results")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part again, no other")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, for a CPU too")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all parts")
    parser.add_argument("--here", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
