"""BERT in plain PyTorch: what a folder of Hugging Face's BertModel computes (tests compare them).

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

from snow_assets.quality.bert_folder import Affine, Config, Layer, Weights, arranged, read_config

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda hidden: F.gelu(hidden, approximate="tanh"),
    "gelu_pytorch_tanh": lambda hidden: F.gelu(hidden, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True, kw_only=True)
class Bert:
    """Weights on one device, as `_biases_in_norms` leaves them."""

    config: Config
    weights: Weights[Tensor]
    device: torch.device

    @property
    def max_tokens(self) -> int:
        return self.config.max_tokens

    @property
    def is_on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def needs_one_shape(self) -> bool:
        return True

    def __call__(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Hidden states (tokens, width) of windows that lie one behind the other in `ids`."""
        given, config = self.weights, self.config
        own = torch.cat([given.positions[:length] for length in lengths])
        hidden = F.embedding(ids, given.words) + given.first_type + own
        hidden = self._normed(hidden, given.norm)
        attention = self._attention(lengths)
        for layer in given.layers:
            shared = _product(hidden, layer.attention).view(len(ids), 3, config.num_heads, -1)
            mixed = attention(*shared.unbind(1)).flatten(1)
            hidden = self._normed(_added(hidden, mixed, layer.attention_out), layer.attention_norm)
            grown = _ACTIVATIONS[config.activation](_product(hidden, layer.wide))
            hidden = self._normed(_added(hidden, grown, layer.narrow), layer.norm)
        return hidden

    @torch.inference_mode()
    def vectors(
        self, ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], npt.NDArray[np.float32]]:
        """A vector (fp32) for each window; the call waits for them."""
        hidden = self(self.given(ids), lengths).float()
        if pooling == "cls":
            return self.taken(hidden[self.given(np.cumsum([0, *lengths[:-1]]))])
        sizes = self.given(np.array(lengths))
        return self.taken(torch.segment_reduce(hidden, "mean", lengths=sizes, unsafe=True))

    def given(self, numbers: npt.NDArray[np.integer[Any]]) -> Tensor:
        """Numbers on the device, without waiting for what the device still does."""
        there = torch.from_numpy(numbers)
        if self.is_on_gpu:
            there = there.pin_memory()
        return there.to(self.device, non_blocking=True)

    def taken(self, numbers: Tensor) -> Callable[[], npt.NDArray[Any]]:
        """Numbers off the device; the call waits for them, and for nothing that came later."""
        here = numbers.to("cpu", non_blocking=True)
        if not self.is_on_gpu:
            return here.numpy
        arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrival.record()

        def wait() -> npt.NDArray[Any]:
            arrival.synchronize()
            return here.numpy()

        return wait

    def _attention(self, lengths: Sequence[int]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Each window's queries on its own keys and values: (tokens, heads, width of a head)."""

        def one_by_one(*shared: Tensor) -> Tensor:
            # With a row of its own for each: the kernel that keeps no scores wants four dimensions.
            rows = (part.transpose(0, 1).unsqueeze(0) for part in shared)
            parts = (torch.split(row, list(lengths), dim=2) for row in rows)
            mixed = [F.scaled_dot_product_attention(*window) for window in zip(*parts, strict=True)]
            return torch.cat(mixed, dim=2)[0].transpose(0, 1)

        if not self.is_on_gpu or self.weights.words.dtype == torch.float32:
            return one_by_one
        ends = self.given(np.cumsum([0, *lengths], dtype=np.int32))
        # The longest that can be, or sums would be split as the longest in the batch says.
        longest = self.max_tokens

        def at_once(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            mixed = varlen_attn(queries, keys, values, ends, ends, longest, longest)
            assert isinstance(mixed, Tensor)
            return mixed

        return at_once

    def _normed(self, hidden: Tensor, norm: Affine[Tensor]) -> Tensor:
        config = self.config
        return F.layer_norm(hidden, (config.width,), norm.weight, norm.bias, config.layer_norm_eps)


def _product(hidden: Tensor, by: Affine[Tensor]) -> Tensor:
    return F.linear(hidden, by.weight, by.bias)


def _added(hidden: Tensor, more: Tensor, by: Affine[Tensor]) -> Tensor:
    """A product onto `hidden`, where it is: a sum of its own would read and write it all again."""
    return hidden.addmm_(more, by.weight.t())


def _biases_in_norms(weights: Weights[Tensor]) -> Weights[Tensor]:
    """The same function with no biases in what is added to the hidden states.

    The norm before adds them: to the hidden states, which is right for the sum, and so to what the
    next product reads, whose bias makes up for it.
    """

    def less(by: Affine[Tensor], bias: Tensor) -> Affine[Tensor]:
        return Affine(by.weight, by.bias - by.weight @ bias)

    def with_bias(norm: Affine[Tensor], bias: Tensor) -> Affine[Tensor]:
        return Affine(norm.weight, norm.bias + bias)

    first, *others = (layer.attention_out.bias for layer in weights.layers)
    following = [*others, torch.zeros_like(first)]
    layers = [
        replace(
            layer,
            attention=less(layer.attention, layer.attention_out.bias),
            attention_norm=with_bias(layer.attention_norm, layer.narrow.bias),
            wide=less(layer.wide, layer.narrow.bias),
            norm=with_bias(layer.norm, bias),
        )
        for layer, bias in zip(weights.layers, following, strict=True)
    ]
    return replace(weights, norm=with_bias(weights.norm, first), layers=tuple(layers))


def load_bert(folder: Path, *, dtype: torch.dtype, device: str) -> Bert:
    """Read config.json and the safetensors weights; ValueError where it is not a BERT."""
    config = read_config(folder, activations=_ACTIVATIONS)
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    whole = {
        name: found.to(device=device, dtype=torch.float32)
        for name, found in tensors.items()
        if found.is_floating_point()
    }
    weights = _biases_in_norms(arranged(whole, config, joined=torch.cat))
    return Bert(config=config, weights=_rounded(weights, dtype), device=torch.device(device))


def _rounded(weights: Weights[Tensor], dtype: torch.dtype) -> Weights[Tensor]:
    def to(one: Affine[Tensor]) -> Affine[Tensor]:
        return Affine(one.weight.to(dtype), one.bias.to(dtype))

    return Weights(
        words=weights.words.to(dtype),
        positions=weights.positions.to(dtype),
        first_type=weights.first_type.to(dtype),
        norm=to(weights.norm),
        layers=tuple(
            Layer(**{name: to(part) for name, part in vars(layer).items()})
            for layer in weights.layers
        ),
    )
