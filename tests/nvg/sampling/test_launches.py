"""A batch of samples on a GPU, without one: kernels, copies and waits."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling import graphs
from nvg.sampling.config import SamplerConfig
from nvg.sampling.graphs import Graphed, cast_weights
from nvg.sampling.sampler import Sampler
from tests.nvg.generator.makers import RELEASED, RMS, make_shape
from tests.nvg.launches import Launches, fake_cuda

STEPS, STAGES = 5, 5
CONFIG = SamplerConfig(flow_steps=STEPS)
CASES: list[tuple[SamplerConfig, dict[str, Any]]] = [
    (CONFIG, {}),
    (replace(CONFIG, top_k=5), {}),
    (CONFIG, {"variant": RELEASED, "canvas_rms": RMS}),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("config", "parts"), CASES, ids=["paper", "top-k", "release"])
def test_a_batch_waits_for_nothing(config: SamplerConfig, parts: dict[str, Any]) -> None:
    """One copy takes all noise to the device, one the labels; angles are made once a stage."""
    calls: Counter[str] = Counter()
    with fake_cuda():
        with torch.device("cuda"):
            shape = make_shape(**parts)
            content, structure = ContentGenerator(shape).eval(), StructureGenerator(shape).eval()
            quantizer = MultiGranularityQuantizer(shape.codebook_size, 3, Geometry(4))

        def watch(name: str, layer: nn.Module) -> None:
            layer.register_forward_hook(lambda *_: calls.update([name]))

        for name, model in (("content", content), ("structure", structure)):
            watch(name, model)
            watch(f"{name} angles", model.backbone.rotary)
        batches = Sampler(content, structure, quantizer, config).batches([0, 1, 2], 0)
        with Launches() as launches:
            (made,) = batches
    assert made.canvas.dtype == torch.float32
    assert (launches.copies, launches.waits) == (2, 0)
    assert calls == {
        "content": STAGES,
        "content angles": STAGES,
        "structure": (STAGES - 2) * STEPS,
        "structure angles": STAGES - 2,
    }


class NoGraph:
    """A graph whose replays only count."""

    started: ClassVar[Counter[str]] = Counter()

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        self.started["recorded"] += 1
        return work()

    def replay(self) -> None:
        self.started["replayed"] += 1


@pytest.mark.thorough
def test_a_graphed_batch_starts_a_graph_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm, no network starts a kernel of its own: two graphs for content (stage 0 is unguided),
    one for the velocity; the copies and waits are those of before, none."""
    NoGraph.started.clear()
    monkeypatch.setattr(graphs, "_require_same", lambda found, expected: None)
    counts = {}
    with fake_cuda():
        with torch.device("cuda"):
            shape = make_shape()
            content, structure = ContentGenerator(shape).eval(), StructureGenerator(shape).eval()
            quantizer = MultiGranularityQuantizer(shape.codebook_size, 3, Geometry(4))
        sampler = Sampler(content, structure, quantizer, CONFIG)
        for way in ("plain", "graphs"):
            if way == "graphs":
                for network in (content, structure):
                    cast_weights(network)
                    vars(network)["forward"] = Graphed(network.forward, NoGraph)
                for _ in range(2):
                    list(sampler.batches([0, 1, 2], 0))
                assert NoGraph.started.pop("recorded") == 3
                NoGraph.started.clear()
            with Launches() as launches:
                list(sampler.batches([0, 1, 2], 0))
            assert (launches.copies, launches.waits) == (2, 0)
            counts[way] = launches.count
    passes = STAGES + (STAGES - 2) * STEPS
    assert NoGraph.started == {"replayed": passes}
    print("kernels of a batch:", counts, "and", passes, "graphs")
    assert counts["graphs"] < counts["plain"] / 2  # with one block; the rest is the sampler's own
