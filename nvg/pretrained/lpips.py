"""LPIPS (Zhang et al. 2018): distance of two images in the features of VGG16.

Legend: B image of a batch, D row or column of pixels or of the grid.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nvg.errors import InputError
from nvg.foreign import read_plain
from nvg.pretrained.names import RANDOM, VGG_WEIGHTS, require_vgg
from nvg.weights import misfit

LEAST_SIDE = 16  # pixels that are left something of by VGG16's four poolings


class Perceptual(nn.Module):
    """LPIPS with the library's own heads on a VGG16 from a local file, frozen.

    `vgg` is a file of torchvision's VGG16 weights, or RANDOM. InputError where it cannot be used,
    or images of `side` pixels cannot.
    """

    def __init__(self, vgg: str, side: int) -> None:
        super().__init__()
        if side < LEAST_SIDE:
            raise InputError(
                f"images of {side} pixels are too small for LPIPS: it needs {LEAST_SIDE}"
            )
        require_vgg(vgg)
        if vgg == RANDOM:
            self.distance = _untrained()
        else:
            with _Undrawn():
                self.distance = _untrained()
            _fill(self.distance.net, Path(vgg))
        self.name = "lpips" if vgg != RANDOM else "lpips, VGG16 with random weights"
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Perceptual":
        """Stays in evaluation: the heads hold a dropout."""
        return super().train(False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Distance of each pair [B], from images [B, 3, D, D] in [-1, 1]."""
        found: Tensor = self.distance(images, others)
        return found.flatten(1).mean(1)


class _Undrawn(TorchFunctionMode):
    """Leaves weights as the memory was, for those that a file replaces at once.

    VGG16 has 138 million, most of them in layers that LPIPS drops: to draw them takes a second.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_draw = getattr(func, "__module__", None) == "torch.nn.init"
        return kwargs["tensor"] if is_draw else func(*args, **kwargs)


def _untrained() -> Any:
    """LPIPS around a VGG16 that is the same in every process."""
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # of torchvision's old arguments, which lpips uses
            import lpips

            torch.manual_seed(0)
            return lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    except ImportError:
        raise InputError('LPIPS needs lpips: pip install -e ".[metrics]"') from None


def _fill(network: nn.Module, path: Path) -> None:
    """Put a file's convolutions where LPIPS, which cuts VGG16 in slices, has them."""
    state, own = read_plain(path, VGG_WEIGHTS), network.state_dict()
    names = {f"features.{n.partition('.')[2]}": n for n in own}  # slice3.14.weight is features.14's
    given = {name: state[name] for name in names if isinstance(state.get(name), Tensor)}
    if fault := misfit({name: own[n] for name, n in names.items()}, given):
        raise InputError(f"{path} does not hold {VGG_WEIGHTS}: {fault}")
    network.load_state_dict({names[name]: value for name, value in given.items()})
