"""Search for the nearest code (Eq. 4): one answer, whatever computes it.

Legend: M vector of a flat list, V code, C channel, b block of codes.

Every backend ranks codes in float32 with a bound on its error, and lets float64 decide where
that bound leaves a choice. So all agree with an exhaustive float64 search: the lowest index on
ties.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nvg.backend import Backend, choose_backend
from nvg.faiss_search import neighbours
from nvg.kernels.jit import over_slices
from nvg.kernels.nearest import BLOCK, OUT_OF_REACH, search
from nvg.kernels.scan import TILE
from nvg.precision import Part, numbers

SCORES = 1 << 22  # entries of a score matrix held at once on a CPU ...
GPU_SCORES = 1 << 28  # ... and on a GPU (1 GiB)
TIE_SCORES = 1 << 20  # ... and of a float64 one
ROUNDING = 2.0**-24  # of float32, which the products below compute in


def nearest_code(vectors: Tensor, codebook: Tensor, backend: str = Backend.AUTO) -> Tensor:
    """Index int64 [M] of the codebook row [V, C] nearest to each vector [M, C]; lowest on ties.

    ValueError for shapes that do not fit.
    """
    if vectors.ndim != 2 or codebook.ndim != 2 or vectors.shape[1] != codebook.shape[1]:
        raise ValueError(
            f"vectors {tuple(vectors.shape)} and codebook {tuple(codebook.shape)} do not fit: "
            "[M, C] and [V, C] are needed"
        )
    method = choose_backend(backend, vectors)
    with torch.no_grad(), numbers(Part.QUANTIZER, vectors.device):
        if vectors.dtype == torch.float64 or codebook.dtype == torch.float64:
            return _exhaustive(vectors, codebook)
        found: Tensor = _METHODS[method](vectors.detach().float(), codebook.detach().float())
        return found


def compile_search(codebook: Tensor) -> None:
    """Search once for a code [V, C], so that the kernel of a CPU is compiled; in any thread."""
    if choose_backend(Backend.AUTO, codebook) is Backend.NUMBA:
        _numba(codebook[:1].float(), codebook.float())


def _numba(vectors_MC: Tensor, codebook_VC: Tensor) -> Tensor:
    size, channels = codebook_VC.shape
    padded_VC = F.pad(codebook_VC, (0, -channels % TILE, 0, -size % BLOCK)).cpu()
    blocks_bCV = padded_VC.view(-1, BLOCK, padded_VC.shape[1]).mT.contiguous().numpy()
    square_V = codebook_VC.double().square().sum(1).cpu()
    half_bV = np.full(blocks_bCV.shape[::2], OUT_OF_REACH)
    half_bV.ravel()[:size] = square_V / 2
    vectors, nearest = vectors_MC.contiguous().cpu().numpy(), np.empty(len(vectors_MC), np.int64)
    codebook = blocks_bCV, half_bV, size, float(square_V.max())
    over_slices(lambda m: search(vectors[m], *codebook, nearest[m]), len(nearest))
    return torch.from_numpy(nearest).to(vectors_MC.device)


def _torch(vectors_MC: Tensor, codebook_VC: Tensor) -> Tensor:
    """One matrix product per part; a second pass counts the codes within the error."""
    half_V = codebook_VC.square().sum(1) / 2
    error_M = _error(vectors_MC, codebook_VC)
    rows = max(1, (GPU_SCORES if vectors_MC.is_cuda else SCORES) // len(codebook_VC))
    nearest, is_open = [], []
    for part_MC, part_M in zip(vectors_MC.split(rows), error_M.split(rows), strict=True):
        score_MV = torch.addmm(half_V, part_MC, codebook_VC.T, alpha=-1)
        least_M, index_M = score_MV.min(1)
        close_MV = score_MV <= (least_M + 2 * part_M).unsqueeze(1)
        nearest.append(index_M)
        is_open.append(close_MV.sum(1) != 1)
    return _decide(torch.cat(nearest), torch.cat(is_open), vectors_MC, codebook_VC)


def _faiss(vectors_MC: Tensor, codebook_VC: Tensor) -> Tensor:
    """The two nearest from FAISS: the second tells whether the first is certain."""
    if len(codebook_VC) == 1:
        return torch.zeros(len(vectors_MC), dtype=torch.int64, device=vectors_MC.device)
    square_M2, index_M2 = neighbours(vectors_MC, codebook_VC, 2)
    gap_M = square_M2[:, 1] - square_M2[:, 0]
    is_open_M = ~(gap_M > 4 * _error(vectors_MC, codebook_VC))
    return _decide(index_M2[:, 0], is_open_M, vectors_MC, codebook_VC)


def _error(vectors_MC: Tensor, codebook_VC: Tensor) -> Tensor:
    """Bound on the error of half a squared distance found as |v|^2/2 + |c|^2/2 - v.c."""
    top = codebook_VC.square().sum(1).amax()
    return (2 * vectors_MC.shape[1] + 16) * ROUNDING * (vectors_MC.square().sum(1) + top)


def _decide(
    nearest_M: Tensor, is_open_M: Tensor, vectors_MC: Tensor, codebook_VC: Tensor
) -> Tensor:
    """`nearest_M`, with the open ones searched for in float64."""
    (row_m,) = torch.nonzero(is_open_M, as_tuple=True)
    if len(row_m):
        nearest_M[row_m] = _exhaustive(vectors_MC[row_m], codebook_VC)
    return nearest_M


def _exhaustive(vectors_MC: Tensor, codebook_VC: Tensor) -> Tensor:
    """The definition: least float64 sum of squared differences, channels added in order."""
    rows = max(1, TIE_SCORES // len(codebook_VC))
    code_CV = codebook_VC.double().T.contiguous()
    found = []
    for part_MC in vectors_MC.double().split(rows):
        square_MV = torch.zeros(
            len(part_MC), len(codebook_VC), dtype=torch.float64, device=part_MC.device
        )
        for value_M, code_V in zip(part_MC.T, code_CV, strict=True):
            square_MV += (value_M.unsqueeze(1) - code_V).square_()
        found.append(square_MV.argmin(1))
    return torch.cat(found)


_METHODS = {Backend.NUMBA: _numba, Backend.TORCH: _torch, Backend.FAISS: _faiss}
