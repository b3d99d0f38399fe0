"""The linear head: vectors of windows to logits, in fp32; and how a text's windows make a score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from snow_assets import shards
from snow_assets.quality.windows import Tokens

Vectors = npt.NDArray[np.float32]

FILE = "head.safetensors"


@dataclass(frozen=True)
class Head:
    weight: Vectors  # a number per dimension of the encoder
    bias: Vectors  # one number

    def logits(self, vectors: Vectors) -> Vectors:
        # Summed row by row: a matrix product's last bits may depend on the number of rows.
        sums = (vectors * self.weight).sum(axis=1, dtype=np.float64) + self.bias
        logits: Vectors = sums.astype(np.float32)
        return logits

    def content(self) -> bytes:
        tensors = {"weight": self.weight.reshape(1, -1), "bias": self.bias}
        content: bytes = safetensors.numpy.save(tensors)
        return content


def read_head(annotator_folder: str) -> Head:
    tensors = safetensors.numpy.load(shards.get_file(annotator_folder, FILE))
    return Head(weight=tensors["weight"].reshape(-1), bias=tensors["bias"])


def text_logits(texts: Sequence[Sequence[Tokens]], encoder: Any, head: Head) -> list[Vectors]:
    """The logits of each text's one, two or three windows, top to bottom."""
    read = [window for windows in texts for window in windows]
    logits = np.zeros(len(read), dtype=np.float32)
    for places, vectors in encoder.embed(read):
        logits[places] = head.logits(vectors)
    return split_by_text(logits, [len(windows) for windows in texts])


def split_by_text(logits: Vectors, counts: Sequence[int]) -> list[Vectors]:
    """Logits of all windows, as those of each text; `counts` are its windows."""
    ends = np.cumsum(counts).tolist()
    return [logits[end - count : end] for end, count in zip(ends, counts, strict=True)]


def text_logit(window_logits: Vectors) -> float:
    """A text's logit: the mean of its windows' in fp32 (arXiv 2409.02326, section 2.3)."""
    return float(window_logits.mean(dtype=np.float32))
