"""Structure in few steps: solvers and steps against the default, 25 Euler steps, on digits.

Quality is the classifier accuracy on the generated digits, the agreement of the sampled hierarchy
with the one found in the image again (its chance is in brackets), and the coherence of the sampled
one (that of real digits is in brackets).
"""

import time
from dataclasses import replace

import torch

from nvg.sampling.config import Solver
from nvg.store import open_store
from nvg.tokenizer.autoencoder import from_pixels
from tests.bench.agreement import chance, coherence, pair_agreement
from tests.bench.digits import Digits
from tests.bench.measure import machine

EACH, SEED, SHOWN_STAGE = 50, 11, 2
CASES = [
    (Solver.EULER, 25),
    (Solver.EULER, 8),
    (Solver.EULER, 4),
    (Solver.EULER, 2),
    (Solver.EULER, 1),
    (Solver.MIDPOINT, 4),
    (Solver.MIDPOINT, 2),
    (Solver.MIDPOINT, 1),
    (Solver.HEUN, 4),
    (Solver.HEUN, 2),
]


def main() -> None:
    """Print the table."""
    digits = Digits()
    geometry = digits.autoencoder.config.geometry
    by_chance = chance(geometry)[SHOWN_STAGE]
    print(f"solvers: {10 * EACH} digits a row; {machine()}")
    real = torch.from_numpy(open_store(digits.store).leaves[:].astype("int64")).flatten(0, 1)
    coherent = float(coherence(real, geometry)[SHOWN_STAGE])
    print(
        f"  solver    steps  calls       accuracy  agreement ({by_chance:.2f})"
        f"  coherence ({coherent:.2f})  seconds  of first"
    )
    first = None
    for solver, steps in CASES:
        config = replace(digits.recipe.sample, solver=solver, flow_steps=steps)
        began = time.perf_counter()
        batches = list(digits.generators.batches(digits.labels(EACH), SEED, config))
        seconds = time.perf_counter() - began
        first = first or seconds
        pixels = torch.cat([images for _, images in batches])
        sampled = torch.cat([made.leaves for made, _ in batches]).long()
        with torch.no_grad():
            found = digits.autoencoder.leaves(
                digits.autoencoder.encoder(from_pixels(pixels))
            ).long()
        agreed = float(pair_agreement(sampled, found, geometry)[:, SHOWN_STAGE].mean())
        calls = steps * (1 if solver is Solver.EULER else 2)
        print(
            f"  {solver.value:9} {steps:5d}  {calls:5d}  {digits.accuracy(pixels, EACH):13.1%}"
            f"  {agreed:16.3f}  {float(coherence(sampled, geometry)[SHOWN_STAGE]):16.3f}"
            f"  {seconds:7.1f}  {seconds / first:8.2f}"
        )
