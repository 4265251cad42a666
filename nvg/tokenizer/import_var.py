"""VAR's published tokenizer (vae_ch160v4096z32.pth) as an autoencoder of ours.

Encoder, decoder, codebook and phi are the same networks under other names; only the pyramid
between them differs, and is then fine-tuned to granularity.
"""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from nvg.foreign import read_plain
from nvg.quantizer.residual import PHIS
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import Decoder, Encoder
from nvg.weights import CheckpointError

GRID = 16  # what the published weights were trained for: 256 pixels
SUB_NAMES = {"shortcut": "nin_shortcut", "out": "proj_out"}  # ours -> theirs, where they differ

State = dict[str, Tensor]


def import_var(file: Path) -> Autoencoder:
    """The autoencoder of a checkpoint of VAR's; CheckpointError when the file is none."""
    state = read_plain(file, "VAR's tokenizer")
    if "quantize.embedding.weight" not in state:
        raise CheckpointError(f"{file} is not VAR's tokenizer: it has no quantize.embedding.weight")
    return convert(state)


def convert(state: State) -> Autoencoder:
    """An autoencoder with the weights of VAR's VQVAE; CheckpointError naming what does not fit."""
    model = Autoencoder(config_of(state))
    found = {ours: state.get(theirs) for ours, theirs in names(model).items()}
    for name, value in model.state_dict().items():
        given = found.get(name)
        if given is None or given.shape != value.shape:
            shape = "missing" if given is None else f"of shape {tuple(given.shape)}"
            raise CheckpointError(
                f"VAR's {names(model).get(name)} is {shape}, {tuple(value.shape)} is needed"
            )
    model.load_state_dict({name: value for name, value in found.items() if value is not None})
    return model.eval()


def config_of(state: State) -> AutoencoderConfig:
    """Our shape of it, read off the weights."""
    try:
        base = len(state["encoder.conv_in.weight"])
        levels = [
            len(state[f"encoder.down.{n}.block.0.conv1.weight"]) // base
            for n in range(child_count(state, "encoder.down"))
        ]
        codes, channels = state["quantize.embedding.weight"].shape
        return AutoencoderConfig(
            image_size=GRID << (len(levels) - 1),
            base_channels=base,
            multipliers=tuple(levels),
            blocks=child_count(state, "encoder.down.0.block"),
            attention="encoder.mid.attn_1.qkv.weight" in state,
            latent_dim=channels,
            codebook_size=codes,
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"not VAR's tokenizer: {error}") from None


def names(model: Autoencoder) -> dict[str, str]:
    """VAR's name of every weight of ours."""
    found = {
        "quantizer.codebook": "quantize.embedding.weight",
        **_renamed("encoder.to_latent", "quant_conv", model.encoder.to_latent),
        **_renamed("decoder.from_canvas", "post_quant_conv", model.decoder.from_canvas),
    }
    for n in range(PHIS):
        theirs = f"quantize.quant_resi.qresi_ls.{n}"
        found |= _renamed(f"quantizer.refiners.{n}.conv", theirs, nn.Conv2d(1, 1, 1))
    for ours, place, name in layer_names(model):
        head, *rest = name.split(".")
        found[ours] = ".".join((place, SUB_NAMES.get(head, head), *rest))
    return found


def layer_names(model: Autoencoder) -> Iterator[tuple[str, str, str]]:
    """(our name, VAR's place of the layer, name in the layer) of every weight between the outer
    convolutions."""
    config = model.config
    parts = (("encoder", model.encoder, _down(config)), ("decoder", model.decoder, _up(config)))
    for part, network, places in parts:
        for (number, layer), place in zip(_learnt(network), places, strict=True):
            for name in layer.state_dict():
                yield f"{part}.layers.{number}.{name}", f"{part}.{place}", name


def _learnt(network: Encoder | Decoder) -> Iterator[tuple[int, nn.Module]]:
    """Layers that have weights, in order, with their numbers."""
    return (pair for pair in enumerate(network.layers) if any(True for _ in pair[1].parameters()))


def _down(config: AutoencoderConfig) -> Iterator[str]:
    """VAR's places of an encoder's layers, in order."""
    last = len(config.multipliers) - 1
    yield "conv_in"
    for level in range(last + 1):
        for block in range(config.blocks):
            yield f"down.{level}.block.{block}"
            if level == last and config.attention:
                yield f"down.{level}.attn.{block}"
        if level < last:
            yield f"down.{level}.downsample"
    yield from _middle(config)
    yield from ("norm_out", "conv_out")


def _up(config: AutoencoderConfig) -> Iterator[str]:
    """VAR's places of a decoder's layers, in order."""
    last = len(config.multipliers) - 1
    yield "conv_in"
    yield from _middle(config)
    for level in reversed(range(last + 1)):
        for block in range(config.blocks + 1):
            yield f"up.{level}.block.{block}"
            if level == last and config.attention:
                yield f"up.{level}.attn.{block}"
        if level:
            yield f"up.{level}.upsample"
    yield from ("norm_out", "conv_out")


def _middle(config: AutoencoderConfig) -> Iterator[str]:
    yield "mid.block_1"
    if config.attention:
        yield "mid.attn_1"
    yield "mid.block_2"


def _renamed(ours: str, theirs: str, layer: nn.Module) -> dict[str, str]:
    """Names of one layer's weights."""
    found = {}
    for name in layer.state_dict():
        head, *rest = name.split(".")
        found[f"{ours}.{name}"] = ".".join((theirs, SUB_NAMES.get(head, head), *rest))
    return found


def child_count(state: State, prefix: str) -> int:
    """How many numbered children a name has."""
    starts = (name.removeprefix(f"{prefix}.") for name in state if name.startswith(f"{prefix}."))
    return len({start.split(".")[0] for start in starts})
