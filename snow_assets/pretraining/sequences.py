"""Token sequences of packs: raw files that other trainers read, by range and with checksums.

`tokens-00000.bin` holds a shard's tokens and nothing else: little-endian uint16 if the vocabulary
fits, else uint32, sequence after sequence. That is the array that OLMo-core's `NumpyFSLDataset`
reads, and the `.bin` of Megatron's indexed dataset. `checksums-00000.bin` holds 8 bytes for each
sequence, so that a single sequence can be read and compared. The records state data type, sequence
length, language and largest token.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snow_assets.storage import shards
from snow_assets.storage.shards import DamagedFileError, FileRecord

TOKENS, CHECKSUMS = "tokens", "checksums"

_CHECKSUM_BYTES = 8


def tokens_name(index: int) -> str:
    return f"{TOKENS}-{index:05d}.bin"


def checksums_name(index: int) -> str:
    return f"{CHECKSUMS}-{index:05d}.bin"


def _checksums_of(name: str) -> str:
    """The file of the checksums of a file of tokens."""
    return name.replace(TOKENS, CHECKSUMS)


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """uint16 for ids below 65,536, else uint32; little-endian."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def put_sequences(
    folder: str,
    index: int,
    tokens: np.ndarray,
    *,
    stats: Mapping[str, Any],
) -> None:
    """Add shard `index`: tokens (sequences, max_seq_len) of `token_dtype`, then their checksums.

    Memory: the shard again.
    """
    stored = np.ascontiguousarray(tokens)
    num_sequences, max_seq_len = stored.shape
    shards.put_file(
        folder,
        tokens_name(index),
        stored.tobytes(),
        num_rows=num_sequences,
        num_tokens=stored.size,
        stats={
            **stats,
            "dtype": stored.dtype.name,
            "max_seq_len": max_seq_len,
            "max_token": int(stored.max(initial=0)),
        },
    )
    shards.put_file(
        folder,
        checksums_name(index),
        b"".join(_checksum(sequence.tobytes()) for sequence in stored),
    )


def _checksum(sequence: bytes) -> bytes:
    return hashlib.blake2b(sequence, digest_size=_CHECKSUM_BYTES).digest()


def read_tokens(packs: str, entry: FileRecord) -> np.ndarray:
    """A whole shard's tokens (sequences, max_seq_len), its digest compared. Memory: the shard."""
    content = shards.get_file(packs, entry.name)
    tokens = np.frombuffer(content, np.dtype(entry.stats["dtype"]).newbyteorder("<"))
    return tokens.reshape(-1, entry.stats["max_seq_len"])


@dataclass(frozen=True, eq=False)
class PackedSequences:
    """All sequences of packs; `sequences[indices]` reads those, each compared with its checksum.

    Reads nothing but the sequences and their checksums, from a local folder or by byte ranges of an
    object store's files, several at a time. Memory: what is read, and a few hundred bytes per
    shard. Threads and forked processes can share it.
    """

    packs: str
    max_seq_len: int
    dtype: np.dtype[Any]
    _names: Sequence[str]
    _ends: npt.NDArray[np.int64]  # the number of sequences up to the end of each shard

    @classmethod
    def of(cls, packs: str, entries: Sequence[FileRecord]) -> "PackedSequences":
        """Of shards that follow one another, by their records."""
        return cls(
            packs,
            entries[0].stats["max_seq_len"],
            np.dtype(entries[0].stats["dtype"]).newbyteorder("<"),
            [entry.name for entry in entries],
            np.cumsum([entry.num_rows or 0 for entry in entries], dtype=np.int64),
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """(sequences, max_seq_len)"""
        return len(self), self.max_seq_len

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self) * self.max_seq_len

    def __getitem__(self, indices: npt.ArrayLike) -> np.ndarray:
        """The sequences (len(indices), max_seq_len) of a list or an array of indices, in its order.

        IndexError outside of the packs; DamagedFileError, with a damage mark, if a sequence is not
        what was written.
        """
        index_array = np.atleast_1d(np.asarray(indices, np.int64))
        if len(index_array) and not 0 <= index_array.min() <= index_array.max() < len(self):
            raise IndexError(
                f"{self.packs} has sequences 0 to {len(self) - 1}; indices reach from "
                f"{index_array.min()} to {index_array.max()}"
            )
        shard_of = np.searchsorted(self._ends, index_array, side="right")
        first_of_shard = np.concatenate([[0], self._ends[:-1]])[shard_of]
        rows = index_array - first_of_shard
        names = [self._names[shard] for shard in shard_of.tolist()]
        sizes = np.repeat([self.max_seq_len * self.dtype.itemsize, _CHECKSUM_BYTES], len(rows))
        starts = np.tile(rows, 2) * sizes
        system, folder = shards.file_system(self.packs)
        contents = system.cat_ranges(
            [shards.join(folder, name) for name in [*names, *map(_checksums_of, names)]],
            starts.tolist(),
            (starts + sizes).tolist(),
            on_error="return",
        )
        sequences, checksums = contents[: len(rows)], contents[len(rows) :]
        for sequence in sequences:
            if isinstance(sequence, Exception):
                raise sequence
        for name, row, sequence, checksum in zip(
            names, rows.tolist(), sequences, checksums, strict=True
        ):
            if checksum != _checksum(sequence):
                self._compare_whole(name, row, sequence)
        return np.frombuffer(b"".join(sequences), self.dtype).reshape(-1, self.max_seq_len)

    def _compare_whole(self, name: str, row: int, sequence: bytes) -> None:
        """Compare with the shard's checksums, which are compared with their record themselves."""
        checksums = shards.get_file(self.packs, _checksums_of(name))
        if checksums[_CHECKSUM_BYTES * row : _CHECKSUM_BYTES * (row + 1)] == _checksum(sequence):
            return
        shards.mark_damaged(self.packs, name)
        reason = f"its sequence {row} is not what was written"
        raise DamagedFileError(shards.join(self.packs, name), reason, shards.remedy(self.packs))


def open_sequences(packs: str, *, max_seq_len: int, vocab_size: int) -> PackedSequences:
    """The sequences of finished packs, to be read by index; reads the manifest alone.

    ValueError if they are of another length, or hold a token that the vocabulary lacks.
    """
    entries = shards.manifest(packs).tables(TOKENS)
    for entry in entries:
        if entry.stats["max_seq_len"] != max_seq_len:
            raise ValueError(
                f"{packs} has sequences of {entry.stats['max_seq_len']} tokens, and the model's "
                f"context is {max_seq_len}: materialize the packs again"
            )
        if entry.stats["max_token"] >= vocab_size:
            raise ValueError(
                f"{packs}/{entry.name} holds token {entry.stats['max_token']}, outside of the "
                f"tokenizer's vocabulary of {vocab_size}: materialize the packs again"
            )
    if not entries:
        raise ValueError(f"{packs} holds no sequences: materialize the packs again")
    return PackedSequences.of(packs, entries)


def passes_by_language(packs: str) -> dict[str, list[int]]:
    """Number of sequences that begin in each pass, by language, in sequence order."""
    passes: dict[str, list[int]] = {}
    for entry in shards.manifest(packs).tables(TOKENS):
        counts = passes.get(entry.stats["language"], [])
        pairs = itertools.zip_longest(counts, entry.stats["passes"], fillvalue=0)
        passes[entry.stats["language"]] = [sum(pair) for pair in pairs]
    return passes
