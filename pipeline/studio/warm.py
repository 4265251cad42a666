"""What an uploaded photo needs of the compiler, ahead of the first one.

Kernels of structure and of the nearest code are compiled on their first call, which takes seconds
where no earlier process has left machine code, and would hold up every request behind that photo.
"""

import contextlib
from threading import Thread

import torch

from nvg.errors import InputError
from nvg.quantizer.nearest import compile_search
from nvg.structure import takes_segments
from nvg.tokenizer.autoencoder import Autoencoder
from pipeline.studio.models import Models


def warm_beside(models: Models) -> Thread | None:
    """Compile in a thread of its own, beside requests; None where there is nothing to compile.

    That is where no photo can come, and on a GPU: it needs no kernel, and a second thread on it
    would spoil a CUDA graph that the worker records.
    """
    if models.tokenizer is None or models.tokenizer.quantizer.codebook.device.type != "cpu":
        return None
    thread = Thread(target=warm, args=(models.tokenizer,), name="studio-warm", daemon=True)
    thread.start()
    return thread


def warm(model: Autoencoder) -> None:
    """Call every kernel of `Autoencoder.tokenize` once, on latents of noise.

    No network computes and no switch of torch is touched: those are the worker's alone.
    """
    with contextlib.suppress(InputError):  # of a builder that is not to be had: an upload says so
        if not takes_segments(model.config.builder):
            device, geometry = model.quantizer.codebook.device, model.config.geometry
            noise = torch.Generator(device).manual_seed(0)
            size = (1, geometry.positions, model.config.latent_dim)
            model.leaves(torch.randn(size, device=device, generator=noise))
    compile_search(model.quantizer.codebook.detach())
