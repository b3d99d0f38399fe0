"""Compiled search of the gate: rolling hashes of windows of a text's tokens.

The windows that are alike are those of `program_tokens`: in a window an identifier counts as the
distance to its previous occurrence in it (Baker 1993). A window's hash is updated in constant time
per token: when a token leaves, the next occurrence of the same identifier becomes a first one.
Nothing here is shared with `prefilter`'s kernels.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.decontamination.gate_token_kernels import (
    MIX_FACTOR,
    description_codes,
    program_codes,
)
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.jit import kernel

Indices = npt.NDArray[np.int64]
Distances = npt.NDArray[np.int32]

BASE = np.uint64(0xA24BAED4963EE407)
NAME_BASE = np.uint64(0xD6E8FEB86659FD93)
_MAX_BITMAP_INDEX_BITS = 19  # 64 KiB
_BUCKETS = 1 << 12


class Windows(NamedTuple):
    """What is searched for: hashes of windows of `length` tokens, and of shorter texts.

    A shorter text is found by its last `suffix` tokens: `short_keys` are their hashes, and
    `short_lengths` and `short_hashes` say of how many tokens and which hash the text is.
    """

    length: int
    suffix: int
    hashes: Hashes  # sorted
    bitmap: Bytes
    shift: np.uint64
    short_keys: Hashes  # sorted
    short_bitmap: Bytes
    short_shift: np.uint64
    short_lengths: Indices
    short_hashes: Hashes
    powers: Hashes
    name_codes: Hashes  # by distance; 0: no previous occurrence in the window


@kernel
def previous_occurrences(
    codes: Hashes,
    is_name: Bytes,
    count: int,
    length: int,
    previous: Distances,
    following: Distances,
    link: Distances,
) -> None:
    """Write each identifier's distance to its previous and its next occurrence if that is less than
    `length`, else 0. `link` is room for as many tokens."""
    last = np.full(_BUCKETS, -1, np.int32)  # of each bucket of codes, the last identifier
    for index in range(count):
        previous[index] = following[index] = 0
        if not is_name[index]:
            continue
        bucket = codes[index] & np.uint64(_BUCKETS - 1)
        candidate = last[bucket]
        link[index], last[bucket] = candidate, index
        while candidate > index - length and candidate >= 0:
            if codes[candidate] == codes[index]:
                previous[index] = following[candidate] = index - candidate
                break
            candidate = link[candidate]


@kernel
def window_hash(
    codes: Hashes,
    is_name: Bytes,
    previous: Distances,
    end: int,
    length: int,
    powers: Hashes,
    name_codes: Hashes,
) -> Any:
    """The hash of the window of `length` tokens before `end`."""
    hashed = np.uint64(0)
    for offset in range(length):
        index = end - length + offset
        code = codes[index]
        if is_name[index]:
            code = name_codes[previous[index] if previous[index] <= offset else 0]
        hashed = hashed + code * powers[length - 1 - offset]
    return hashed


def bitmap_of(hashes: Hashes) -> tuple[Bytes, np.uint64]:
    """A bitmap of the high bits of mixed hashes, and by how much these are shifted for that.

    At least 64 bits for each hash, and at most 64 KiB.
    """
    num_index_bits = min(_MAX_BITMAP_INDEX_BITS, max(10, (64 * len(hashes)).bit_length()))
    shift = np.uint64(64 - num_index_bits)
    bits = np.zeros(1 << num_index_bits, np.uint8)
    bits[(hashes * MIX_FACTOR) >> shift] = 1
    return np.packbits(bits, bitorder="little"), shift


@kernel
def _is_in(hashed: Any, values: Hashes) -> bool:
    index = np.searchsorted(values, hashed)
    return bool(index < len(values) and values[index] == hashed)


@kernel
def _ends_shorter_text(
    hashed: Any, codes: Hashes, is_name: Bytes, previous: Distances, end: int, windows: Windows
) -> bool:
    """Whether a shorter text ends before token `end`; the last `suffix` tokens have that hash."""
    entry = np.searchsorted(windows.short_keys, hashed)
    while entry < len(windows.short_keys) and windows.short_keys[entry] == hashed:
        length = windows.short_lengths[entry]
        if length <= end and windows.short_hashes[entry] == window_hash(
            codes, is_name, previous, end, length, windows.powers, windows.name_codes
        ):
            return True
        entry += 1
    return False


@kernel
def _has_window(
    codes: Hashes,
    is_name: Bytes,
    previous: Distances,
    following: Distances,
    count: int,
    windows: Windows,
) -> bool:
    # Written out for both lengths: a call with arrays would cost more than all of its work.
    length, suffix = windows.length, windows.suffix
    powers, name_codes = windows.powers, windows.name_codes
    bitmap, short_bitmap = windows.bitmap, windows.short_bitmap
    shift, short_shift = windows.shift, windows.short_shift
    last_power, short_last_power = powers[length - 1], powers[suffix - 1]
    first_name = name_codes[0]
    hashed = short_hashed = np.uint64(0)
    for index in range(count):
        code = short_code = codes[index]
        if is_name[index]:
            distance = previous[index]
            code = name_codes[distance]
            short_code = name_codes[distance] if distance < suffix else first_name
        if index >= length:
            leaving = index - length
            if is_name[leaving]:
                hashed -= first_name * last_power
                distance = following[leaving]
                if distance:  # the next occurrence is a first one from now on
                    change = first_name - name_codes[distance]
                    hashed += change * powers[length - 1 - distance]
            else:
                hashed -= codes[leaving] * last_power
        if index >= suffix:
            leaving = index - suffix
            if is_name[leaving]:
                short_hashed -= first_name * short_last_power
                distance = following[leaving]
                if 0 < distance < suffix:
                    change = first_name - name_codes[distance]
                    short_hashed += change * powers[suffix - 1 - distance]
            else:
                short_hashed -= codes[leaving] * short_last_power
        hashed = hashed * BASE + code
        short_hashed = short_hashed * BASE + short_code
        slot = (hashed * MIX_FACTOR) >> shift
        if (
            bitmap[slot >> np.uint64(3)] >> (slot & np.uint64(7)) & np.uint8(1)
            and index >= length - 1
            and _is_in(hashed, windows.hashes)
        ):
            return True
        slot = (short_hashed * MIX_FACTOR) >> short_shift
        if (
            short_bitmap[slot >> np.uint64(3)] >> (slot & np.uint64(7)) & np.uint8(1)
            and index >= suffix - 1
            and _ends_shorter_text(short_hashed, codes, is_name, previous, index + 1, windows)
        ):
            return True
    return False


@kernel
def flag_texts(
    data: Bytes,
    offsets: Offsets,
    fixed: Hashes,
    programs: Windows,
    descriptions: Windows,
    flags: npt.NDArray[np.bool_],
) -> None:
    """Set the flag of each text with a window of `programs` or of `descriptions`.

    Memory: 22 bytes per byte of the longest text.
    """
    longest = 0
    for row in range(len(flags)):
        longest = max(longest, offsets[row + 1] - offsets[row])
    codes = np.zeros(longest, np.uint64)
    previous, following = np.zeros(longest, np.int32), np.zeros(longest, np.int32)
    link = np.zeros(longest, np.int32)
    is_name, is_no_name = np.zeros(longest, np.uint8), np.zeros(longest, np.uint8)
    for row in range(len(flags)):
        start, end = offsets[row], offsets[row + 1]
        count = program_codes(data, start, end, fixed, codes, is_name)
        previous_occurrences(codes, is_name, count, programs.length, previous, following, link)
        flags[row] = _has_window(codes, is_name, previous, following, count, programs)
        if not flags[row]:
            count = description_codes(data, start, end, codes)
            flags[row] = _has_window(codes, is_no_name, previous, following, count, descriptions)
