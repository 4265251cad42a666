"""Hours of the paper's steps on H100s, from counted operations: an estimate, nothing is run.

`python -m tests.bench scale`. Operations of the generators come from `tests/gpu/formulas.py`. Of
the autoencoder at 256x256: encoder 138 GFLOP and decoder 252 forward; a training step with LPIPS
and the discriminator 1.4 TFLOP an image. The rates below are what such networks reach on an H100
elsewhere, not what this code was measured to reach; several GPUs are taken to scale perfectly.
"""

from nvg.generator.config import GeneratorKind
from pipeline.recipe.presets import PRESETS
from tests.gpu.formulas import forward, training_step
from tests.gpu.materials import paper

IMAGES, VIEWS = 1_281_167, 2
ENCODER, DECODER, AUTOENCODER_STEP = 138e9, 252e9, 1.4e12
AUTOENCODER_IMAGES = 500_000 * 256
ENCODING, CONVOLUTIONS, TRANSFORMERS = 280e12, 250e12, 415e12  # FLOP a second
SAMPLES, GUIDED, FLOW_STEPS = 50_000, 2, 25
CONTENT_STAGES, FLOW_STAGES = 9, 7
GPUS = (1, 8, 64)


def main() -> None:
    """Print the table."""
    print(f"| step | exaFLOP | {' | '.join(f'{count} H100' for count in GPUS)} |")
    print("|---|---|" + "---|" * len(GPUS))
    for name, operations, rate in steps():
        spent = [readable(operations / rate / count) for count in GPUS]
        print(f"| {name} | {operations / 1e18:,.2f} | {' | '.join(spent)} |")


def steps() -> list[tuple[str, float, float]]:
    """Each step of the paper: its name, its operations, and the rate they run at."""
    found = [
        ("autoencoder, 100 epochs", AUTOENCODER_IMAGES * AUTOENCODER_STEP, CONVOLUTIONS),
        ("tokenize ImageNet, centre and flip", IMAGES * VIEWS * ENCODER, ENCODING),
    ]
    for depth in (16, 20, 24):
        sizes, train = paper(depth), PRESETS[f"d{depth}"]["train"]
        operations = train["steps"] * training_step(sizes, train["batch_size"])
        found.append((f"d{depth}, both generators", operations, TRANSFORMERS))
    for depth in (16, 24):
        sizes = paper(depth)
        content = CONTENT_STAGES * forward(sizes, GeneratorKind.CONTENT)
        structure = FLOW_STAGES * FLOW_STEPS * forward(sizes, GeneratorKind.STRUCTURE)
        each = GUIDED * (content + structure) + DECODER
        found.append((f"50,000 samples of d{depth}, 25 Euler steps", SAMPLES * each, TRANSFORMERS))
    return found


def readable(seconds: float) -> str:
    """In the largest unit that leaves more than one."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
