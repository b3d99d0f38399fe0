"""Read the config and group the weights of a Hugging Face BertModel folder."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The fields of config.json that are used."""

    num_layers: int
    num_heads: int
    activation: str
    layer_norm_eps: float
    hidden_size: int
    max_position_embeddings: int


@dataclass(frozen=True)
class Affine(Generic[T]):
    """Weight and bias of a linear layer or of a layer norm."""

    weight: T
    bias: T


@dataclass(frozen=True, kw_only=True)
class LayerWeights(Generic[T]):
    qkv: Affine[T]  # query, key and value projections, concatenated
    attention_output: Affine[T]
    attention_norm: Affine[T]
    intermediate: Affine[T]
    output: Affine[T]
    output_norm: Affine[T]


@dataclass(frozen=True, kw_only=True)
class BertWeights(Generic[T]):
    word_embeddings: T
    position_embeddings: T
    token_type_embedding: T  # of type 0, the only one that is used
    embedding_norm: Affine[T]
    layers: tuple[LayerWeights[T], ...]


def read_config(folder: Path, *, activations: Collection[str]) -> BertConfig:
    """Read config.json; ValueError if it is no BERT, or of an unsupported kind."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    supported: dict[str, set[str | None]] = {
        "model_type": {"bert"},
        "position_embedding_type": {"absolute", None},
        "hidden_act": set(activations),
    }
    for name, values in supported.items():
        if config.get(name) not in values:
            supported_names = ", ".join(sorted(map(str, values - {None})))
            raise ValueError(
                f"the encoder in {folder} has {name} {config.get(name)!r}, and "
                f"{supported_names} can be read: name a BERT in the recipe's annotator.encoder"
            )
    return BertConfig(
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        activation=config["hidden_act"],
        layer_norm_eps=config["layer_norm_eps"],
        hidden_size=config["hidden_size"],
        max_position_embeddings=config["max_position_embeddings"],
    )


def group_weights(
    tensors: Mapping[str, T], config: BertConfig, *, concatenate: Callable[[list[T]], T]
) -> BertWeights[T]:
    """Group a state dict by layer; `concatenate` joins tensors along the first dimension."""
    # A BERT with a task head has its encoder under this prefix.
    weights = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}

    def affine(*names: str) -> Affine[T]:
        parts = [[weights[f"{name}.{kind}"] for name in names] for kind in ("weight", "bias")]
        return Affine(*(concatenate(part) if len(part) > 1 else part[0] for part in parts))

    def layer_weights(index: int) -> LayerWeights[T]:
        prefix = f"encoder.layer.{index}"
        self_attention = f"{prefix}.attention.self"
        return LayerWeights(
            qkv=affine(
                f"{self_attention}.query", f"{self_attention}.key", f"{self_attention}.value"
            ),
            attention_output=affine(f"{prefix}.attention.output.dense"),
            attention_norm=affine(f"{prefix}.attention.output.LayerNorm"),
            intermediate=affine(f"{prefix}.intermediate.dense"),
            output=affine(f"{prefix}.output.dense"),
            output_norm=affine(f"{prefix}.output.LayerNorm"),
        )

    word_embeddings, position_embeddings, token_type_embeddings = (
        weights[f"embeddings.{name}.weight"] for name in _EMBEDDINGS
    )
    return BertWeights(
        word_embeddings=word_embeddings,
        position_embeddings=position_embeddings,
        token_type_embedding=token_type_embeddings[0],  # type: ignore[index]
        embedding_norm=affine("embeddings.LayerNorm"),
        layers=tuple(layer_weights(index) for index in range(config.num_layers)),
    )
