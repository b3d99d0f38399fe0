"""BERT on a GPU: windows of any lengths packed into one batch, without padding between them.

The weights are those of transformers' BertModel, to which tests compare the hidden states.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from transformers.activations import ACT2FN


@dataclass(frozen=True)
class Affine:
    """Weight and bias of a linear layer or of a layer norm."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, kw_only=True)
class Layer:
    qkv: Affine  # query, key and value projections, concatenated
    attention_output: Affine
    attention_norm: Affine
    intermediate: Affine
    output: Affine
    output_norm: Affine


@dataclass(frozen=True, kw_only=True)
class Bert:
    """A BERT on one device; its weights are those of `_fold_biases_into_norms`."""

    config: Any  # transformers.BertConfig
    word_embeddings: Tensor
    position_embeddings: Tensor  # token type 0, the only one that is used, is added to them
    embedding_norm: Affine
    layers: tuple[Layer, ...]
    precision: str
    digest: str

    packs_lengths: ClassVar[bool] = True
    needs_fixed_shape: ClassVar[bool] = True

    @property
    def is_on_gpu(self) -> bool:
        return self.word_embeddings.is_cuda

    def __call__(self, input_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Hidden states (tokens, hidden_size) of windows that are concatenated in `input_ids`."""
        position_embeddings = torch.cat([self.position_embeddings[:length] for length in lengths])
        word_embeddings = F.embedding(input_ids, self.word_embeddings)
        hidden_states = self._layer_norm(word_embeddings + position_embeddings, self.embedding_norm)
        attention = self._attention(lengths)
        activation = ACT2FN[self.config.hidden_act]
        heads = (len(input_ids), 3, self.config.num_attention_heads, -1)
        for layer in self.layers:
            qkv = _linear(hidden_states, layer.qkv).view(heads)
            context = attention(*qkv.unbind(1)).flatten(1)
            hidden_states = self._layer_norm(
                _add_linear(hidden_states, context, layer.attention_output), layer.attention_norm
            )
            intermediate = activation(_linear(hidden_states, layer.intermediate))
            hidden_states = self._layer_norm(
                _add_linear(hidden_states, intermediate, layer.output), layer.output_norm
            )
        return hidden_states

    @torch.inference_mode()
    def embed(
        self, input_ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], npt.NDArray[np.float32]]:
        """Pooled embeddings in fp32 (windows, hidden_size); the returned call waits for them."""
        device = self.word_embeddings.device
        hidden_states = self(to_device(input_ids, device), lengths).float()
        if pooling == "cls":
            return to_host(hidden_states[to_device(np.cumsum([0, *lengths[:-1]]), device)])
        segment_lengths = to_device(np.array(lengths), device)
        return to_host(
            torch.segment_reduce(hidden_states, "mean", lengths=segment_lengths, unsafe=True)
        )

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

        if not self.is_on_gpu or self.word_embeddings.dtype == torch.float32:
            return per_window
        cu_seqlens = to_device(
            np.cumsum([0, *lengths], dtype=np.int32), self.word_embeddings.device
        )
        # The model's maximum, since the kernel splits sums by the batch's maximal length.
        max_seqlen = len(self.position_embeddings)

        def variable_length(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            context = varlen_attn(
                queries, keys, values, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen
            )
            assert isinstance(context, Tensor)
            return context

        return variable_length

    def _layer_norm(self, hidden_states: Tensor, norm: Affine) -> Tensor:
        shape, eps = (self.config.hidden_size,), self.config.layer_norm_eps
        return F.layer_norm(hidden_states, shape, norm.weight, norm.bias, eps)


def to_device(array: npt.NDArray[np.integer[Any]], device: torch.device) -> Tensor:
    """Copy an array to the device, without synchronising with it."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Callable[[], npt.NDArray[Any]]:
    """Copy a tensor to the host; the returned call waits for this copy only."""
    host_tensor = tensor.to("cpu", non_blocking=True)
    if not tensor.is_cuda:
        return host_tensor.numpy
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()

    def wait() -> npt.NDArray[Any]:
        copied.synchronize()
        return host_tensor.numpy()

    return wait


def _linear(hidden_states: Tensor, layer: Affine) -> Tensor:
    return F.linear(hidden_states, layer.weight, layer.bias)


def _add_linear(residual: Tensor, hidden_states: Tensor, layer: Affine) -> Tensor:
    """Add the projection to `residual` in place, without its bias: `_fold_biases_into_norms`."""
    return residual.addmm_(hidden_states, layer.weight.t())


@torch.inference_mode()
def pack_bert(model: Any, *, dtype: torch.dtype, precision: str, digest: str) -> Bert:
    """Take over the weights of a BertModel in fp32, on its device."""
    embeddings = model.embeddings
    token_type_embedding = embeddings.token_type_embeddings.weight[0]
    embedding_norm, layers = _fold_biases_into_norms(
        _affine(embeddings.LayerNorm), [_layer(layer) for layer in model.encoder.layer]
    )
    return Bert(
        config=model.config,
        word_embeddings=embeddings.word_embeddings.weight.to(dtype),
        position_embeddings=(embeddings.position_embeddings.weight + token_type_embedding).to(
            dtype
        ),
        embedding_norm=_cast(embedding_norm, dtype),
        layers=tuple(
            Layer(**{part.name: _cast(getattr(layer, part.name), dtype) for part in fields(layer)})
            for layer in layers
        ),
        precision=precision,
        digest=digest,
    )


def _layer(layer: Any) -> Layer:
    attention = layer.attention
    projections = [attention.self.query, attention.self.key, attention.self.value]
    return Layer(
        qkv=Affine(
            torch.cat([projection.weight for projection in projections]),
            torch.cat([projection.bias for projection in projections]),
        ),
        attention_output=_affine(attention.output.dense),
        attention_norm=_affine(attention.output.LayerNorm),
        intermediate=_affine(layer.intermediate.dense),
        output=_affine(layer.output.dense),
        output_norm=_affine(layer.output.LayerNorm),
    )


def _affine(module: Any) -> Affine:
    return Affine(module.weight, module.bias)


def _cast(affine: Affine, dtype: torch.dtype) -> Affine:
    return Affine(affine.weight.to(dtype), affine.bias.to(dtype))


def _fold_biases_into_norms(
    embedding_norm: Affine, layers: Sequence[Layer]
) -> tuple[Affine, list[Layer]]:
    """An equivalent model without biases in the projections that are added to the residual.

    The preceding norm adds such a bias: that is correct for the sum, and the bias of the next
    projection, which also reads the norm's output, is reduced accordingly.
    """

    def compensated(layer: Affine, bias: Tensor) -> Affine:
        return Affine(layer.weight, layer.bias - layer.weight @ bias)

    def with_bias(norm: Affine, bias: Tensor) -> Affine:
        return Affine(norm.weight, norm.bias + bias)

    first_bias, *next_biases = (layer.attention_output.bias for layer in layers)
    next_biases = [*next_biases, torch.zeros_like(first_bias)]
    return with_bias(embedding_norm, first_bias), [
        replace(
            layer,
            qkv=compensated(layer.qkv, layer.attention_output.bias),
            attention_norm=with_bias(layer.attention_norm, layer.output.bias),
            intermediate=compensated(layer.intermediate, layer.output.bias),
            output_norm=with_bias(layer.output_norm, next_bias),
        )
        for layer, next_bias in zip(layers, next_biases, strict=True)
    ]
