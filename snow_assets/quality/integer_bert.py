"""BERT on a CPU: products of 16-bit integers, and fp32 between them.

Half again to twice as fast as PyTorch in fp32 where a CPU has no 16-bit floats (benchmarks/), and
about as exact as fp16. It needs no PyTorch, whose import costs a job 2 CPU seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from snow_assets.quality.bert_folder import Affine, Config, arranged, read_config
from snow_assets.quality.bert_kernels import Layer, Norm, norm_rows, run_layer
from snow_assets.quality.integer_products import COLUMNS, ROWS, Floats, Product, product_of


@dataclass(frozen=True, kw_only=True)
class IntegerBert:
    """Rounded weights; embeddings and norms in fp32."""

    config: Config
    words: Floats
    positions: Floats  # the first text's type is in them
    norm: Norm
    layers: tuple[Layer, ...]

    @property
    def max_tokens(self) -> int:
        return self.config.max_tokens

    @property
    def is_on_gpu(self) -> bool:
        return False

    @property
    def needs_one_shape(self) -> bool:
        return False  # its sums are exact

    def __call__(self, ids: npt.NDArray[np.int32], lengths: Sequence[int]) -> Floats:
        """Hidden states (tokens, width) of windows that lie one behind the other in `ids`."""
        # Whole tiles of rows; what is behind the last window belongs to none.
        hidden = np.zeros((-(-len(ids) // ROWS) * ROWS, self.config.width), dtype=np.float32)
        np.take(self.words, ids, axis=0, out=hidden[: len(ids)])
        hidden[: len(ids)] += np.concatenate([self.positions[:length] for length in lengths])
        eps = np.float32(self.config.layer_norm_eps)
        norm_rows(hidden, self.norm, eps)
        bounds = np.cumsum([0, *lengths])
        for layer in self.layers:
            run_layer(hidden, bounds, layer, self.config.num_heads, eps)
        return hidden[: len(ids)]

    def vectors(
        self, ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], Floats]:
        """A vector (fp32) for each window."""
        hidden = self(ids, lengths)
        starts = np.cumsum([0, *lengths[:-1]])
        if pooling == "cls":
            found = hidden[starts]
        else:
            found = np.add.reduceat(hidden, starts, axis=0)
            found /= np.array(lengths, dtype=np.float32)[:, None]
        return lambda: found


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
    if not all(np.isfinite(found).all() for found in tensors.values()):
        raise ValueError(f"the encoder in {folder} has infinite weights: put a sound one there")
    weights = arranged(tensors, config, joined=np.concatenate)
    for name, size in {
        "a head": config.width // config.num_heads,
        "a layer's wide part": len(weights.layers[0].wide.bias),
    }.items():
        if size % COLUMNS:
            raise ValueError(
                f"the encoder in {folder} has {size} numbers in {name}, no multiple of {COLUMNS}, "
                "which int16 reads: name fp32 in the recipe's annotator.precision"
            )

    def product(given: Affine[Floats]) -> Product:
        return product_of(given.weight, given.bias)

    def norm(given: Affine[Floats]) -> Norm:
        return Norm(given.weight, given.bias)

    return IntegerBert(
        config=config,
        words=weights.words,
        positions=weights.positions + weights.first_type,
        norm=norm(weights.norm),
        layers=tuple(
            Layer(
                attention=product(layer.attention),
                attention_out=product(layer.attention_out),
                attention_norm=norm(layer.attention_norm),
                wide=product(layer.wide),
                narrow=product(layer.narrow),
                norm=norm(layer.norm),
            )
            for layer in weights.layers
        ),
    )
