"""BERT on a CPU: products of 16-bit integers, and fp32 between them.

Half again to twice as fast as PyTorch in fp32 where a CPU has no 16-bit floats (benchmarks/), and
about as exact as fp16. It needs no PyTorch, whose import costs a job 2 CPU seconds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from snow_assets.quality import bert_weights
from snow_assets.quality.bert_kernels import LOG2_E, Layer, Norm, norm_rows, run_layer
from snow_assets.quality.bert_weights import BertConfig, group_weights, read_config
from snow_assets.quality.integer_products import COLUMNS, ROWS, Floats, product_of


@dataclass(frozen=True, kw_only=True)
class IntegerBert:
    """Rounded weights; embeddings and norms in fp32."""

    config: BertConfig
    words: Floats
    positions: Floats  # the first text's type is in them
    norm: Norm
    layers: tuple[Layer, ...]

    @property
    def max_tokens(self) -> int:
        return self.config.max_position_embeddings

    @property
    def is_on_gpu(self) -> bool:
        return False

    @property
    def needs_fixed_shape(self) -> bool:
        return False  # its sums are exact

    def __call__(self, ids: npt.NDArray[np.int32], lengths: Sequence[int]) -> Floats:
        """Hidden states (tokens, hidden_size) of windows that are concatenated in `ids`."""
        # Whole tiles of rows; what is behind the last window belongs to none.
        hidden = np.zeros((-(-len(ids) // ROWS) * ROWS, self.config.hidden_size), dtype=np.float32)
        np.take(self.words, ids, axis=0, out=hidden[: len(ids)])
        hidden[: len(ids)] += np.concatenate([self.positions[:length] for length in lengths])
        eps = np.float32(self.config.layer_norm_eps)
        norm_rows(hidden, self.norm, eps)
        bounds = np.cumsum([0, *lengths])
        for layer in self.layers:
            run_layer(hidden, bounds, layer, self.config.num_heads, eps)
        return hidden[: len(ids)]

    def embed(
        self, ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], Floats]:
        """Pooled embeddings in fp32 (windows, hidden_size)."""
        hidden = self(ids, lengths)
        starts = np.cumsum([0, *lengths[:-1]])
        if pooling == "cls":
            embeddings = hidden[starts]
        else:
            embeddings = np.add.reduceat(hidden, starts, axis=0)
            embeddings /= np.array(lengths, dtype=np.float32)[:, None]
        return lambda: embeddings


def load_integer_bert(folder: Path) -> IntegerBert:
    """Read config.json and the safetensors weights, and round them; ValueError where it is not a
    BERT, or one whose numbers do not come in sixteens."""
    config = read_config(folder, activations=("gelu",))
    tensors: dict[str, Floats] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.offset_keys():
                if (dtype := file.get_slice(name).get_dtype()) in ("F32", "F16"):
                    tensors[name] = file.get_tensor(name).astype(np.float32)
                elif dtype == "BF16":
                    raise ValueError(
                        f"{path} keeps {name} in bfloat16, which is read in fp32, fp16 and bf16 "
                        "only: change the recipe's annotator.precision"
                    )
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError(f"the encoder in {folder} has infinite weights: put a sound one there")
    if config.hidden_size % COLUMNS:
        raise ValueError(
            f"the encoder in {folder} has {config.hidden_size} numbers for a token, no multiple of "
            f"{COLUMNS}, which int16 reads on this CPU: name fp32 in the recipe's "
            "annotator.precision"
        )
    weights = group_weights(tensors, config, concatenate=np.concatenate)
    return IntegerBert(
        config=config,
        words=weights.word_embeddings,
        positions=weights.position_embeddings + weights.token_type_embedding,
        norm=Norm(weights.embedding_norm.weight, weights.embedding_norm.bias),
        layers=tuple(_rounded(layer, config.num_heads) for layer in weights.layers),
    )


def _rounded(layer: bert_weights.LayerWeights[Floats], num_heads: int) -> Layer:
    """Heads and the wide part are filled up with zeros to whole panels; queries are divided by the
    root of a head's width, and scores become binary logarithms of shares."""
    width = len(layer.output_norm.bias)
    head_width = width // num_heads
    more = (0, -head_width % COLUMNS)
    of_heads = layer.qkv.weight.reshape(3, num_heads, head_width, width)
    biases = layer.qkv.bias.reshape(3, num_heads, head_width)
    scale = np.array([LOG2_E / math.sqrt(head_width), 1, 1], dtype=np.float32)[:, None, None]
    weight = np.pad(of_heads * scale[..., None], [(0, 0), (0, 0), more, (0, 0)])
    bias = np.pad(biases * scale, [(0, 0), (0, 0), more])
    to_heads = layer.attention_output.weight.reshape(width, num_heads, head_width)
    out = np.pad(to_heads, [(0, 0), (0, 0), more])
    filling = (0, -len(layer.intermediate.bias) % COLUMNS)
    return Layer(
        attention=product_of(weight.reshape(-1, width), bias.reshape(-1)),
        attention_out=product_of(out.reshape(width, -1), layer.attention_output.bias),
        attention_norm=Norm(layer.attention_norm.weight, layer.attention_norm.bias),
        wide=product_of(
            np.pad(layer.intermediate.weight, [filling, (0, 0)]),
            np.pad(layer.intermediate.bias, [filling]),
        ),
        narrow=product_of(np.pad(layer.output.weight, [(0, 0), filling]), layer.output.bias),
        norm=Norm(layer.output_norm.weight, layer.output_norm.bias),
    )
