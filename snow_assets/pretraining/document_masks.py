"""Attention within documents or repositories of a packed sequence.

The borders follow from the special tokens of the packed forms (`packing`): END_OF_TEXT ends a
document or, in packs with repository tokens, a repository, whose files FILE_SEP separates.
OLMo-core takes the lengths between borders as `doc_lens`, and restarts the rotary positions at
each; its attention under a mask needs flash-attention, so `DocumentAttention` masks torch's.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from olmo_core.distributed.utils import unhide_from_torch
from olmo_core.nn.attention import Attention as AttentionModule
from olmo_core.nn.attention.backend import TorchAttentionBackend
from tokenizers import Tokenizer
from torch import Tensor, nn

from snow_assets.curation.tokenizer.tokens import END_OF_TEXT, FILE_SEP, REPO_NAME
from snow_assets.recipe import Attention


def first_tokens(
    tokens: np.ndarray, kind: Literal["document", "repository"], tokenizer: Tokenizer
) -> np.ndarray:
    """Whether each token (sequences, seq_len) is the first of its document or repository.

    The first of each sequence is one. A document whose repository's name is cut by a sequence's
    start begins again after it.
    """
    end_of_text, file_sep, repo_name = (
        tokenizer.token_to_id(token) for token in (END_OF_TEXT, FILE_SEP, REPO_NAME)
    )
    is_first = np.ones(tokens.shape, bool)
    is_first[:, 1:] = tokens[:, :-1] == end_of_text
    if kind == "document":
        is_marker = (tokens == file_sep) | (tokens == repo_name)
        positions = np.where(is_marker, np.arange(tokens.shape[1]), -1)
        last_marker = np.maximum.accumulate(positions, axis=1)[:, :-1]
        follows_name = np.take_along_axis(tokens, last_marker, axis=1) == repo_name
        follows_name &= last_marker >= 0
        is_first[:, 1:] |= (tokens[:, 1:] == file_sep) & ~follows_name
    return is_first


def attention_lengths(tokens: np.ndarray, kind: Attention, tokenizer: Tokenizer) -> Tensor | None:
    """Lengths of the documents or repositories of sequences (sequences, seq_len); None if causal.

    Padded with 0 to (sequences, the most of one sequence); int32.
    """
    return None if kind == "causal" else _lengths(first_tokens(tokens, kind, tokenizer))


def _lengths(is_first: np.ndarray) -> Tensor:
    num_documents = is_first.sum(axis=1)
    lengths = np.zeros((len(is_first), num_documents.max(initial=0)), np.int32)
    for row, firsts in zip(lengths, is_first, strict=True):
        starts = np.flatnonzero(firsts)
        row[: len(starts)] = np.diff(starts, append=len(firsts))
    return torch.from_numpy(lengths)


def _is_attended(lengths: Tensor, seq_len: int) -> Tensor:
    """Whether a query attends to a key (batch, 1, seq_len, seq_len), by document lengths."""
    positions = torch.arange(seq_len, dtype=lengths.dtype, device=lengths.device)
    positions = positions.repeat(len(lengths), 1)
    ends = lengths.cumsum(1, dtype=lengths.dtype)
    document = torch.searchsorted(ends, positions, right=True)
    return (document[:, None, :, None] == document[:, None, None, :]).tril()


@dataclass
class _SharedMask:
    """What all blocks add to the attention of the micro-batch in progress; None: causal."""

    dtype: torch.dtype
    bias: Tensor | None = None  # (batch, 1, seq_len, seq_len): 0 where a query attends, or -inf

    def set_lengths(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hook before the model's forward pass on token ids (batch, seq_len)."""
        self.bias = None
        if (lengths := kwargs.get("doc_lens")) is not None:
            (input_ids,) = args
            lengths = unhide_from_torch(lengths).to(input_ids.device)
            is_attended = _is_attended(lengths, input_ids.shape[1])
            bias = torch.zeros_like(is_attended, dtype=self.dtype)
            self.bias = bias.masked_fill_(~is_attended, -torch.inf)


class DocumentAttention(TorchAttentionBackend):  # type: ignore[misc]
    """torch's attention, causal within each document where document lengths are given.

    Memory: one mask of (batch, seq_len, seq_len) in the training's type for all blocks
    (`model_size.py` counts it). No part of it is skipped, so that long sequences cost twice the
    causal attention.
    """

    shared_mask: _SharedMask

    def forward(self, qkv: Any, cu_doc_lens: Tensor | None = None, **options: Any) -> Tensor:
        """`qkv` and the result are of shape (batch, seq_len, heads, head_dim)."""
        if cu_doc_lens is None or self.shared_mask.bias is None:
            attended: Tensor = super().forward(qkv, **options)
            return attended
        query, key, value = qkv
        repeats = self.n_heads // self.n_kv_heads
        attended = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.repeat_interleave(repeats, dim=2).transpose(1, 2),
            value.repeat_interleave(repeats, dim=2).transpose(1, 2),
            attn_mask=self.shared_mask.bias.to(query.dtype),
            scale=self.scale,
        )
        return attended.transpose(1, 2).contiguous()


def use_document_attention(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace the attention backend of each of the model's blocks; they share a mask of `dtype`."""
    shared_mask = _SharedMask(dtype)
    model.register_forward_pre_hook(shared_mask.set_lengths, with_kwargs=True)
    for module in model.modules():
        if isinstance(module, AttentionModule):
            module.backend = DocumentAttention(
                head_dim=module.head_dim,
                n_heads=module.n_heads,
                n_kv_heads=module.n_kv_heads,
                scale=module.backend.scale,
            )
            module.backend.shared_mask = shared_mask
