"""A Llama-style decoder in plain PyTorch, with Hugging Face's parameter names.

transformers and vLLM load its weights and configuration, and transformers' LlamaForCausalLM
computes the same logits (tests compare them). Importing that class costs each job 7 CPU seconds,
which is more than SMOKE's whole continued phase.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_RMS_NORM_EPS = 1e-6  # Llama 1's, and the default of transformers' LlamaConfig
_INITIALIZER_RANGE = 0.02


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Shapes of the weights and hyperparameters of the forward pass, named as in config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rope_theta: float
    rms_norm_eps: float = _RMS_NORM_EPS


class RMSNorm(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self._eps = config.rms_norm_eps

    def forward(self, hidden_states: Tensor) -> Tensor:
        # In fp32 at any model precision: squares overflow and means lose bits.
        float_states = hidden_states.float()
        variance = float_states.pow(2).mean(-1, keepdim=True)
        normed = float_states * torch.rsqrt(variance + self._eps)
        return self.weight * normed.to(hidden_states.dtype)


class Attention(nn.Module):
    """Grouped-query self-attention with rotary position embeddings."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self._head_dim = config.hidden_size // config.num_attention_heads
        self._is_grouped = config.num_key_value_heads != config.num_attention_heads
        key_value_size = config.num_key_value_heads * self._head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key_value_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key_value_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor]) -> Tensor:
        queries = _apply_rotary(self._split_heads(self.q_proj(hidden_states)), position_embeddings)
        keys = _apply_rotary(self._split_heads(self.k_proj(hidden_states)), position_embeddings)
        values = self._split_heads(self.v_proj(hidden_states))
        attention_output = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=self._is_grouped
        )
        output: Tensor = self.o_proj(attention_output.transpose(1, 2).flatten(2))
        return output

    def _split_heads(self, projected: Tensor) -> Tensor:
        """(batch, seq_len, heads * head_dim) -> (batch, heads, seq_len, head_dim)."""
        return projected.view(*projected.shape[:2], -1, self._head_dim).transpose(1, 2)


class MLP(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        gated = F.silu(self.gate_proj(hidden_states)) * self.up_proj(hidden_states)
        output: Tensor = self.down_proj(gated)
        return output


class DecoderLayer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config)
        self.post_attention_layernorm = RMSNorm(config)

    def forward(self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor]) -> Tensor:
        hidden_states = hidden_states + self.self_attn(
            self.input_layernorm(hidden_states), position_embeddings
        )
        output: Tensor = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        return output


class LlamaModel(nn.Module):
    """The modules under `model.` in the state dict: embeddings, decoder layers, final norm."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config)


class Llama(nn.Module):
    """Causal language model with tied input and output embeddings."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaModel(config)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_INITIALIZER_RANGE)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return logits (batch, seq_len, vocab_size) in the weights' dtype.

        `input_ids` are (batch, seq_len); the attention is causal.
        """
        position_ids = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)
        hidden_states = self.model.embed_tokens(input_ids)
        position_embeddings = _rotary_embedding(self.config, position_ids, hidden_states.dtype)
        for layer in self.model.layers:
            hidden_states = layer(hidden_states, position_embeddings)
        return F.linear(self.model.norm(hidden_states), self.model.embed_tokens.weight)


def _rotary_embedding(
    config: LlamaConfig, position_ids: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles, each (batch, 1, seq_len, head_dim)."""
    head_dim = config.hidden_size // config.num_attention_heads
    exponents = torch.arange(0, head_dim, 2, device=position_ids.device).float() / head_dim
    angles = position_ids.unsqueeze(-1).float() / config.rope_theta**exponents
    angles = torch.cat([angles, angles], dim=-1).unsqueeze(1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _apply_rotary(heads: Tensor, position_embeddings: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate (batch, heads, seq_len, head_dim); a pair lies half a head apart, as in Hugging Face's
    Llama.
    """
    cos, sin = position_embeddings
    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat([-second, first], dim=-1) * sin


def next_token_loss(logits: Tensor, input_ids: Tensor) -> Tensor:
    """Mean cross-entropy in nats of every token but a row's first; labels are `input_ids`."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), input_ids[:, 1:].flatten())
