"""Codewords that no residual has chosen for long are put where residuals are.

Legend: V codeword, C latent channel, R residual, T token.
"""

import torch
from torch import Tensor

from nvg.residual import Quantized


class DeadCodes:
    """Counts for each codeword the steps since it was chosen; `patience` 0 leaves all alone."""

    def __init__(self, codebook_size: int, patience: int, where: torch.device) -> None:
        self.patience = patience
        self.idle = torch.zeros(codebook_size, dtype=torch.int64, device=where)

    @torch.no_grad()
    def revive(
        self, quantized: Quantized, codebook: Tensor, optimizer: torch.optim.Optimizer
    ) -> Tensor:
        """Count a step; move what has been idle for `patience` steps. How many were moved.

        A moved codeword becomes a residual of this batch, drawn at random, without momentum.
        """
        self.idle += 1
        self.idle[quantized.content.unique()] = 0
        if not self.patience or not codebook.requires_grad:
            return self.idle.new_zeros(())
        is_dead = self.idle >= self.patience
        drawn = torch.randint(len(quantized.means), (len(codebook),)).to(codebook.device)
        codebook.copy_(torch.where(is_dead.unsqueeze(1), quantized.means[drawn], codebook))
        for name, value in optimizer.state[codebook].items():
            if name != "step":
                value.masked_fill_(is_dead.unsqueeze(1), 0)
        self.idle.masked_fill_(is_dead, 0)
        return is_dead.sum()
