"""BERT in plain PyTorch: what a folder of Hugging Face's BertModel computes (tests compare them).

Importing transformers' class costs each job 7 CPU seconds, more than most of a shard's scoring.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda hidden: F.gelu(hidden, approximate="tanh"),
    "gelu_pytorch_tanh": lambda hidden: F.gelu(hidden, approximate="tanh"),
    "relu": F.relu,
}
_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")


@dataclass(frozen=True)
class _Affine:
    """A matrix (or a norm's gains) and its bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.weight, self.bias)


@dataclass(frozen=True, kw_only=True)
class _Layer:
    attention: _Affine  # queries, keys and values in one product
    attention_out: _Affine
    attention_norm: _Affine
    wide: _Affine
    narrow: _Affine
    norm: _Affine


@dataclass(frozen=True, kw_only=True)
class Bert:
    """Weights on one device; `width` numbers per token, at most `max_tokens` of them."""

    embeddings: tuple[Tensor, Tensor, Tensor]  # of words, positions and the first text's type
    norm: _Affine
    layers: tuple[_Layer, ...]
    num_heads: int
    activation: str
    layer_norm_eps: float
    width: int
    max_tokens: int
    device: torch.device

    def __call__(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Hidden states (tokens, width) of windows that lie one behind the other in `ids`."""
        words, positions, first_type = self.embeddings
        own = torch.cat([positions[:length] for length in lengths])
        # In BertModel's order, which decides the last bits.
        hidden = self._normed(F.embedding(ids, words) + first_type + own, self.norm)
        attention = self._attention(lengths)
        for layer in self.layers:
            shared = layer.attention(hidden).view(len(ids), 3, self.num_heads, -1)
            mixed = layer.attention_out(attention(*shared.unbind(1)).flatten(1))
            hidden = self._normed(mixed + hidden, layer.attention_norm)
            grown = _ACTIVATIONS[self.activation](layer.wide(hidden))
            hidden = self._normed(layer.narrow(grown) + hidden, layer.norm)
        return hidden

    def given(self, numbers: npt.NDArray[np.integer[Any]]) -> Tensor:
        """Numbers on the device, without waiting for what the device still does."""
        there = torch.from_numpy(numbers)
        if self.device.type == "cuda":
            there = there.pin_memory()
        return there.to(self.device, non_blocking=True)

    def taken(self, numbers: Tensor) -> Callable[[], npt.NDArray[Any]]:
        """Numbers off the device; the call waits for them, and for nothing that came later."""
        here = numbers.to("cpu", non_blocking=True)
        if self.device.type != "cuda":
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

        if self.device.type != "cuda" or self.norm.weight.dtype == torch.float32:
            return one_by_one
        ends = self.given(np.cumsum([0, *lengths], dtype=np.int32))
        # The longest that can be, or sums would be split as the longest in the batch says.
        longest = self.max_tokens

        def at_once(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            mixed = varlen_attn(queries, keys, values, ends, ends, longest, longest)
            assert isinstance(mixed, Tensor)
            return mixed

        return at_once

    def _normed(self, hidden: Tensor, norm: _Affine) -> Tensor:
        return F.layer_norm(hidden, (self.width,), norm.weight, norm.bias, self.layer_norm_eps)


def load_bert(folder: Path, *, dtype: torch.dtype, device: str) -> Bert:
    """Read config.json and the safetensors weights; ValueError where it is not a BERT."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    wanted: dict[str, set[str | None]] = {
        "model_type": {"bert"},
        "position_embedding_type": {"absolute", None},
        "hidden_act": set(_ACTIVATIONS),
    }
    for name, possible in wanted.items():
        if config.get(name) not in possible:
            known = ", ".join(sorted(map(str, possible - {None})))
            raise ValueError(
                f"the encoder in {folder} has {name} {config.get(name)!r}, and {known} can be "
                "read: name a BERT in the recipe's annotator.encoder"
            )
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    # A model with a head on it keeps its encoder under this name.
    weights = {
        name.removeprefix("bert."): found.to(device=device, dtype=dtype)
        for name, found in tensors.items()
        if found.is_floating_point()
    }

    def affine(*names: str) -> _Affine:
        parts = [[weights[f"{name}.{kind}"] for name in names] for kind in ("weight", "bias")]
        return _Affine(*(torch.cat(part) if len(part) > 1 else part[0] for part in parts))

    def layer(number: int) -> _Layer:
        at = f"encoder.layer.{number}"
        own = f"{at}.attention.self"
        return _Layer(
            attention=affine(f"{own}.query", f"{own}.key", f"{own}.value"),
            attention_out=affine(f"{at}.attention.output.dense"),
            attention_norm=affine(f"{at}.attention.output.LayerNorm"),
            wide=affine(f"{at}.intermediate.dense"),
            narrow=affine(f"{at}.output.dense"),
            norm=affine(f"{at}.output.LayerNorm"),
        )

    words, positions, types = (weights[f"embeddings.{name}.weight"] for name in _EMBEDDINGS)
    return Bert(
        embeddings=(words, positions, types[0]),
        norm=affine("embeddings.LayerNorm"),
        layers=tuple(layer(number) for number in range(config["num_hidden_layers"])),
        num_heads=config["num_attention_heads"],
        activation=config["hidden_act"],
        layer_norm_eps=config["layer_norm_eps"],
        width=config["hidden_size"],
        max_tokens=config["max_position_embeddings"],
        device=torch.device(device),
    )
