"""A frozen BERT-style encoder, loaded from a folder without any network: windows to vectors."""

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

Vectors = npt.NDArray[np.float32]

_PACKAGE = "package:"
_TEXTS_AT_ONCE = 512  # given to the tokenizer, which keeps some hundred bytes for each token


class Model(Protocol):
    """A BERT: `bert.Bert` or `integer_bert.IntegerBert`."""

    @property
    def max_tokens(self) -> int: ...

    @property
    def is_on_gpu(self) -> bool: ...

    @property
    def needs_one_shape(self) -> bool:
        """Whether the shape of a batch decides its sums' last bits."""

    def vectors(
        self, ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], Vectors]: ...


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Weights and tokenizer, and how they read: `digest` and `tokenizer_digest` name both."""

    model: Model
    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pooling: str
    window_tokens: int  # specials included
    batch_tokens: int  # at least a window's
    threads: int  # each reads a batch of its own
    digest: str
    tokenizer_digest: str

    def windows(self, texts: Sequence[str]) -> Iterator[list[Tokens]]:
        """Each text's one, two or three windows, without the tokens around them."""
        size = self.window_tokens - self._num_specials
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            for found in windows(texts[start : start + _TEXTS_AT_ONCE], self._tokens, size=size):
                yield [np.array(window, dtype=np.int32) for window in found]

    def embed(self, read: Sequence[Tokens]) -> Iterator[tuple[list[int], Vectors]]:
        """Vectors (fp32) of windows, batch by batch, with their places in `read`.

        A batch is of windows one behind the other, without padding between them. A batch has a
        thread, and all have one shape where that matters, so that a window's vector depends neither
        on its neighbours nor on the number of threads.
        """
        batches = self._packed([len(window) + self._num_specials for window in read])
        waiting: deque[tuple[list[int], Future[Callable[[], Vectors]]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for places in batches:
                batch = pool.submit(self._batch, [read[place] for place in places])
                waiting.append((places, batch))
                if len(waiting) > 2 * self.threads:
                    places, batch = waiting.popleft()
                    yield places, batch.result()()
            for places, batch in waiting:
                yield places, batch.result()()

    @property
    def _num_specials(self) -> int:
        return len(self.prefix) + len(self.suffix)

    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids for one in found]

    def _packed(self, lengths: Sequence[int]) -> list[list[int]]:
        """Places of windows that fill a batch together: each time the longest that still fits."""
        left = sorted((length, place) for place, length in enumerate(lengths))
        batches = []
        while left:
            room, batch = self.batch_tokens, []
            while fitting := bisect_right(left, room, key=lambda one: one[0]):
                length, place = left.pop(fitting - 1)
                room -= length
                batch.append(place)
            batches.append(batch)
        return batches

    def _batch(self, read: Sequence[Tokens]) -> Callable[[], Vectors]:
        lengths = [len(window) + self._num_specials for window in read]
        room = self.batch_tokens - sum(lengths) if self.model.needs_one_shape else 0
        # What fills the batch up are windows too, which nobody sees.
        filling = range(0, room, self.window_tokens)
        lengths += [min(self.window_tokens, room - start) for start in filling]
        parts = [part for window in read for part in (self.prefix, window, self.suffix)]
        ids = np.concatenate([*parts, np.zeros(room)]).astype(np.int32)
        vectors = self.model.vectors(ids, lengths, self.pooling)
        return lambda: vectors()[: len(read)]


def load(
    name: str, *, pooling: str, window_tokens: int, precision: str, batch_tokens: int, threads: int
) -> Encoder:
    """Load `package:NAME` or a folder; ValueError or FileNotFoundError say what is missing."""
    folder = locate(name)
    model = load_integer_bert(folder) if precision == "int16" else _load_bert(folder, precision)
    longest = min(model.max_tokens, batch_tokens)
    if window_tokens > longest:
        reader = f"the encoder {name!r}" if longest == model.max_tokens else "a batch"
        raise ValueError(
            f"window_tokens {window_tokens}: {reader} reads at most {longest}; "
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
    """With torch, on a GPU where there is one.

    Torch's own threads are set to one, for the whole process: two that share each of MiniLM's
    products wait for each other, and read a third fewer tokens per second than two batches at once.
    """
    import torch  # here, because int16 needs none of it

    from snow_assets.quality.bert import load_bert

    torch.set_num_threads(1)
    # A batch asks for Python's lock at each of some 200 operations, and gets it from the thread
    # that reads the next texts only when that one has had it this long (seconds).
    sys.setswitchinterval(1e-4)
    return load_bert(
        folder,
        dtype={"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision],
        device="cuda" if torch.cuda.is_available() else "cpu",
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
