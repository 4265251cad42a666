"""How many encoders of a pass on Ray share a GPU: what its memory holds and the cores can feed."""

from dataclasses import dataclass

import torch

from pipeline.tokenize.chunk import ChunkTokenizer

MOST = 4  # encoders of one GPU; beyond, they only take turns
CORES = 2  # of an encoder: those that decode for it
SPARE = 0.1  # fraction of a GPU's memory for gaps between allocations
CONTEXT = 1 << 30  # bytes of a process beside its tensors: CUDA's context, libraries' workspaces


@dataclass(frozen=True)
class Room:
    """Bytes of a GPU's memory, and those that one encoder takes of it."""

    total: int
    needed: int

    def encoders(self, most: int) -> int:
        """How many have room at once: `most` at most, and one whatever it takes."""
        return max(1, min(most, int((1 - SPARE) * self.total / self.needed)))

    def __str__(self) -> str:
        return f"each takes {self.needed / 2**30:.1f} of {self.total / 2**30:.1f} GiB"


def fed_encoders(cpus: int, gpus: int) -> int:
    """How many encoders a GPU may have for the cores that there are to decode for them."""
    return max(1, min(MOST, cpus // (CORES * gpus)))


@torch.no_grad()
def measured_room(tokenizer: ChunkTokenizer, views: int) -> Room | None:
    """What an encoder takes on the GPU of this process, by one batch; None where there is none."""
    device = tokenizer.device
    if device.type != "cuda":
        return None
    size = tokenizer.model.config.image_size
    shape = (views * tokenizer.batch_size, 3, size, size)
    images = torch.zeros(shape, dtype=torch.uint8, device=device)
    tokenizer.model.latents(images, tokenizer.encode.precision)
    if tokenizer.features:
        tokenizer.features(images)
    taken = torch.cuda.max_memory_reserved(device) + images.nbytes  # the next batch waits there
    return Room(torch.cuda.get_device_properties(device).total_memory, taken + CONTEXT)
