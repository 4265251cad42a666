"""The autoencoder of the authors' release (ae.ckpt) as one of ours.

Their encoder and decoder are the networks of VAR without attention and without outer convolutions;
the quantizer has a phi for each stage. The EMA weights are taken where there are some.
"""

from pathlib import Path

from nvg.choices import ChildOrder, PhiCount, PhiForm
from nvg.foreign import State, quoted, read_tensors, take, weight
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.import_var import child_count, layer_names
from nvg.weights import CheckpointError

EMA = "ema_model."
FIRST_STAGE = "first_stage_model."
KEY = "quantize.embedding.weight"
SKIPPED = ("loss.", "total_visited_codes")


def import_autoencoder(file: Path) -> Autoencoder:
    """The autoencoder of a checkpoint; CheckpointError when the file holds none."""
    return convert(autoencoder_state(read_tensors(file), file), file)


def autoencoder_state(state: State, file: Path) -> State:
    """The part of a checkpoint's tensors that is an autoencoder, names without prefix."""
    if any(name.startswith(("nvgformer.", EMA + "nvgformer.")) for name in state):
        if FIRST_STAGE + KEY not in state:
            raise CheckpointError(f"{file} holds generators, no autoencoder")
        return below(state, FIRST_STAGE)
    if KEY not in state:
        raise CheckpointError(f"{file} is no autoencoder of the release: it has no {KEY}")
    averaged = below(state, EMA)
    return averaged if KEY in averaged else state


def convert(state: State, file: Path) -> Autoencoder:
    """An autoencoder with these weights; CheckpointError naming what does not fit."""
    model = Autoencoder(config_of(state, file))
    names = release_names(model)
    unused = sorted(
        name
        for name in state.keys() - set(names.values())
        if not name.startswith((*SKIPPED, EMA, FIRST_STAGE))
    )
    if unused:
        raise CheckpointError(
            f"{file}: {quoted(unused[0])} has no place in an autoencoder of the release"
        )
    model.load_state_dict(take(state, names, model.state_dict(), file))
    return model.eval()


def config_of(state: State, file: Path) -> AutoencoderConfig:
    """Our shape of it, read off the weights."""
    base = len(weight(state, "encoder.conv_in.conv.weight", 4, file))
    levels = [
        len(weight(state, f"encoder.down.{n}.block.0.conv1.conv.weight", 4, file)) // base
        for n in range(child_count(state, "encoder.down"))
    ]
    codes, channels = weight(state, KEY, 2, file).shape
    phis = child_count(state, "quantize.quant_resi")
    if phis % 2 == 0:
        raise CheckpointError(f"{file}: {phis} phi (quantize.quant_resi) fit no square grid")
    grid = 1 << (phis // 2)
    try:
        return AutoencoderConfig(
            image_size=grid << (len(levels) - 1),
            base_channels=base,
            multipliers=tuple(levels),
            blocks=child_count(state, "encoder.down.0.block"),
            attention=False,
            latent_dim=channels,
            codebook_size=codes,
            phi=PhiForm.RESIDUAL,
            phis=PhiCount.STAGE,
            child_order=ChildOrder.MERGING,
            outer_convs=False,
        )
    except ValueError as error:
        raise CheckpointError(f"{file} is no autoencoder of the release: {error}") from None


def release_names(model: Autoencoder) -> dict[str, str]:
    """The release's name of every weight of ours."""
    found = {"quantizer.codebook": KEY}
    for stage in range(len(model.quantizer.refiners)):
        for part in ("weight", "bias"):
            found[f"quantizer.refiners.{stage}.conv.{part}"] = f"quantize.quant_resi.{stage}.{part}"
    for ours, place, name in layer_names(model):
        *head, part = name.split(".")
        inner = "norm" if "norm" in (head[-1] if head else place) else "conv"
        theirs = ["nin_shortcut" if word == "shortcut" else word for word in head]
        found[ours] = ".".join((place, *theirs, inner, part))
    return found


def below(state: State, prefix: str) -> State:
    """Tensors whose names start with a prefix, by the rest of the name."""
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
