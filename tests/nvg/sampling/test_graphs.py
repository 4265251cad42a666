"""Forward passes as CUDA graphs: by stand-ins for a graph, and on tensors of a GPU without one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind
from nvg.generator.generator import Generator
from nvg.generator.layers import OutputLinear
from nvg.precision import Part, numbers, weights_cast_anew
from nvg.sampling import graphs
from nvg.sampling.config import SamplerConfig, Solver
from nvg.sampling.generators import Generators, load_generators
from nvg.sampling.graphs import MOST, CudaGraph, Graphed, cast_weights, drop_graphs, use_graphs
from tests.nvg.generator.makers import RELEASED, RMS, make_shape, randomize
from tests.nvg.launches import Launches, fake_cuda
from tests.nvg.sampling.host_graph import HostGraph
from tests.nvg.sampling.makers import write_run

CUDA = torch.device("cuda")
NO_ANGLES = (torch.zeros(1), torch.zeros(1))


def noting(notes: list[str]) -> Callable[..., Tensor]:
    """A forward pass that adds its inputs up, and notes that it ran."""

    def forward(*inputs: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        notes.append("forward")
        return torch.stack([each.float().sum() for each in (*inputs, *angles)]).sum().reshape(1)

    return forward


def test_a_shape_that_comes_again_is_recorded_then_replayed() -> None:
    """Once by itself, once more and recorded, then the graph alone, on the inputs of each call."""
    notes: list[str] = []
    graphed = Graphed(noting(notes), lambda: HostGraph(notes=notes))
    found = []
    for value in range(4):
        notes.append(f"call {value}")
        found.append(graphed(torch.full((3,), float(value)), angles=NO_ANGLES))
    assert notes == [
        *("call 0", "forward"),
        *("call 1", "forward", "record", "forward", "replay", "forward"),
        *("call 2", "replay", "forward"),
        *("call 3", "replay", "forward"),
    ]
    assert [float(each) for each in found] == [0, 3, 6, 9]  # no call has written over another's


def test_every_batch_size_has_a_graph_of_its_own() -> None:
    """Up to a number of them; other sizes run as before."""
    notes: list[str] = []
    graphed = Graphed(noting(notes), lambda: HostGraph(notes=notes))
    for size in range(1, MOST + 3):
        for _ in range(3):
            assert float(graphed(torch.ones(size), angles=NO_ANGLES)) == size
    assert len(graphed.recorded) == MOST == notes.count("record")


@pytest.mark.parametrize("fault", ["record", "numbers", "not a number"])
def test_what_cannot_be_recorded_runs_on(caplog: pytest.LogCaptureFixture, fault: str) -> None:
    """One line says why; nothing is recorded any more, and all outputs are right."""

    class Faulty(HostGraph):
        def record(self, work: Callable[[], Tensor]) -> Tensor:
            if fault == "record":
                try:
                    raise RuntimeError("operation not permitted\nwhen stream is capturing")
                finally:
                    raise RuntimeError("capture was invalidated")
            return super().record(work)

        def replay(self) -> None:
            self.output.fill_(torch.nan if fault == "not a number" else 1e6)

    notes: list[str] = []
    graphed = Graphed(noting(notes), lambda: Faulty(notes=notes))
    for size in (3, 4):
        for value in range(3):
            assert (
                float(graphed(torch.full((size,), float(value)), angles=NO_ANGLES)) == size * value
            )
    (line,) = caplog.messages
    assert line.startswith("CUDA graphs are not used, sampling goes on without")
    assert "\n" not in line
    assert ("not permitted" if fault == "record" else "a replay differs") in line
    assert not graphed.recorded


def test_a_graph_is_recorded_after_a_run_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that CUDA asks for: streams wait for each other, then the work is captured."""
    notes: list[str] = []

    class Stream:
        def __init__(self, name: str = "beside") -> None:
            self.name = name

        def wait_stream(self, other: "Stream") -> None:
            notes.append(f"{self.name} waits for {other.name}")

    class Recorder:
        def replay(self) -> None:
            notes.append("replay")

    @contextmanager
    def entered(what: Any, pool: Any = None, capture_error_mode: str = "") -> Iterator[None]:
        name = f"recording, pool {pool}, {capture_error_mode}"
        name = what.name if isinstance(what, Stream) else name
        notes.append(f"enter {name}")
        yield
        notes.append(f"leave {name}")

    for name, stand_in in {
        "CUDAGraph": Recorder,
        "Stream": Stream,
        "current_stream": lambda: Stream("current"),
        "stream": entered,
        "graph": entered,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    output = torch.ones(1)
    graph = CudaGraph(pool=7)

    def work() -> Tensor:
        notes.append("work")
        return output

    assert graph.record(work) is output
    graph.replay()
    assert notes == [
        "beside waits for current",
        *("enter beside", "work", "leave beside"),
        "current waits for beside",
        "enter recording, pool 7, thread_local",
        "work",
        "leave recording, pool 7, thread_local",
        "replay",
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    return write_run(tmp_path_factory.mktemp("graphs"))


def graphed_on_host(generators: Generators, notes: list[str]) -> None:
    """Both networks by graphs that this machine replays."""
    for network in (generators.content, generators.structure):
        vars(network)["forward"] = Graphed(network.forward, lambda: HostGraph(notes=notes))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "config",
    [
        SamplerConfig(flow_steps=3),
        SamplerConfig(flow_steps=2, solver=Solver.HEUN, structure_guidance=1.0),
        SamplerConfig(flow_steps=1, solver=Solver.MIDPOINT, content_guidance=1.0),
    ],
    ids=["euler", "heun without guidance", "midpoint"],
)
def test_graphs_sample_the_same(run: Path, config: SamplerConfig) -> None:
    """To the bit, over batches of two sizes; without guidance an output is kept for later."""
    labels, notes = [0, 2, 1, 0, 3, 1, 2], list[str]()
    generators = replace(load_generators(run), batch_size=3)
    expected = generators.images(labels, 5, config)
    graphed_on_host(generators, notes)
    assert torch.equal(generators.images(labels, 5, config), expected)
    assert notes.count("replay") > 3 * notes.count("record") > 0
    drop_graphs(generators.content)
    drop_graphs(generators.structure)
    before = len(notes)
    assert torch.equal(generators.images(labels, 5, config), expected)
    assert len(notes) == before


def test_networks_get_graphs_once(run: Path) -> None:
    """Prepared again, as after they were compiled, they begin anew from their own forward pass."""
    content = load_generators(run).content
    own = content.forward
    for _ in range(2):
        use_graphs([content], torch.device("cpu"))
        graphed = vars(content)["forward"]
        assert isinstance(graphed, Graphed)
        assert graphed.forward == own
    drop_graphs(content)
    assert content.forward == own


def test_only_what_autocast_casts_is_cast() -> None:
    """Linears but those of float32; the output under autocast is the same to the bit."""
    model = build_generator(GeneratorKind.CONTENT, make_shape())
    randomize(model)
    given = inputs(model, torch.device("cpu"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = model(*given)
        cast_weights(model)
        assert torch.equal(model(*given), expected)
    kinds: dict[type[nn.Module], set[torch.dtype]] = {}
    for layer in model.modules():
        kinds.setdefault(type(layer), set()).update(p.dtype for p in layer.parameters(False))
    assert kinds[nn.Linear] == {torch.bfloat16}
    for kind in (OutputLinear, nn.Embedding, nn.RMSNorm):
        assert kinds[kind] == {torch.float32}, kind


def inputs(
    model: Generator, device: torch.device, batch: int = 2, channels: int = 3
) -> list[Tensor]:
    """What a forward pass gets, but the angles."""
    positions, K = model.backbone.geometry.positions, model.backbone.geometry.K
    canvas_BNC = torch.randn(batch, positions, channels, device=device)
    embedding_BNK = torch.ones(batch, positions, K, dtype=torch.int64, device=device)
    label_B = torch.zeros(batch, dtype=torch.int64, device=device)
    rest = [canvas_BNC, embedding_BNK, label_B, torch.ones_like(label_B)]
    if model.__class__.__name__ == "ContentGenerator":
        return rest
    noisy_BNK = torch.randn(batch, positions, K, device=device)
    return [noisy_BNK, torch.rand(batch, device=device), *rest]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "parts", [{}, {"variant": RELEASED, "canvas_rms": RMS}], ids=["paper", "release"]
)
@pytest.mark.parametrize("part", list(GeneratorKind))
def test_what_is_recorded_asks_the_host_for_nothing(
    part: GeneratorKind, parts: dict[str, Any]
) -> None:
    """No copy from the host and no wait, which no graph may hold; and no cast of a weight."""
    with fake_cuda(), torch.no_grad():
        with CUDA:
            plain, cast = (build_generator(part, make_shape(**parts)).eval() for _ in range(2))
        cast_weights(cast)
        given = inputs(plain, CUDA)
        angles = plain.angles_of(given[-3])  # type: ignore[operator]
        with numbers(Part.BLOCKS, CUDA):
            plain(*given, angles=angles)  # autocast casts the weights, and keeps them
            with Launches() as kept:
                plain(*given, angles=angles)
        with numbers(Part.BLOCKS, CUDA), weights_cast_anew(), Launches() as recorded:
            cast(*given, angles=angles)
    assert (recorded.copies, recorded.waits) == (0, 0)
    assert recorded.kernels == kept.kernels


def test_the_cache_of_autocast_comes_back() -> None:
    """As it was, also inside."""
    before = torch.is_autocast_cache_enabled()
    with weights_cast_anew():
        assert not torch.is_autocast_cache_enabled()
        with weights_cast_anew():
            pass
        assert not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled() == before


def test_a_first_replay_may_round_otherwise() -> None:
    """By no more than a hundredth; an output of zeros is met by zeros."""
    graphs._require_same(torch.tensor([1.0, 2.001]), torch.tensor([1.0, 2.0]))
    graphs._require_same(torch.zeros(2), torch.zeros(2))
    with pytest.raises(RuntimeError, match=r"differs from the network by 0\.22"):
        graphs._require_same(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]))
