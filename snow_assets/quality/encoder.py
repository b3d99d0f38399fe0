"""Frozen BERT-style encoder, loaded offline from a local folder: windows to pooled embeddings."""

import hashlib
import importlib.util
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from snow_assets.quality.integer_bert import load_integer_bert
from snow_assets.quality.windows import Tokens, windows

Embeddings = npt.NDArray[np.float32]

_PACKAGE = "package:"
_TEXTS_PER_CALL = 512  # of the tokenizer, which needs some hundred bytes per token


class Model(Protocol):
    """Interface of `bert.Bert` and `integer_bert.IntegerBert`."""

    @property
    def max_tokens(self) -> int: ...

    @property
    def is_on_gpu(self) -> bool: ...

    @property
    def needs_fixed_shape(self) -> bool:
        """Whether results depend on the batch shape, by rounding."""

    def embed(
        self, input_ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], Embeddings]: ...


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Model, tokenizer and their config; `digest` and `tokenizer_digest` hash their files."""

    model: Model
    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pooling: str
    window_tokens: int  # including special tokens
    batch_tokens: int  # at least `window_tokens`
    threads: int  # each runs one batch
    digest: str
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

        A batch packs windows without padding between them. Each batch runs in one thread, with a
        fixed shape if the model needs it, so that an embedding depends neither on the other windows
        nor on the number of threads.
        """
        batches = self._pack_batches([len(window) + self._num_specials for window in all_windows])
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

    def _pack_batches(self, lengths: Sequence[int]) -> list[list[int]]:
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

    def _embed_batch(self, batch: Sequence[Tokens]) -> Callable[[], Embeddings]:
        lengths = [len(window) + self._num_specials for window in batch]
        padding = self.batch_tokens - sum(lengths) if self.model.needs_fixed_shape else 0
        # Padding is split into windows, whose embeddings are dropped.
        starts = range(0, padding, self.window_tokens)
        lengths += [min(self.window_tokens, padding - start) for start in starts]
        parts = [part for window in batch for part in (self.prefix, window, self.suffix)]
        input_ids = np.concatenate([*parts, np.zeros(padding)]).astype(np.int32)
        embeddings = self.model.embed(input_ids, lengths, self.pooling)
        return lambda: embeddings()[: len(batch)]


def load(
    name: str, *, pooling: str, window_tokens: int, precision: str, batch_tokens: int, threads: int
) -> Encoder:
    """Load `package:NAME` or a folder; ValueError or FileNotFoundError if it is unusable."""
    folder = locate_encoder(name)
    model = load_integer_bert(folder) if precision == "int16" else _load_bert(folder, precision)
    max_window_tokens = min(model.max_tokens, batch_tokens)
    if window_tokens > max_window_tokens:
        reader = f"the encoder {name!r}" if max_window_tokens == model.max_tokens else "a batch"
        raise ValueError(
            f"window_tokens {window_tokens}: {reader} reads at most {max_window_tokens}; "
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
        threads=1 if model.is_on_gpu else threads,
        digest=_weights_digest(folder),
        tokenizer_digest=hashlib.sha256(content).hexdigest(),
    )


def _load_bert(folder: Path, precision: str) -> Model:
    """Load a torch model, on CUDA if available.

    Sets torch's intra-op threads to one for the whole process: two threads that share MiniLM's
    matrix products give a third fewer tokens per second than two concurrent batches.
    """
    import torch  # not at the top: int16 does not need it

    from snow_assets.quality.bert import load_bert

    torch.set_num_threads(1)
    # A batch takes the GIL for each of some 200 operations. This is the longest time, in seconds,
    # that it waits for the thread that tokenizes the next texts.
    sys.setswitchinterval(1e-4)
    return load_bert(
        folder,
        dtype={"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision],
        device="cuda" if torch.cuda.is_available() else "cpu",
    )


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


def _weights_digest(folder: Path) -> str:
    """Hash of config and weights."""
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
