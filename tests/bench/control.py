"""What control does, in numbers, on the demo's digits (Fig. 8 as a curve).

Variation: standard deviation over samples of one class, as a share of that of free samples, when
the first stages of a reference are kept. Agreement: of the given map with the hierarchy found
in the sample again; the baseline is chance.
"""

import torch

from nvg.sampling.control import Condition, Control, condition_on_stages
from nvg.sequence import Sequences
from nvg.store import open_store
from nvg.tokenizer.autoencoder import from_pixels
from pipeline.sampling.references import load_reference
from tests.bench.agreement import chance, pair_agreement
from tests.bench.digits import Digits
from tests.bench.measure import machine

REFERENCES, EACH, SEED = 12, 16, 5


def main() -> None:
    """Print both curves, for the reference's own class and for another."""
    digits = Digits()
    geometry = digits.autoencoder.config.geometry
    store = open_store(digits.store)
    rows = store.ok_rows()[:: len(store) // REFERENCES][:REFERENCES].tolist()
    print(f"control: {len(rows)} references x {EACH} samples; {machine()}")
    for name, shift in (("own class", 0), ("another class", 1)):
        print(f"  {name}: variation by stages kept, share of free samples")
        for what in Condition:
            curve = []
            for stages in range(1, geometry.stages + 1):
                kept = free = 0.0
                for row in rows:
                    label = (int(store.label[row]) + shift) % 10
                    reference = _reference(digits, row)
                    control = condition_on_stages(reference, geometry, what, stages, EACH)
                    kept += _variation(digits, label, control)
                    free += _variation(digits, label, None)
                curve.append(kept / free)
            print(f"    {what.value:9} " + " ".join(f"{value:5.2f}" for value in curve))
    agreed = torch.zeros(geometry.stages, dtype=torch.float64)
    for row in rows:
        reference = _reference(digits, row)
        control = condition_on_stages(
            reference, geometry, Condition.STRUCTURE, geometry.stages, EACH
        )
        pixels = digits.generators.images(
            [int(store.label[row])] * EACH, SEED, digits.recipe.sample, control
        )
        with torch.no_grad():
            found = digits.autoencoder.leaves(
                digits.autoencoder.encoder(from_pixels(pixels))
            ).long()
        given = reference.leaves.long().expand(EACH, -1)
        agreed += pair_agreement(given, found, geometry).mean(0) / len(rows)
    print("  agreement by stage: of samples with the given map, of the reference rebuilt, chance")
    print("    given     " + " ".join(f"{value:5.2f}" for value in agreed.tolist()))
    with torch.no_grad():
        again = _rebuilt_agreement(digits, rows)
    print("    rebuilt   " + " ".join(f"{value:5.2f}" for value in again))
    print("    chance    " + " ".join(f"{value:5.2f}" for value in chance(geometry)))


def _reference(digits: Digits, row: int) -> Sequences:
    return load_reference(f"{digits.store}:{row}", digits.generators.tokenizer, None)


def _rebuilt_agreement(digits: Digits, rows: list[int]) -> list[float]:
    """What a perfect sampler could reach: the references through decoder and encoder."""
    geometry = digits.autoencoder.config.geometry
    whole = Sequences.join([_reference(digits, row) for row in rows])
    leaves = whole.leaves
    pixels = digits.generators.detokenizer.decode(whole.content, leaves)
    found = digits.autoencoder.leaves(digits.autoencoder.encoder(from_pixels(pixels))).long()
    return pair_agreement(leaves, found, geometry).mean(0).tolist()


def _variation(digits: Digits, label: int, control: Control | None) -> float:
    """Mean standard deviation of a pixel over samples."""
    pixels = digits.generators.images([label] * EACH, SEED, digits.recipe.sample, control)
    return float(pixels.float().std(0).mean())
