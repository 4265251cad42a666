"""What processes of tests need, imported and compiled once: `tests/processes.py` forks them of it.

Nothing here may leave a thread behind, which forks would lack; nor import Ray, which reads the
variables of its process when it is imported.
"""

from importlib import import_module

import torch

import nvg.view.curves
from nvg.structure import build_leaves

IMPORTED = [
    *("cli.train", "pipeline.train", "pipeline.sampling.sample", "pipeline.evaluation.sweep"),
    *("lpips", "pytest", "tests.makers"),
    # The first optimizer and the first line of a log import: 2 s in each process otherwise.
    *("torch._dynamo", "torch.distributed.fsdp", "torch.utils.tensorboard"),
    "scipy.linalg",  # numba imports it with the first kernel
    *("pandas", "pyarrow.dataset", "pyarrow.parquet", "requests", "pydantic", "jsonschema"),  # Ray
]

for name in IMPORTED:
    import_module(name)
build_leaves(torch.zeros(1, 4, 2))  # loads the kernels
nvg.view.curves.curves_png = lambda lines: None  # as tests/conftest.py has it
