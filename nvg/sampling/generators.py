"""The generators of a run: class labels -> sequences -> images."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from nvg.config import build, parse_toml
from nvg.distributed import default_device
from nvg.errors import InputError, first_line
from nvg.fetch import Use, fetched
from nvg.files import parse_json, read_small, write_atomic
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.config import BATCH, Compile, SamplerConfig
from nvg.sampling.control import Control
from nvg.sampling.graphs import use_graphs
from nvg.sampling.sampler import Sampler, Stage
from nvg.sequence import Sequences
from nvg.store.store import Store
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE, load_detokenizer
from nvg.tokenizer.pictures import Kind, as_kind
from nvg.weights import is_stored, load_weights, read_config, read_header

CLASSES = "classes.json"  # names by class id, in a run directory


@dataclass(frozen=True)
class Generators:
    """Everything that turns class labels into images."""

    content: ContentGenerator
    structure: StructureGenerator
    detokenizer: Detokenizer
    classes: list[str]
    tokenizer: str
    """Fingerprint of the tokenizer they were trained with."""
    batch_size: int = BATCH
    """Images sampled at once; they do not depend on it."""
    settings: SamplerConfig = field(default_factory=SamplerConfig)
    """Those of the run's own recipe."""

    def prepared(self, batch_size: int, compiling: Compile, images: int) -> "Generators":
        """These, to sample so many images, so many at once; compiled in place if that is wanted.

        Block by block: all of a network share one compiled function, so the first batch waits for
        few. The decoder is compiled whole. On a GPU each generator becomes a CUDA graph.
        """
        device = self.detokenizer.quantizer.codebook.device
        if compiling.wants(device.type, images):
            blocks = (model.backbone.blocks for model in (self.content, self.structure))
            for module in (*itertools.chain(*blocks), self.detokenizer.decoder):
                module.compile()
        if compiling.wants_graphs(device.type):
            use_graphs([self.content, self.structure], device)
        return replace(self, batch_size=batch_size)

    def names(self, labels: list[int]) -> list[str]:
        """Class names of ids; "" for no class."""
        return class_names(self.classes, labels)

    def sampler(self, config: SamplerConfig) -> Sampler:
        """The models before the decoder."""
        quantizer = self.detokenizer.quantizer
        assert isinstance(quantizer, MultiGranularityQuantizer)  # no store has another
        child_order = self.detokenizer.config.child_order
        return Sampler(self.content, self.structure, quantizer, config, child_order)

    def batches(
        self, labels: list[int], seed: int, config: SamplerConfig, control: Control | None = None
    ) -> Iterator[tuple[Sequences, torch.Tensor]]:
        """Tokens and images uint8 [B, 3, D, D] of class ids, batch by batch.

        Image i depends on (seed, i) and what `control` gives it, whatever the batch.
        """
        for made in self.sampler(config).batches(labels, seed, control, self.batch_size):
            yield made.sequences, self.detokenizer.render(made.canvas)

    def batch(
        self,
        label_B: torch.Tensor,
        images: range,
        seed: int,
        config: SamplerConfig,
        control: Control | None = None,
    ) -> tuple[Sequences, torch.Tensor]:
        """Tokens and images of one range of the labels [B], as `batches` would give them."""
        made = self.sampler(config).batch(label_B, images, seed, control)
        return made.sequences, self.detokenizer.render(made.canvas)

    def stages(
        self,
        label_B: torch.Tensor,
        images: range,
        seed: int,
        config: SamplerConfig,
        control: Control | None = None,
    ) -> Iterator[Stage]:
        """The same range stage by stage; what is rendered of the last canvas are its images."""
        return self.sampler(config).batch_stages(label_B, images, seed, control)

    def images(
        self, labels: list[int], seed: int, config: SamplerConfig, control: Control | None = None
    ) -> torch.Tensor:
        """The images alone, all at once."""
        return torch.cat([pixels for _, pixels in self.batches(labels, seed, config, control)])

    def sample(
        self,
        labels: Iterable[int | str],
        seed: int = 0,
        kind: str = Kind.PIL,
        control: Control | None = None,
        **settings: Any,
    ) -> Any:
        """Pictures of classes, named or numbered, as a `Kind`: a list of Pillow's by default.

        By the run's settings of sampling, but for those that are given: `top_p=0.9`.
        """
        ids = [found for label in labels for found in class_ids(self.classes, [str(label)])]
        if not ids:
            raise ValueError("no class is given: name one for each image")
        return as_kind(self.images(ids, seed, replace(self.settings, **settings), control), kind)


def load_generators(
    run: str | Path,
    checkpoints: Mapping[GeneratorKind, Path] | None = None,
    raw: bool = False,
    device: torch.device | None = None,
) -> Generators:
    """The generators of a finished run, or of the run's checkpoint that is named for each.

    The run may be at a URL, from which it is fetched once (`nvg.fetch`).
    The EMA weights where there are some, unless `raw`. On the accelerator, if any,
    unless a device is named. InputError when a part is missing or does not belong.
    """
    run = fetched(run, Use.GENERATORS)
    folders = checkpoints or dict.fromkeys(GeneratorKind, run)
    wanted = [weights_file(folders[part], part, raw) for part in GeneratorKind]
    for path in (*wanted, run / DETOKENIZER_FILE):
        if not is_stored(path):
            raise _missing(path, run)
    device, classes = device or default_device(), read_classes(run)
    models = {}
    for part, path in zip(GeneratorKind, wanted, strict=True):
        shape = read_config(GeneratorShape, path)
        if shape.classes != len(classes):
            raise InputError(
                f"{path} knows {shape.classes} classes, {run / CLASSES} {len(classes)}: train both "
                "generators on one store"
            )
        model = build_generator(part, shape)
        load_weights(model, path)
        models[part] = model.to(device).eval()
        if not checkpoints:
            _check_tokenizer(path, run / DETOKENIZER_FILE)
    content, structure = models[GeneratorKind.CONTENT], models[GeneratorKind.STRUCTURE]
    assert isinstance(content, ContentGenerator)
    assert isinstance(structure, StructureGenerator)
    detokenizer = load_detokenizer(run / DETOKENIZER_FILE).to(device)
    identity = str(read_header(run / DETOKENIZER_FILE).get("tokenizer", ""))
    settings = read_settings(run)
    return Generators(content, structure, detokenizer, classes, identity, settings=settings)


def weights_file(folder: Path, part: GeneratorKind, raw: bool = False) -> Path:
    """Where the EMA weights of a generator are, or with `raw`, and where there are none, its last.

    InputError for last weights where a packed run has left them out.
    """
    plain, ema = (folder / f"{part.value}{suffix}.safetensors" for suffix in ("", "-ema"))
    if not raw:
        return ema if is_stored(ema) else plain
    if is_stored(ema) and not is_stored(plain):
        raise InputError(f"{folder} holds EMA weights alone: leave out --weights raw")
    return plain


def read_settings(run: Path) -> SamplerConfig:
    """The section [sample] of a run's recipe; the defaults where there is none."""
    if not (recipe := run / "config.toml").exists():
        return SamplerConfig()
    try:
        table = parse_toml(read_small(recipe).decode())
        return build(SamplerConfig, table.get("sample", {}))
    except (OSError, ValueError) as error:
        raise InputError(f"{recipe} is damaged ({first_line(error)}): restore it") from None


def read_classes(run: Path) -> list[str]:
    """Names by class id of a run; InputError where it has none."""
    if not (run / CLASSES).exists():
        raise _missing(run / CLASSES, run)
    return class_list(run / CLASSES)


def class_list(file: Path) -> list[str]:
    """The names in a file of classes; InputError for other content."""
    try:
        names = parse_json(read_small(file))
    except (OSError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{file} is damaged: it must be a JSON list of names; restore it")
    return names


def class_names(classes: list[str], labels: list[int]) -> list[str]:
    """Names of class ids; "" for no class."""
    return [classes[label] if label >= 0 else "" for label in labels]


def class_ids(classes: list[str], wanted: list[str]) -> list[int]:
    """Ids of classes; all when none is named, -1 where there are none.

    A class is named by name or number; `1,2` and `0-3` name several, where no class is called so.
    """
    if not wanted:
        return list(range(len(classes))) or [-1]
    by_name = {name: number for number, name in reversed(list(enumerate(classes)))}
    return [found for name in wanted for found in _ids_of(name, by_name, classes)]


def _ids_of(name: str, by_name: dict[str, int], classes: list[str]) -> list[int]:
    if name in by_name:
        return [by_name[name]]
    if name.isdecimal() and int(name) < len(classes):
        return [int(name)]
    if "," in name:
        parts = [part.strip() for part in name.split(",")]
        return [found for part in parts if part for found in _ids_of(part, by_name, classes)]
    first, _, last = name.partition("-")
    if first.isdecimal() and last.isdecimal() and int(first) <= int(last) < len(classes):
        return list(range(int(first), int(last) + 1))
    known = ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")
    raise InputError(f"unknown class {name!r}: there are {len(classes)} ({known})")


def _missing(path: Path, run: Path) -> InputError:
    if kept := sorted((run / "checkpoints").glob(f"**/step-*/{path.name}")):
        return InputError(
            f"{path.parent} holds no {path.name}: finish it with `nvgctl train generator ... --out "
            f"{run} --resume`, or name a checkpoint, such as {kept[-1].parent}"
        )
    return InputError(
        f"{path.parent} holds no {path.name}: train it with `nvgctl train generator ... "
        f"--out {run}`"
    )


def _check_tokenizer(generator: Path, detokenizer: Path) -> None:
    wanted, found = (
        str(read_header(path).get("tokenizer", "")) for path in (generator, detokenizer)
    )
    if wanted != found:
        raise InputError(
            f"{generator} was trained on tokens of tokenizer {wanted[:12]}, but {detokenizer} is "
            f"{found[:12]}: train both generators on one store"
        )


def save_decoder(directory: Path, store: Store) -> None:
    """Copy the detokenizer and the class names of a store into a run."""
    write_atomic(directory / DETOKENIZER_FILE, store.read(DETOKENIZER_FILE))
    write_atomic(directory / CLASSES, json.dumps(store.manifest.classes).encode())
