"""A folder of Hugging Face's BertModel: its config, and its weights by what they are for."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")


@dataclass(frozen=True, kw_only=True)
class Config:
    """`width` numbers per token, of at most `max_tokens`."""

    num_layers: int
    num_heads: int
    activation: str
    layer_norm_eps: float
    width: int
    max_tokens: int


@dataclass(frozen=True)
class Affine(Generic[T]):
    """A matrix (or a norm's gains) and its bias."""

    weight: T
    bias: T


@dataclass(frozen=True, kw_only=True)
class Layer(Generic[T]):
    attention: Affine[T]  # queries, keys and values in one product
    attention_out: Affine[T]
    attention_norm: Affine[T]
    wide: Affine[T]
    narrow: Affine[T]
    norm: Affine[T]


@dataclass(frozen=True, kw_only=True)
class Weights(Generic[T]):
    words: T
    positions: T
    first_type: T  # of a first text, which every text is here
    norm: Affine[T]
    layers: tuple[Layer[T], ...]


def read_config(folder: Path, *, activations: Collection[str]) -> Config:
    """ValueError where it is no BERT, or one that is not read here."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    wanted: dict[str, set[str | None]] = {
        "model_type": {"bert"},
        "position_embedding_type": {"absolute", None},
        "hidden_act": set(activations),
    }
    for name, possible in wanted.items():
        if config.get(name) not in possible:
            known = ", ".join(sorted(map(str, possible - {None})))
            raise ValueError(
                f"the encoder in {folder} has {name} {config.get(name)!r}, and {known} can be "
                "read: name a BERT in the recipe's annotator.encoder"
            )
    return Config(
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        activation=config["hidden_act"],
        layer_norm_eps=config["layer_norm_eps"],
        width=config["hidden_size"],
        max_tokens=config["max_position_embeddings"],
    )


def arranged(
    tensors: Mapping[str, T], config: Config, *, joined: Callable[[list[T]], T]
) -> Weights[T]:
    """The tensors of a folder by what they are for; `joined` puts some below each other."""
    # A model with a head on it keeps its encoder under this name.
    weights = {name.removeprefix("bert."): found for name, found in tensors.items()}

    def affine(*names: str) -> Affine[T]:
        parts = [[weights[f"{name}.{kind}"] for name in names] for kind in ("weight", "bias")]
        return Affine(*(joined(part) if len(part) > 1 else part[0] for part in parts))

    def layer(number: int) -> Layer[T]:
        at = f"encoder.layer.{number}"
        own = f"{at}.attention.self"
        return Layer(
            attention=affine(f"{own}.query", f"{own}.key", f"{own}.value"),
            attention_out=affine(f"{at}.attention.output.dense"),
            attention_norm=affine(f"{at}.attention.output.LayerNorm"),
            wide=affine(f"{at}.intermediate.dense"),
            narrow=affine(f"{at}.output.dense"),
            norm=affine(f"{at}.output.LayerNorm"),
        )

    words, positions, kinds = (weights[f"embeddings.{name}.weight"] for name in _EMBEDDINGS)
    return Weights(
        words=words,
        positions=positions,
        first_type=kinds[0],  # type: ignore[index]
        norm=affine("embeddings.LayerNorm"),
        layers=tuple(layer(number) for number in range(config.num_layers)),
    )
