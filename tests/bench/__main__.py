"""`python -m tests.bench [NAME ...]`: all benchmarks, or the named ones."""

import sys

from tests.bench import (
    builders,
    choices,
    control,
    images,
    loader,
    memory,
    nearest,
    object_store,
    precision,
    rows,
    sample,
    save,
    scale,
    solvers,
    stages,
    step,
    stream,
    structure,
    studio,
    tokenize,
    train,
    view,
)

BENCHMARKS = {
    "structure": structure.main,
    "nearest": nearest.main,
    "builders": builders.main,
    "step": step.main,
    "memory": memory.main,
    "save": save.main,
    "images": images.main,
    "tokenize": tokenize.main,
    "object_store": object_store.main,
    "precision": precision.main,
    "train": train.main,
    "stages": stages.main,
    "rows": rows.main,
    "loader": loader.main,
    "stream": stream.main,
    "view": view.main,
    "sample": sample.main,
    "studio": studio.main,
    "scale": scale.main,
    "solvers": solvers.main,  # of the demo's digits, as the next
    "control": control.main,
    "choices": choices.main,  # about 90 minutes
}


def main() -> None:
    """Run the benchmarks named on the command line; all of them without a name."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    for name in names:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
