"""A Llama-style decoder in plain PyTorch, under Hugging Face's names.

Its weights and configuration are what transformers and vLLM load, and transformers' own class
computes the same (tests compare them). Importing that class costs each job 7 CPU seconds, which is
more than SMOKE's whole continued phase.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_RMS_NORM_EPS = 1e-6  # Llama 1's, and the default of transformers' LlamaConfig
_INITIAL_SPREAD = 0.02


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """What decides the shape of the weights and what they compute, named as in config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rope_theta: float
    rms_norm_eps: float = _RMS_NORM_EPS


@dataclass
class Cache:
    """The keys and values of all layers for the tokens so far."""

    layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def grown(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if layer in self.layers:
            before = self.layers[layer]
            keys = torch.cat([before[0], keys], dim=2)
            values = torch.cat([before[1], values], dim=2)
        self.layers[layer] = keys, values
        return keys, values


class RMSNorm(nn.Module):
    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.hidden_size))
        self._eps = shape.rms_norm_eps

    def forward(self, hidden: Tensor) -> Tensor:
        # In fp32 whatever the precision of the rest: squares overflow and means lose bits.
        wide = hidden.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._eps)
        return self.weight * normed.to(hidden.dtype)


class Attention(nn.Module):
    def __init__(self, shape: LlamaShape, layer: int) -> None:
        super().__init__()
        self._layer = layer
        self._head_size = shape.hidden_size // shape.num_attention_heads
        self._is_grouped = shape.num_key_value_heads != shape.num_attention_heads
        narrow = shape.num_key_value_heads * self._head_size
        self.q_proj = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, narrow, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, narrow, bias=False)
        self.o_proj = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)

    def forward(
        self, hidden: Tensor, turn: tuple[Tensor, Tensor], seen: Tensor | None, cache: Cache | None
    ) -> Tensor:
        queries = _turned(self._heads(self.q_proj(hidden)), turn)
        keys = _turned(self._heads(self.k_proj(hidden)), turn)
        values = self._heads(self.v_proj(hidden))
        if cache is not None:
            keys, values = cache.grown(self._layer, keys, values)
        mixed = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=seen,
            is_causal=seen is None,
            enable_gqa=self._is_grouped,
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:2], -1, self._head_size).transpose(1, 2)


class MLP(nn.Module):
    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return out


class Layer(nn.Module):
    def __init__(self, shape: LlamaShape, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(shape, layer)
        self.mlp = MLP(shape)
        self.input_layernorm = RMSNorm(shape)
        self.post_attention_layernorm = RMSNorm(shape)

    def forward(
        self, hidden: Tensor, turn: tuple[Tensor, Tensor], seen: Tensor | None, cache: Cache | None
    ) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), turn, seen, cache)
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out


class Trunk(nn.Module):
    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(
            Layer(shape, number) for number in range(shape.num_hidden_layers)
        )
        self.norm = RMSNorm(shape)


class Llama(nn.Module):
    """Tokens (rows of equal length) to logits; input and output embeddings are one matrix."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_INITIAL_SPREAD)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        seen: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Logits in the weights' precision.

        By default each token sees itself and all before it. `positions` are the tokens' places in
        their texts; `seen` (rows, 1, tokens, tokens so far) tells who sees whom.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        hidden = self.model.embed_tokens(tokens)
        turn = _angles(self.shape, positions, hidden.dtype)
        for layer in self.model.layers:
            hidden = layer(hidden, turn, seen, cache)
        return F.linear(self.model.norm(hidden), self.model.embed_tokens.weight)


def _angles(shape: LlamaShape, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angles (rows, 1, tokens, size of a head)."""
    size = shape.hidden_size // shape.num_attention_heads
    powers = torch.arange(0, size, 2, device=positions.device).float() / size
    angles = positions.unsqueeze(-1).float() / shape.rope_theta**powers
    both = torch.cat([angles, angles], dim=-1).unsqueeze(1)
    return both.cos().to(dtype), both.sin().to(dtype)


def _turned(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding; a pair of numbers lies half a head apart, as in Hugging Face's Llama."""
    first, second = heads.chunk(2, dim=-1)
    return heads * turn[0] + torch.cat([-second, first], dim=-1) * turn[1]


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """The mean negative log-likelihood, in nats, of each token but a row's first."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())


@torch.inference_mode()
def greedy(
    model: Llama,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    is_done: Callable[[list[int]], bool],
) -> list[list[int]]:
    """Continue prompts by the likeliest tokens, together; each until `is_done` of what it wrote."""
    device = model.model.embed_tokens.weight.device
    longest = max(map(len, prompts))
    pads = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
    tokens = torch.tensor(
        [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device
    )
    places = torch.arange(longest, device=device)
    is_own = places >= pads[:, None]
    causal = places[:, None] >= places
    # A pad sees itself: attention to nothing is not a number.
    seen = (is_own[:, None, :] & causal) | torch.eye(longest, dtype=torch.bool, device=device)
    positions = (places - pads[:, None]).clamp(min=0)
    cache = Cache()
    written: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(prompts)
    for _ in range(max_new_tokens):
        logits = model(tokens, positions=positions, seen=seen.unsqueeze(1), cache=cache)
        tokens = logits[:, -1:].argmax(-1)
        for row, token in enumerate(tokens[:, 0].tolist()):
            if not done[row]:
                written[row].append(token)
                done[row] = is_done(written[row])
        if all(done):
            break
        positions = positions[:, -1:] + 1
        is_own = F.pad(is_own, (0, 1), value=True)
        seen = is_own[:, None, :]
    return written
