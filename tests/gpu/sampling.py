"""Milliseconds an image of sampling and decoding at 256x256, guided, with random d16 weights.

Cost does not depend on the weights. Content alone is given the structure of every stage.
"""

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from nvg.generator.config import GeneratorKind
from nvg.sampling import graphs
from nvg.sampling.config import Compile, SamplerConfig, Solver
from nvg.sampling.control import Control
from nvg.sampling.generators import Generators
from nvg.tokenizer.autoencoder import Detokenizer
from tests.gpu.materials import autoencoder_config, generators, random_store, sizes_of
from tests.gpu.report import Report, Setting
from tests.gpu.timing import peak_gib, reset_peak, seconds
from tests.nvg.sampling.host_graph import HostGraph

BATCHES, TINY_BATCHES = (64, 16, 1), (2, 1)
COUNTED = 64  # the batch that the targets are for
WAYS = {
    "content only": None,
    "1 midpoint step": SamplerConfig(flow_steps=1, solver=Solver.MIDPOINT),
    "4 Euler steps": SamplerConfig(flow_steps=4),
    "25 Euler steps": SamplerConfig(flow_steps=25),
}
MOST_MS = {"content only": 5.0, "1 midpoint step": 6.5, "25 Euler steps": 26.0}
SAME_PIXELS = 0.99  # a graph starts the same kernels; libraries may choose others beside a stream
COMPILING = 30  # seconds that are worth beginning to compile for


def run(setting: Setting, report: Report) -> None:
    """Eager, by CUDA graphs, then compiled, by graphs too, which the targets are for."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = sizes_of(setting)
        store = random_store(Path(folder), sizes, 4)
        models = {
            part: model.to(setting.device) for part, model in generators(sizes, store).items()
        }
    content, structure = (models[part] for part in GeneratorKind)
    detokenizer = Detokenizer(autoencoder_config(setting)).to(setting.device).eval()
    classes = [str(number) for number in range(sizes.classes)]
    ours = Generators(content, structure, detokenizer, classes, "")  # type: ignore[arg-type]
    batches = TINY_BATCHES if setting.tiny else BATCHES
    _eager(setting, report, ours, batches)
    _graphed(setting, report, ours, batches)
    if not setting.is_cuda:
        report.note("compiled: only on CUDA")
    elif report.has_time(COMPILING, "compiled"):
        compiled = ours.prepared(COUNTED, Compile.ON, COUNTED)
        for way in WAYS:
            if report.has_time(3, f"compiled, {way}"):
                _measure(setting, report, compiled, way, COUNTED, "compiled, graphs")
        _recorded(report, compiled, "compiled")
    _var(setting, report)


def _eager(setting: Setting, report: Report, ours: Generators, batches: tuple[int, ...]) -> None:
    for batch in batches:
        for way in WAYS:
            if report.has_time(4, f"eager, {way}, B = {batch}"):
                _measure(setting, report, ours, way, batch, "eager")


def _graphed(setting: Setting, report: Report, ours: Generators, batches: tuple[int, ...]) -> None:
    """The same by CUDA graphs, without compiling: equal images, and what each batch size gains.

    On a CPU, which has none, by a stand-in.
    """
    config = SamplerConfig(flow_steps=2)
    labels = [number % len(ours.classes) for number in range(max(batches))]
    own = replace(ours, batch_size=max(batches))
    expected = own.images(labels, 0, config)
    with ExitStack() as stack:
        if not setting.is_cuda:
            stack.enter_context(patch.object(graphs, "CudaGraph", HostGraph))
        graphs.use_graphs([own.content, own.structure], setting.device)
        for _ in range(2):
            own.images(labels, 0, config)
        found = own.images(labels, 0, config)
        if _recorded(report, own, "graphs"):
            same = (found == expected).double().mean()
            report.check("graphs: pixels as eager", bool(same >= SAME_PIXELS), f"{float(same):.4f}")
        for batch in batches:
            for way in WAYS:
                if report.has_time(4, f"graphs, {way}, B = {batch}"):
                    _measure(setting, report, own, way, batch, "graphs")
        for network in (own.content, own.structure):
            graphs.drop_graphs(network)


def _recorded(report: Report, ours: Generators, kind: str) -> bool:
    """Whether both networks are replayed as graphs; else a note says why they are not."""
    refused = set()
    for part, network in (("content", ours.content), ("structure", ours.structure)):
        made = vars(network)["forward"]
        report.figure(f"{kind}: graphs of {part}", float(len(made.recorded)))
        refused |= {made.refused} - {""}
    for reason in refused:
        report.note(f"{kind}: CUDA graphs are not used: {reason}")
    report.check(f"{kind}: could be recorded", not refused, "; ".join(refused))
    return not refused


def _measure(
    setting: Setting, report: Report, ours: Generators, way: str, batch: int, kind: str
) -> None:
    """One figure; a target where there is one for this batch."""
    config, control = WAYS[way], None
    if config is None:
        geometry = ours.detokenizer.config.geometry
        leaves = torch.arange(geometry.positions, device=setting.device).expand(batch, -1)
        config, control = SamplerConfig(), Control(leaves, structure_stages=geometry.stages)
    labels = [number % len(ours.classes) for number in range(batch)]
    own = replace(ours, batch_size=batch)
    reset_peak(setting.device)
    rounds = 2 if way == "25 Euler steps" else 3
    taken = seconds(lambda: own.images(labels, 0, config, control), setting.device, rounds)
    most = MOST_MS.get(way) if batch == COUNTED and not setting.tiny else None
    report.figure(f"{kind}, {way}, B = {batch}", 1000 * taken / batch, "ms an image", at_most=most)
    if batch == COUNTED:
        report.figure(f"{kind}, {way}, peak memory", peak_gib(setting.device), "GiB")


def _var(setting: Setting, report: Report) -> None:
    """VAR of the same depth, where VAR_CHECKOUT names a checkout of its code."""
    if not os.environ.get("VAR_CHECKOUT") or setting.tiny:
        report.note("VAR-d16: VAR_CHECKOUT names no checkout of its code")
        return
    from tests.bench.sample import var_sampler

    for batch in BATCHES:
        found = var_sampler(16, batch, setting.device)
        if found and report.has_time(5, f"VAR-d16, B = {batch}"):
            taken = seconds(found[1], setting.device, 3)
            report.figure(f"VAR-d16, B = {batch}", 1000 * taken / batch, "ms an image")
