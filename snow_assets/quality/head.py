"""Linear head: window embeddings to logits in fp32, and mean pooling of a text's window logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from snow_assets.quality.windows import Tokens
from snow_assets.storage import shards

Vectors = npt.NDArray[np.float32]

FILE = "head.safetensors"


@dataclass(frozen=True)
class Head:
    weight: Vectors  # (hidden_size,)
    bias: Vectors  # (1,)

    def logits(self, embeddings: Vectors) -> Vectors:
        # Summed per row, because a matrix product's rounding may depend on the number of rows.
        sums = (embeddings * self.weight).sum(axis=1, dtype=np.float64) + self.bias
        logits: Vectors = sums.astype(np.float32)
        return logits

    def to_safetensors(self) -> bytes:
        tensors = {"weight": self.weight.reshape(1, -1), "bias": self.bias}
        content: bytes = safetensors.numpy.save(tensors)
        return content


def read_head(annotator_folder: str) -> Head:
    tensors = safetensors.numpy.load(shards.get_file(annotator_folder, FILE))
    return Head(weight=tensors["weight"].reshape(-1), bias=tensors["bias"])


def text_logits(texts: Sequence[Sequence[Tokens]], encoder: Any, head: Head) -> list[Vectors]:
    """Logits of each text's one to three windows, top to bottom."""
    flat_windows = [window for windows in texts for window in windows]
    logits = np.zeros(len(flat_windows), dtype=np.float32)
    for indices, embeddings in encoder.embed(flat_windows):
        logits[indices] = head.logits(embeddings)
    return split_by_text(logits, [len(windows) for windows in texts])


def split_by_text(logits: Vectors, counts: Sequence[int]) -> list[Vectors]:
    """Split window logits by text; `counts` are the numbers of windows."""
    ends = np.cumsum(counts).tolist()
    return [logits[end - count : end] for end, count in zip(ends, counts, strict=True)]


def text_logit(window_logits: Vectors) -> float:
    """A text's logit: the mean of its window logits in fp32 (arXiv 2409.02326, section 2.3)."""
    return float(window_logits.mean(dtype=np.float32))
