"""Builders of small real things that the tests share: recipes, image folders, weights, stores."""

import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from nvg.generator.backbone import TransformerConfig
from nvg.geometry import Geometry, canonical
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.guidance import SamplerConfig
from nvg.store import Store
from nvg.store.feature_codec import FeatureCodec, fit_codec
from nvg.store.format import CODEC, FEATURES, Arrays
from nvg.store.layout import create_store
from nvg.structure import build_leaves
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.generator.config import GeneratorConfig, GeneratorTraining
from nvg.weights import fingerprint, weights_bytes
from pipeline.images.crops import Crops
from pipeline.images.decode import cut
from pipeline.recipe import AutoencoderSection, DataConfig, Recipe, SourceKind, TokenizeConfig
from pipeline.sources import Row

CLASSES = ("ant", "bee", "cat")


def tiny_model(grid: int = 4, codebook_size: int = 16) -> AutoencoderConfig:
    """The smallest tokenizer that has every part: 8x8 images, a 4x4 grid, 31 tokens."""
    return AutoencoderConfig(
        image_size=2 * grid,
        base_channels=8,
        multipliers=(1, 2),
        blocks=1,
        attention=False,
        latent_dim=4,
        codebook_size=codebook_size,
    )


def tiny_recipe(path: Path | str = "", **overrides: Any) -> Recipe:
    """A recipe of minimal sizes over the image folder `path`; `overrides` replace sections."""
    shape = TransformerConfig(depth=1, width=64, heads=1)
    sections: dict[str, Any] = {
        "data": DataConfig(source=SourceKind.FOLDER, path=str(path)),
        "autoencoder": AutoencoderSection(
            model=tiny_model(),
            train=AutoencoderTraining(steps=4, batch_size=4, warmup=1, checkpoint_every=2),
        ),
        "generator": GeneratorConfig(
            content=shape,
            structure=shape,
            train=GeneratorTraining(steps=4, batch_size=4, warmup=1, checkpoint_every=2),
        ),
        "tokenize": TokenizeConfig(chunk_rows=4, batch_size=3),
        "sample": SamplerConfig(flow_steps=2),
    }
    return Recipe(**sections | overrides)


def smooth_image(rng: np.random.Generator, size: int) -> Image.Image:
    """A random picture without hard edges: 4x4 random colours, enlarged."""
    colours = rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((size, size), Image.Resampling.BICUBIC)


def write_image_folder(
    path: Path,
    classes: Sequence[str] = CLASSES,
    per_class: int = 4,
    size: int = 16,
    seed: int = 0,
) -> list[str]:
    """Write <class>/<number>.png or .jpg in turn, size x size; returns the keys, sorted."""
    rng = np.random.default_rng(seed)
    keys = []
    for name in classes:
        (path / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            keys.append(f"{name}/{number:03d}.{'jpg' if number % 2 else 'png'}")
            smooth_image(rng, size).save(path / keys[-1])
    return sorted(keys)


def tiny_autoencoder(seed: int = 0, config: AutoencoderConfig | None = None) -> Autoencoder:
    """An untrained autoencoder in eval mode, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(config or tiny_model()).eval()


def write_autoencoder(
    path: Path, seed: int = 0, config: AutoencoderConfig | None = None
) -> Autoencoder:
    """Save an untrained autoencoder as the run directory `path`; returns the model."""
    model = tiny_autoencoder(seed, config)
    path.mkdir(parents=True, exist_ok=True)
    data = weights_bytes(model.state_dict(), model.config)
    (path / "autoencoder.safetensors").write_bytes(data)
    return model


def random_leaves(rng: np.random.Generator, shape: tuple[int, ...], grid: int) -> Any:
    """Valid leaves [*shape, N] of random hierarchies in the stored dtype, as a numpy array."""
    geometry = Geometry(grid)
    permutations = rng.permuted(
        np.broadcast_to(np.arange(geometry.positions), (*shape, geometry.positions)), axis=-1
    )
    kind = np.uint8 if geometry.positions <= 256 else np.uint16
    return canonical(torch.from_numpy(permutations)).numpy().astype(kind)


def normal_latents(rng: np.random.Generator, size: int, channels: int) -> Any:
    """Ordinary latents [N, C] of one image, as a float32 numpy array."""
    return rng.normal(size=(size, channels)).astype(np.float32)


def quantizer_case(
    grid: int, channels: int = 4, codes: int = 24, batch: int = 2, seed: int = 0
) -> tuple[MultiGranularityQuantizer, torch.Tensor, torch.Tensor]:
    """A quantiser with a random codebook, and random latents with greedy leaves."""
    generator = torch.Generator().manual_seed(seed)
    quantizer = MultiGranularityQuantizer(codes, channels, Geometry(grid))
    with torch.no_grad():
        for parameter in quantizer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    latents_BNC = torch.randn(batch, grid * grid, channels, generator=generator)
    return quantizer, latents_BNC, build_leaves(latents_BNC)


def store_files(model: Autoencoder) -> dict[str, bytes]:
    """The two weights files that every store carries."""
    facts = {"tokenizer": fingerprint(model)}
    whole = model.state_dict()
    decoding = {name: weight for name, weight in whole.items() if not name.startswith("encoder.")}
    return {
        "tokenizer.safetensors": weights_bytes(model.quantizer.state_dict(), model.config, **facts),
        "detokenizer.safetensors": weights_bytes(decoding, model.config, **facts),
    }


def empty_store(
    path: Path | str,
    rows: int,
    views: int = 1,
    *,
    grid: int = 4,
    chunk_rows: int = 4,
    codebook_size: int = 16,
    classes: Sequence[str] = CLASSES,
    codec: FeatureCodec | None = None,
) -> Store:
    """A store without any chunk yet, with the weights of an untrained tokenizer.

    With a codec it also has room for features.
    """
    model = tiny_autoencoder(0, tiny_model(grid, codebook_size))
    manifest = {
        "grid": grid,
        "K": Geometry(grid).K,
        "codebook_size": codebook_size,
        "latent_dim": model.config.latent_dim,
        "builder": "greedy",
        "rows": rows,
        "chunk_rows": chunk_rows,
        "views": ["center", "flip"][:views],
        "image_size": model.config.image_size,
        "preprocessing": "adm-center-crop",
        "classes": list(classes),
        "source": "0" * 64,
        "tokenizer": fingerprint(model),
        "recipe": {},
        "versions": {},
    }
    files = store_files(model)
    if codec:
        manifest[FEATURES] = {"model": "none", "sha256": "0" * 64, **vars(codec.shape)}
        files[CODEC] = codec.to_bytes()
    return create_store(str(path), manifest, files)


def random_arrays(store: Store, seed: int = 0, bad: Collection[int] = ()) -> Arrays:
    """Random valid leaves, content, label, and features where kept; zeros in the `bad` rows."""
    rng = np.random.default_rng(seed)
    facts, geometry = store.manifest, store.geometry
    shape = (len(store), len(facts["views"]))
    content = rng.integers(facts["codebook_size"], size=(*shape, geometry.tokens), dtype=np.uint16)
    leaves = random_leaves(rng, shape, geometry.grid)
    leaves[list(bad)], content[list(bad)] = 0, 0
    label = rng.integers(len(facts["classes"]), size=len(store), dtype=np.int32)
    arrays = {"leaves": leaves, "content": content, "label": label}
    if FEATURES in store.arrays:
        shape = (*leaves.shape, facts[FEATURES]["dims"])
        arrays[FEATURES] = rng.integers(256, size=shape, dtype=np.uint8)
        arrays[FEATURES][list(bad)] = 0
    return arrays


def index_table(store: Store, arrays: Arrays, bad: Collection[int] = ()) -> pa.Table:
    """The index that belongs to `random_arrays`: row n has the key image-n and is 16x16."""
    rows = range(len(store))
    label = arrays["label"].tolist()
    error = [1.0 / (stage + 1) for stage in range(store.geometry.stages)]
    return pa.table(
        {
            "row": pa.array(rows, pa.int64()),
            "key": [f"image-{row}" for row in rows],
            "label": pa.array(label, pa.int32()),
            "class": [store.manifest["classes"][number] for number in label],
            "width": pa.array([16] * len(store), pa.int32()),
            "height": pa.array([16] * len(store), pa.int32()),
            "status": ["error" if row in bad else "ok" for row in rows],
            "reason": ["not an image" if row in bad else "" for row in rows],
            "stage_error": pa.array(
                [None if row in bad else error for row in rows], pa.list_(pa.float32())
            ),
        }
    )


def write_rows(store: Store, chunk: int, arrays: Arrays, index: pa.Table) -> None:
    """Write one chunk of a store from the arrays and the index of all its rows."""
    rows = store.chunk_slice(chunk)
    part = {name: values[rows] for name, values in arrays.items()}
    store.write_chunk(chunk, part, index.slice(rows.start, rows.stop - rows.start))


def random_codec(width: int = 12, dims: int = 3) -> FeatureCodec:
    """A codec fitted to random features, some of whose channels vary more than others."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(3, 0.1, width)
    return fit_codec(scale * torch.randn(40 * dims, width, generator=generator), dims)


def make_store(
    path: Path | str,
    rows: int = 10,
    views: int = 1,
    *,
    seed: int = 0,
    bad: Collection[int] = (),
    **sizes: Any,
) -> Store:
    """A finished store of random rows; the `bad` ones are error rows; `sizes` as empty_store."""
    store = empty_store(path, rows, views, **sizes)
    arrays = random_arrays(store, seed, bad)
    index = index_table(store, arrays, bad)
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index)
    store.finish()
    return store


def files_below(path: Path | str) -> dict[str, bytes]:
    """Every file of a local directory by its relative path."""
    root = Path(path)
    files = (file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


class Listed:
    """A source of given bytes: the key of each row is its number."""

    def __init__(self, *files: bytes | OSError) -> None:
        self.files = files
        self.classes = ["only"]
        self.rows = [Row(str(number), 0) for number in range(len(files))]

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """The given bytes."""
        return (self.files[int(key)] for key in keys)

    def fingerprint(self) -> str:
        """One for all."""
        return "listed"


def image_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(size: int = 24, seed: int = 0) -> Image.Image:
    """A smooth RGB picture."""
    return smooth_image(np.random.default_rng(seed), size)


def center_crop(image: Image.Image, size: int) -> Any:
    """The centre view of a picture, uint8 [3, size, size]."""
    return cut(image, Crops(size).windows(*image.size, ""), size)[0]
