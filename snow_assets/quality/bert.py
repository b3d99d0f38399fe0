"""BERT in plain PyTorch, equal to Hugging Face's BertModel on the same folder (tests compare them).

Importing transformers' class costs each job 7 CPU seconds, more than most of a shard's scoring.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from snow_assets.quality.bert_weights import (
    Affine,
    BertConfig,
    BertWeights,
    LayerWeights,
    group_weights,
    read_config,
)

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda hidden_states: F.gelu(hidden_states, approximate="tanh"),
    "gelu_pytorch_tanh": lambda hidden_states: F.gelu(hidden_states, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True, kw_only=True)
class Bert:
    """A BERT on one device; its weights are those of `_fold_biases_into_norms`."""

    config: BertConfig
    weights: BertWeights[Tensor]
    device: torch.device

    @property
    def max_tokens(self) -> int:
        return self.config.max_position_embeddings

    @property
    def is_on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def needs_fixed_shape(self) -> bool:
        return True

    def __call__(self, input_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Hidden states (tokens, hidden_size) of windows that are concatenated in `input_ids`."""
        weights, config = self.weights, self.config
        position_embeddings = torch.cat(
            [weights.position_embeddings[:length] for length in lengths]
        )
        word_embeddings = F.embedding(input_ids, weights.word_embeddings)
        hidden_states = word_embeddings + weights.token_type_embedding + position_embeddings
        hidden_states = self._layer_norm(hidden_states, weights.embedding_norm)
        attention = self._attention(lengths)
        for layer in weights.layers:
            qkv = _linear(hidden_states, layer.qkv).view(len(input_ids), 3, config.num_heads, -1)
            context = attention(*qkv.unbind(1)).flatten(1)
            hidden_states = self._layer_norm(
                _add_linear(hidden_states, context, layer.attention_output), layer.attention_norm
            )
            intermediate = _ACTIVATIONS[config.activation](
                _linear(hidden_states, layer.intermediate)
            )
            hidden_states = self._layer_norm(
                _add_linear(hidden_states, intermediate, layer.output), layer.output_norm
            )
        return hidden_states

    @torch.inference_mode()
    def embed(
        self, input_ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], npt.NDArray[np.float32]]:
        """Pooled embeddings in fp32 (windows, hidden_size); the returned call waits for them."""
        hidden_states = self(self.to_device(input_ids), lengths).float()
        if pooling == "cls":
            starts = self.to_device(np.cumsum([0, *lengths[:-1]]))
            return self.to_host(hidden_states[starts])
        segment_lengths = self.to_device(np.array(lengths))
        return self.to_host(
            torch.segment_reduce(hidden_states, "mean", lengths=segment_lengths, unsafe=True)
        )

    def to_device(self, array: npt.NDArray[np.integer[Any]]) -> Tensor:
        """Copy an array to the device, without synchronising with it."""
        tensor = torch.from_numpy(array)
        if self.is_on_gpu:
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def to_host(self, tensor: Tensor) -> Callable[[], npt.NDArray[Any]]:
        """Copy a tensor to the host; the returned call waits for this copy only."""
        host_tensor = tensor.to("cpu", non_blocking=True)
        if not self.is_on_gpu:
            return host_tensor.numpy
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()

        def wait() -> npt.NDArray[Any]:
            copied.synchronize()
            return host_tensor.numpy()

        return wait

    def _attention(self, lengths: Sequence[int]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Attention within each window, on queries, keys, values of (tokens, heads, head_dim)."""

        def per_window(*qkv: Tensor) -> Tensor:
            # With a batch dimension: the memory-efficient kernel needs four dimensions.
            batched = (part.transpose(0, 1).unsqueeze(0) for part in qkv)
            windows = (torch.split(part, list(lengths), dim=2) for part in batched)
            contexts = [
                F.scaled_dot_product_attention(*window) for window in zip(*windows, strict=True)
            ]
            return torch.cat(contexts, dim=2)[0].transpose(0, 1)

        if not self.is_on_gpu or self.weights.word_embeddings.dtype == torch.float32:
            return per_window
        cu_seqlens = self.to_device(np.cumsum([0, *lengths], dtype=np.int32))
        # The model's maximum, since the kernel splits sums by the batch's maximal length.
        max_seqlen = self.max_tokens

        def variable_length(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            context = varlen_attn(
                queries, keys, values, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen
            )
            assert isinstance(context, Tensor)
            return context

        return variable_length

    def _layer_norm(self, hidden_states: Tensor, norm: Affine[Tensor]) -> Tensor:
        config = self.config
        return F.layer_norm(
            hidden_states, (config.hidden_size,), norm.weight, norm.bias, config.layer_norm_eps
        )


def _linear(hidden_states: Tensor, layer: Affine[Tensor]) -> Tensor:
    return F.linear(hidden_states, layer.weight, layer.bias)


def _add_linear(residual: Tensor, hidden_states: Tensor, layer: Affine[Tensor]) -> Tensor:
    """Add the projection to `residual` in place, without its bias: `_fold_biases_into_norms`."""
    return residual.addmm_(hidden_states, layer.weight.t())


def _fold_biases_into_norms(weights: BertWeights[Tensor]) -> BertWeights[Tensor]:
    """An equivalent model without biases in the projections that are added to the residual.

    The preceding norm adds such a bias: that is correct for the sum, and the bias of the next
    projection, which also reads the norm's output, is reduced accordingly.
    """

    def compensated(layer: Affine[Tensor], bias: Tensor) -> Affine[Tensor]:
        return Affine(layer.weight, layer.bias - layer.weight @ bias)

    def with_bias(norm: Affine[Tensor], bias: Tensor) -> Affine[Tensor]:
        return Affine(norm.weight, norm.bias + bias)

    first_bias, *next_biases = (layer.attention_output.bias for layer in weights.layers)
    next_biases = [*next_biases, torch.zeros_like(first_bias)]
    layers = [
        replace(
            layer,
            qkv=compensated(layer.qkv, layer.attention_output.bias),
            attention_norm=with_bias(layer.attention_norm, layer.output.bias),
            intermediate=compensated(layer.intermediate, layer.output.bias),
            output_norm=with_bias(layer.output_norm, next_bias),
        )
        for layer, next_bias in zip(weights.layers, next_biases, strict=True)
    ]
    return replace(
        weights,
        embedding_norm=with_bias(weights.embedding_norm, first_bias),
        layers=tuple(layers),
    )


def load_bert(folder: Path, *, dtype: torch.dtype, device: str) -> Bert:
    """Read config.json and the safetensors weights; ValueError if it is not a BERT."""
    config = read_config(folder, activations=_ACTIVATIONS)
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    state_dict = {
        name: tensor.to(device=device, dtype=torch.float32)
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }
    weights = _fold_biases_into_norms(group_weights(state_dict, config, concatenate=torch.cat))
    return Bert(config=config, weights=_cast_weights(weights, dtype), device=torch.device(device))


def _cast_weights(weights: BertWeights[Tensor], dtype: torch.dtype) -> BertWeights[Tensor]:
    def cast(layer: Affine[Tensor]) -> Affine[Tensor]:
        return Affine(layer.weight.to(dtype), layer.bias.to(dtype))

    return BertWeights(
        word_embeddings=weights.word_embeddings.to(dtype),
        position_embeddings=weights.position_embeddings.to(dtype),
        token_type_embedding=weights.token_type_embedding.to(dtype),
        embedding_norm=cast(weights.embedding_norm),
        layers=tuple(
            LayerWeights(**{name: cast(part) for name, part in vars(layer).items()})
            for layer in weights.layers
        ),
    )
