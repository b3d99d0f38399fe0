"""A frozen BERT-style encoder, loaded from a folder without any network: windows to vectors."""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from snow_assets.quality.bert import Bert, load_bert
from snow_assets.quality.windows import Tokens, windows

Vectors = npt.NDArray[np.float32]

_PACKAGE = "package:"
_SMALLEST_BUCKET = 32


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Weights and tokenizer, and how they read: `digest` and `tokenizer_digest` name both."""

    model: Bert
    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pooling: str
    window_tokens: int  # specials included
    batch_tokens: int
    threads: int  # each reads a batch of its own
    digest: str
    tokenizer_digest: str

    def windows(self, text: str) -> list[Tokens]:
        size = self.window_tokens - len(self.prefix) - len(self.suffix)
        return windows(text, self._tokens, size=size)

    def embed(self, read: Sequence[Tokens]) -> Iterator[tuple[list[int], Vectors]]:
        """Vectors (fp32) of windows, batch by batch, with their places in `read`.

        Each batch has a shape that depends on its windows' own lengths only - rounded up to a
        bucket, rows filled up - and one thread, so that a window's vector depends neither on its
        neighbours nor on the number of threads.
        """
        buckets: dict[int, list[int]] = {}
        for place, window in enumerate(read):
            buckets.setdefault(self._bucket(len(window)), []).append(place)
        batches = [
            (places[start : start + self._num_rows(length)], length)
            for length, places in sorted(buckets.items())
            for start in range(0, len(places), self._num_rows(length))
        ]

        def vectors(batch: tuple[list[int], int]) -> Vectors:
            places, length = batch
            return self._batch([read[place] for place in places], length)

        with ThreadPoolExecutor(self.threads) as pool:
            for (places, _), found in zip(batches, pool.map(vectors, batches), strict=True):
                yield places, found

    def _tokens(self, text: str) -> Tokens:
        ids: Tokens = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _bucket(self, num_tokens: int) -> int:
        needed, length = num_tokens + len(self.prefix) + len(self.suffix), _SMALLEST_BUCKET
        while length < needed:
            length *= 2
        return min(length, self.window_tokens)

    def _num_rows(self, length: int) -> int:
        return max(1, self.batch_tokens // length)

    def _batch(self, batch: Sequence[Tokens], length: int) -> Vectors:
        num_rows = self._num_rows(length)
        ids = np.zeros((num_rows, length), dtype=np.int64)
        mask = np.zeros((num_rows, length), dtype=np.bool_)
        mask[:, 0] = True  # of the rows that only fill up: softmax over nothing is NaN
        for row, window in enumerate(batch):
            whole = [*self.prefix, *window, *self.suffix]
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, True
        device = self.model.device
        with torch.inference_mode():
            seen = torch.from_numpy(mask).to(device)
            hidden = self.model(torch.from_numpy(ids).to(device), seen).float()
            pooled = hidden[:, 0]
            if self.pooling == "mean":
                weights = seen.unsqueeze(-1).float()
                pooled = (hidden * weights).sum(1) / weights.sum(1)
            vectors: Vectors = pooled[: len(batch)].cpu().numpy()
        return vectors


def load(
    name: str, *, pooling: str, window_tokens: int, precision: str, batch_tokens: int, threads: int
) -> Encoder:
    """Load `package:NAME` or a folder; ValueError or FileNotFoundError say what is missing.

    Torch's own threads are set to one, for the whole process: two that share each of MiniLM's
    products wait for each other, and read a third fewer tokens per second than two batches at once.
    """
    torch.set_num_threads(1)
    folder = locate(name)
    model = load_bert(
        folder,
        dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[precision],
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    longest = model.max_tokens
    if window_tokens > longest:
        raise ValueError(
            f"window_tokens {window_tokens}: the encoder {name!r} reads at most {longest}; "
            "lower the recipe's annotator.window_tokens"
        )
    content = (folder / "tokenizer.json").read_bytes()
    tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    specials = tokenizer.encode("").ids
    if len(specials) != 2:
        raise ValueError(
            f"the encoder {name!r} puts {len(specials)} special tokens around a text, not a first "
            "and a last one: name a BERT-style encoder in the recipe's annotator.encoder"
        )
    return Encoder(
        model=model,
        tokenizer=tokenizer,
        prefix=(specials[0],),
        suffix=(specials[1],),
        pooling=pooling,
        window_tokens=window_tokens,
        batch_tokens=batch_tokens,
        threads=1 if torch.cuda.is_available() else threads,
        digest=_weights_digest(folder),
        tokenizer_digest=hashlib.sha256(content).hexdigest(),
    )


def locate(name: str) -> Path:
    """The local folder of an encoder: config.json, tokenizer.json and safetensors weights."""
    if name.startswith(_PACKAGE):
        return _in_package(name.removeprefix(_PACKAGE))
    folder = Path(name)
    missing = [file for file in ("config.json", "tokenizer.json") if not (folder / file).is_file()]
    missing += [] if any(folder.glob("*.safetensors")) else ["*.safetensors"]
    if missing:
        raise FileNotFoundError(
            f"the encoder folder {folder.absolute()} lacks {', '.join(missing)}: put the model "
            "there, or name another in the recipe's annotator.encoder"
        )
    return folder


def _in_package(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"no package {package!r} is installed, which should carry the encoder: install it, "
            "or name a folder in the recipe's annotator.encoder"
        )
    configs = sorted(Path(spec.origin).parent.rglob("config.json"))
    folders = [config.parent for config in configs if any(config.parent.glob("*.safetensors"))]
    if not folders:
        raise FileNotFoundError(
            f"the package {package!r} carries no folder with config.json and safetensors weights"
        )
    return locate(str(folders[0]))


def _weights_digest(folder: Path) -> str:
    """One name for config and weights, which decide what the encoder computes."""
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
