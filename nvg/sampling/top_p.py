"""Logits to tokens: top-k, top-p and one uniform number a token.

Legend: B image of a batch, n cluster of a stage, V code, k nearest candidate.
"""

import torch
from torch import Tensor

HEAD = 8  # on a CPU first one in so many codes is ordered: a few usually hold the probability
MARGIN = 1e-6  # more than a difference of float32 sums is off


def sample_tokens(logits_BnV: Tensor, top_k: int, p: float, uniform_Bn: Tensor) -> Tensor:
    """`top_p` among the `top_k` likeliest tokens, of all where that is 0. [B, n] int64.

    Of equal logits at the last place, the lowest tokens stay.
    """
    codes = logits_BnV.shape[-1]
    if not 0 < top_k < codes:
        return top_p(logits_BnV, p, uniform_Bn)
    least_Bn1 = logits_BnV.topk(top_k).values[..., -1:]
    share_BnV = logits_BnV.masked_fill(logits_BnV < least_Bn1, -torch.inf).softmax(-1)
    return _pick(*_likeliest(share_BnV, top_k), p, uniform_Bn)


def top_p(logits_BnV: Tensor, p: float, uniform_Bn: Tensor) -> Tensor:
    """Sample from the smallest set of tokens whose probability reaches `p`. [B, n] int64.

    By inverse CDF at `uniform`, so a token depends on the image's own random numbers only.
    """
    share_BnV = logits_BnV.softmax(-1)
    count = share_BnV.shape[-1] // HEAD
    if share_BnV.device.type == "cpu" and count:  # elsewhere the question would wait for the device
        share_Bnk, token_Bnk = _likeliest(share_BnV, count)
        if bool((_before(share_Bnk)[..., -1] >= p + MARGIN).all()):
            return _pick(share_Bnk, token_Bnk, p, uniform_Bn)
    ordered = share_BnV.sort(dim=-1, descending=True, stable=True)
    return _pick(ordered.values, ordered.indices, p, uniform_Bn)


def _likeliest(share_BnV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first of a stable descending sort: probabilities and tokens [B, n, k]."""
    last = share_BnV.shape[-1] - 1
    place_V = torch.arange(last, -1, -1, device=share_BnV.device)
    # The bits of a float32 above its place: no two keys are equal, and topk has no ties to break.
    key_BnV = (share_BnV.view(torch.int32).long() << 32) | place_V
    token_Bnk = last - (key_BnV.topk(count).values & 0xFFFFFFFF)
    return share_BnV.gather(-1, token_Bnk), token_Bnk


def _before(share_Bnk: Tensor) -> Tensor:
    """Probability of all tokens before each, [B, n, k]."""
    return share_Bnk.cumsum(-1) - share_Bnk


def _pick(share_Bnk: Tensor, token_Bnk: Tensor, p: float, uniform_Bn: Tensor) -> Tensor:
    """One of the tokens [B, n, k], in the order of their probabilities, that reach `p`."""
    cdf_Bnk = torch.where(_before(share_Bnk) < p, share_Bnk, 0.0).cumsum(-1)
    target_Bn1 = uniform_Bn.unsqueeze(-1) * cdf_Bnk[..., -1:]
    place_Bn1 = (cdf_Bnk <= target_Bn1).sum(-1, keepdim=True).clamp(max=share_Bnk.shape[-1] - 1)
    return token_Bnk.gather(-1, place_Bn1).squeeze(-1)
