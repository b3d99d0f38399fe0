"""Compiled scan of the gate: which texts hold a window of tokens of a benchmark problem.

`gate` searches the texts that are flagged once more, by `program_tokens`, and names what it finds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import Bytes, Offsets, buffers
from snow_assets.curation.decontamination import gate_kernels as kernels
from snow_assets.curation.decontamination.gate_token_kernels import (
    description_codes,
    fixed_table,
    program_codes,
)
from snow_assets.curation.decontamination.rule import fixed_names
from snow_assets.curation.hashing import Hashes


@dataclass(frozen=True)
class SearchedText:
    """A problem's text, and where in its tokens the windows begin that count as contamination."""

    text: str
    starts: npt.NDArray[np.int64]
    length: int  # of a window, in tokens


@dataclass(frozen=True)
class TextScan:
    """Finds texts that hold a window of a program or of a description."""

    fixed: Hashes
    programs: kernels.Windows
    descriptions: kernels.Windows

    @classmethod
    def of(
        cls,
        programs: Sequence[SearchedText],
        descriptions: Sequence[SearchedText],
        *,
        window_tokens: int,
    ) -> "TextScan":
        fixed = fixed_codes()
        return cls(
            fixed,
            _windows(programs, window_tokens, fixed),
            _windows(descriptions, window_tokens, None),
        )

    def flags(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Of a string column; see `flags_in`."""
        return self.flags_in(*buffers(texts))

    def flags_in(self, data: Bytes, offsets: Offsets) -> npt.NDArray[np.bool_]:
        """Whether each text, data[offsets[row] : offsets[row + 1]], has a window of a problem.

        Releases the GIL. Memory: 22 bytes per byte of the longest text.
        """
        flags = np.zeros(len(offsets) - 1, np.bool_)
        kernels.flag_texts(data, offsets, self.fixed, self.programs, self.descriptions, flags)
        return flags


def token_codes(text: str, fixed: Hashes | None) -> tuple[Hashes, Bytes]:
    """The code of each token of a program, or of each word of a description if `fixed`, of
    `fixed_codes`, is None; and whether it is an identifier."""
    data, offsets = buffers(pa.array([text], pa.string()))
    size = int(offsets[1])
    codes, is_name = np.zeros(size, np.uint64), np.zeros(size, np.uint8)
    count = (
        description_codes(data, 0, size, codes)
        if fixed is None
        else program_codes(data, 0, size, fixed, codes, is_name)
    )
    return codes[:count], is_name[:count]


def fixed_codes() -> Hashes:
    """A hash table of the names that renaming does not change."""
    no_names = np.zeros(1, np.uint64)
    codes = [token_codes(name, no_names)[0] for name in sorted(fixed_names())]
    return fixed_table(np.unique(np.concatenate(codes)))


def _windows(texts: Iterable[SearchedText], window: int, fixed: Hashes | None) -> kernels.Windows:
    suffix = window // 2
    base = np.full(window + 1, kernels.BASE, np.uint64)
    base[0] = 1
    powers = np.multiply.accumulate(base)
    name_codes = np.arange(1, window + 2, dtype=np.uint64) * kernels.NAME_BASE
    hashes: set[int] = set()
    shorter: set[tuple[int, int, int]] = set()
    for searched in texts:
        length = searched.length
        codes, is_name = token_codes(searched.text, fixed)
        count = len(codes)
        previous, following, link = (np.zeros(count, np.int32) for _ in range(3))
        kernels.previous_occurrences(codes, is_name, count, window, previous, following, link)
        window_hash = partial(kernels.window_hash, codes, is_name, previous)
        for start in searched.starts.tolist():
            end = start + length
            hashed = int(window_hash(end, length, powers, name_codes))
            if length == window:
                hashes.add(hashed)
            else:
                key = int(window_hash(end, suffix, powers, name_codes))
                shorter.add((key, length, hashed))
    keys, lengths, short_hashes = zip(*sorted(shorter), strict=True) if shorter else ((), (), ())
    sorted_hashes, short_keys = np.array(sorted(hashes), np.uint64), np.array(keys, np.uint64)
    bitmap, shift = kernels.bitmap_of(sorted_hashes)
    short_bitmap, short_shift = kernels.bitmap_of(short_keys)
    return kernels.Windows(
        length=window,
        suffix=suffix,
        hashes=sorted_hashes,
        bitmap=bitmap,
        shift=shift,
        short_keys=short_keys,
        short_bitmap=short_bitmap,
        short_shift=short_shift,
        short_lengths=np.array(lengths, np.int64),
        short_hashes=np.array(short_hashes, np.uint64),
        powers=powers,
        name_codes=name_codes,
    )
