"""Frozen encoder, loaded offline: windows to pooled embeddings, by OpenVINO or by torch."""

import hashlib
import importlib.util
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from snow_assets.quality.contract import Runtime
from snow_assets.quality.openvino_model import TOKENIZER, load_openvino
from snow_assets.quality.windows import Tokens, windows
from snow_assets.storage import shards

Embeddings = npt.NDArray[np.float32]

_PACKAGE = "package:"
_TEXTS_PER_CALL = 512  # of the tokenizer, which needs some hundred bytes per token


class Model(Protocol):
    """Interface of `OpenVinoModel`, `TransformersModel` and `Bert`."""

    @property
    def precision(self) -> str: ...

    @property
    def digest(self) -> str:
        """Hash of the weights and the architecture."""

    @property
    def is_on_gpu(self) -> bool: ...

    @property
    def packs_lengths(self) -> bool:
        """Whether a batch has windows of any lengths, and not of one length."""

    @property
    def needs_fixed_shape(self) -> bool:
        """Whether results depend on the batch shape, by rounding."""

    def embed(
        self, input_ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], Embeddings]: ...


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Model, tokenizer and their config."""

    model: Model
    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pooling: str
    window_tokens: int  # including special tokens
    batch_tokens: int  # at least `window_tokens`
    threads: int  # each runs one batch
    tokenizer_digest: str

    def windows(self, texts: Sequence[str]) -> Iterator[list[Tokens]]:
        """Yield each text's one to three windows, without special tokens."""
        size = self.window_tokens - self._num_specials
        for start in range(0, len(texts), _TEXTS_PER_CALL):
            for text_windows in windows(
                texts[start : start + _TEXTS_PER_CALL], self._tokens, size=size
            ):
                yield [np.array(window, dtype=np.int32) for window in text_windows]

    def embed(self, all_windows: Sequence[Tokens]) -> Iterator[tuple[list[int], Embeddings]]:
        """Yield (indices into `all_windows`, their fp32 embeddings), batch by batch.

        No window is padded. Each batch runs in one thread, with a fixed shape if the model needs
        it, so that an embedding depends neither on the other windows nor on the number of threads.
        """
        lengths = [len(window) + self._num_specials for window in all_windows]
        batches = (self._pack if self.model.packs_lengths else self._group_by_length)(lengths)
        pending: deque[tuple[list[int], Future[Callable[[], Embeddings]]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for indices in batches:
                batch = pool.submit(self._embed_batch, [all_windows[index] for index in indices])
                pending.append((indices, batch))
                if len(pending) > 2 * self.threads:
                    indices, batch = pending.popleft()
                    yield indices, batch.result()()
            for indices, batch in pending:
                yield indices, batch.result()()

    @property
    def _num_specials(self) -> int:
        return len(self.prefix) + len(self.suffix)

    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _pack(self, lengths: Sequence[int]) -> list[list[int]]:
        """Pack window indices into batches, each time the longest window that still fits."""
        unpacked = sorted((length, index) for index, length in enumerate(lengths))
        batches = []
        while unpacked:
            free_tokens, batch = self.batch_tokens, []
            while fitting := bisect_right(unpacked, free_tokens, key=lambda entry: entry[0]):
                length, index = unpacked.pop(fitting - 1)
                free_tokens -= length
                batch.append(index)
            batches.append(batch)
        return batches

    def _group_by_length(self, lengths: Sequence[int]) -> list[list[int]]:
        """Group window indices into batches of one length, the longest first."""
        ordered = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        batches = []
        for length, group in groupby(ordered, key=lengths.__getitem__):
            indices, size = list(group), max(1, self.batch_tokens // length)
            batches += [indices[start : start + size] for start in range(0, len(indices), size)]
        return batches

    def _embed_batch(self, batch: Sequence[Tokens]) -> Callable[[], Embeddings]:
        lengths = [len(window) + self._num_specials for window in batch]
        if self.model.needs_fixed_shape:
            lengths += self._padding_windows(lengths)
        parts = [part for window in batch for part in (self.prefix, window, self.suffix)]
        input_ids = np.zeros(sum(lengths), dtype=np.int32)
        input_ids[: sum(map(len, parts))] = np.concatenate(parts)
        embeddings = self.model.embed(input_ids, lengths, self.pooling)
        return lambda: embeddings()[: len(batch)]

    def _padding_windows(self, lengths: Sequence[int]) -> list[int]:
        """Lengths of the windows, dropped later, that fill a batch up."""
        padding = self.batch_tokens - sum(lengths)
        if not self.model.packs_lengths:
            return [lengths[0]] * (padding // lengths[0])
        starts = range(0, padding, self.window_tokens)
        return [min(self.window_tokens, padding - start) for start in starts]


def load(
    folder: str,
    *,
    runtime: Runtime,
    pooling: str,
    window_tokens: int,
    precision: str,
    batch_tokens: int,
    threads: int,
) -> Encoder:
    """Load what `openvino_model.convert` put into an artifact, or for torch a Hugging Face folder.

    ValueError or FileNotFoundError if it is unusable, or the machine lacks the precision.
    """
    if window_tokens > batch_tokens:
        raise ValueError(
            f"window_tokens {window_tokens}: a batch holds {batch_tokens} tokens; raise the "
            "recipe's annotator.batch_tokens"
        )
    model: Model
    if runtime == "openvino":
        model = load_openvino(folder, precision=precision, threads=threads)
        content = shards.get_file(folder, TOKENIZER)
    else:
        # Slow imports, which OpenVINO does not need.
        from snow_assets.quality.transformers_model import load_torch

        model = load_torch(Path(folder), precision=precision, window_tokens=window_tokens)
        content = (Path(folder) / TOKENIZER).read_bytes()
    tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    prefix, suffix = _special_tokens(tokenizer)
    if not prefix + suffix:
        raise ValueError(
            f"the tokenizer in {folder} puts no special token around a text, so that an empty text "
            "would have no tokens: name another encoder in the recipe's annotator.encoder"
        )
    return Encoder(
        model=model,
        tokenizer=tokenizer,
        prefix=prefix,
        suffix=suffix,
        pooling=pooling,
        window_tokens=window_tokens,
        batch_tokens=batch_tokens,
        threads=1 if model.is_on_gpu else threads,
        tokenizer_digest=hashlib.sha256(content).hexdigest(),
    )


def _special_tokens(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens before and behind a text."""
    encoding = tokenizer.encode("a")
    first = encoding.special_tokens_mask.index(0)
    num_behind = encoding.special_tokens_mask[::-1].index(0)
    return tuple(encoding.ids[:first]), tuple(encoding.ids[len(encoding.ids) - num_behind :])


def locate_encoder(name: str) -> Path:
    """Local folder of an encoder, with config.json, tokenizer.json and safetensors weights."""
    if name.startswith(_PACKAGE):
        return _locate_in_package(name.removeprefix(_PACKAGE))
    folder = Path(name)
    missing = [file for file in ("config.json", "tokenizer.json") if not (folder / file).is_file()]
    missing += [] if any(folder.glob("*.safetensors")) else ["*.safetensors"]
    if missing:
        raise FileNotFoundError(
            f"the encoder folder {folder.absolute()} lacks {', '.join(missing)}: put the model "
            "there, or name another in the recipe's annotator.encoder"
        )
    return folder


def _locate_in_package(package: str) -> Path:
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
    return locate_encoder(str(folders[0]))
