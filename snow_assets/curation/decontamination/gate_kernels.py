"""Compiled search of the gate: tokens of a text, and rolling hashes of windows of them.

The tokens are those of `program_tokens`, and so are the windows that are alike: in a window an
identifier counts as the distance to its previous occurrence in it (Baker 1993). A window's hash is
updated in constant time per token: when a token leaves, the next occurrence of the same identifier
becomes a first one. Nothing here is shared with `prefilter`'s kernels.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.jit import kernel

Indices = npt.NDArray[np.int64]
Distances = npt.NDArray[np.int32]

BASE = np.uint64(0xA24BAED4963EE407)
NAME_BASE = np.uint64(0xD6E8FEB86659FD93)
_WORD_BASE = np.uint64(0x9FB21C651E98DF25)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3's finalizer
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_BITMAP_BITS = 19
_BUCKETS = 1 << 12

_QUOTE, _APOSTROPHE, _BACKSLASH, _NEWLINE = 0x22, 0x27, 0x5C, 0x0A
_SLASH, _STAR, _NUMBER_SIGN = 0x2F, 0x2A, 0x23
_SPACE, _WORD, _SYMBOL, _NOISE = 0, 1, 2, 3
_TWO_BYTES, _THREE_BYTES = 1, 2


def _classes() -> Bytes:
    """Of each byte: white space and what is ignored, part of a word, a symbol, or a symbol that
    may begin a comment or a string."""
    classes = np.full(256, _SPACE, np.uint8)
    classes[0x80:] = _WORD
    for byte in range(0x21, 0x7F):
        char = chr(byte)
        if char.isalnum() or char == "_":
            classes[byte] = _WORD
        elif char in "\"'#/":
            classes[byte] = _NOISE
        elif char not in "\\;":
            classes[byte] = _SYMBOL
    return classes


def _lower_letters() -> Bytes:
    """Of each byte the ASCII letter in lower case, else 0; of the first byte of the two other
    characters of which str.lower makes ASCII letters, how long they are."""
    letters = np.zeros(256, np.uint8)
    letters[0xC4] = _TWO_BYTES  # 0xB0: I with a dot, which becomes i and a combining dot
    letters[0xE2] = _THREE_BYTES  # 0x84 0xAA: the sign of the unit Kelvin, which becomes k
    for upper, lower in zip(range(0x41, 0x5B), range(0x61, 0x7B), strict=True):
        letters[upper] = letters[lower] = lower
    return letters


_CLASSES = _classes()
_LOWER_LETTERS = _lower_letters()


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
def _mixed(value: Any) -> Any:
    hashed = np.uint64(value)
    hashed = (hashed ^ (hashed >> np.uint64(33))) * _MIX_1
    hashed = (hashed ^ (hashed >> np.uint64(33))) * _MIX_2
    return hashed ^ (hashed >> np.uint64(33))


@kernel
def _is_fixed(code: Any, fixed: Hashes) -> bool:
    """Whether a hash table (open addressing, 0: free) holds the code."""
    mask = np.uint64(len(fixed) - 1)
    slot = code & mask
    while fixed[slot]:
        if fixed[slot] == code:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


def fixed_table(codes: Hashes) -> Hashes:
    """A hash table of codes for the kernels."""
    table = np.zeros(1 << (4 * len(codes)).bit_length(), np.uint64)
    for code in codes.tolist():
        slot = code % len(table)
        while table[slot]:
            slot = (slot + 1) % len(table)
        table[slot] = code
    return table


@kernel
def _closing_quote(text: Bytes, start: int, end: int) -> int:
    """The offset of the quote that closes the string at `start`; if there is none, -1 - the offset
    at which its line or the text ends."""
    quote, offset = text[start], start + 1
    while offset < end:
        byte = text[offset]
        if byte == quote:
            return offset
        if byte == _NEWLINE:
            break
        if byte == _BACKSLASH:
            if offset + 1 == end:
                break
            offset += 1
        offset += 1
    return -1 - offset


@kernel
def program_codes(
    text: Bytes, start: int, end: int, fixed: Hashes, codes: Hashes, is_name: Bytes
) -> int:
    """Write code and whether it is an identifier of each token of text[start:end]; return their
    number. Time: linear, since the end of an unterminated string or comment is searched once."""
    last_comment_end = -1
    for offset in range(end - 2, start - 1, -1):
        if text[offset] == _STAR and text[offset + 1] == _SLASH:
            last_comment_end = offset
            break
    broken_quote = broken_apostrophe = start  # quotes before it are unterminated
    count, offset = 0, start
    while offset < end:
        byte = text[offset]
        kind = _CLASSES[byte]
        if kind == _WORD:
            is_number = 0x30 <= byte <= 0x39
            hashed = np.uint64(0)
            while True:
                hashed = (hashed + np.uint64(byte) + np.uint64(1)) * _WORD_BASE
                offset += 1
                if offset == end:
                    break
                byte = text[offset]
                if _CLASSES[byte] != _WORD:
                    break
            code = _mixed(hashed)
            codes[count] = code
            is_name[count] = not is_number and not _is_fixed(code, fixed)
            count += 1
            continue
        if kind == _SPACE:
            offset += 1
            continue
        if kind == _NOISE:
            following = text[offset + 1] if offset + 1 < end else np.uint8(0)
            if byte == _NUMBER_SIGN or (byte == _SLASH and following == _SLASH):
                while offset < end and text[offset] != _NEWLINE:
                    offset += 1
                continue
            if byte == _SLASH and following == _STAR and offset + 2 <= last_comment_end:
                offset += 2
                while text[offset] != _STAR or text[offset + 1] != _SLASH:
                    offset += 1
                offset += 2
                continue
            if byte != _SLASH:
                if following == byte and offset + 2 < end and text[offset + 2] == byte:
                    offset += 3
                    continue
                broken = broken_quote if byte == _QUOTE else broken_apostrophe
                if offset >= broken:
                    closing = _closing_quote(text, offset, end)
                    if closing >= 0:
                        byte, offset = np.uint8(_QUOTE), closing
                    elif byte == _QUOTE:
                        broken_quote = -1 - closing
                    else:
                        broken_apostrophe = -1 - closing
        codes[count] = _mixed(np.uint64(byte) + np.uint64(1))
        is_name[count] = 0
        count += 1
        offset += 1
    return count


@kernel
def description_codes(text: Bytes, start: int, end: int, codes: Hashes) -> int:
    """Write the code of each word of text[start:end] in lower case, of two ASCII letters or more;
    return their number."""
    count, offset = 0, start
    while offset < end:
        letter = _LOWER_LETTERS[text[offset]]
        if letter == 0:
            offset += 1
            continue
        letters, hashed = 0, np.uint64(0)
        while letter:
            num_bytes, is_last = 1, False
            if letter == _TWO_BYTES:
                if offset + 1 < end and text[offset + 1] == 0xB0:
                    letter, num_bytes, is_last = np.uint8(0x69), 2, True
                else:
                    break
            elif letter == _THREE_BYTES:
                if offset + 2 < end and text[offset + 1] == 0x84 and text[offset + 2] == 0xAA:
                    letter, num_bytes = np.uint8(0x6B), 3
                else:
                    break
            hashed = (hashed + np.uint64(letter)) * _WORD_BASE
            letters += 1
            offset += num_bytes
            if is_last or offset >= end:
                break
            letter = _LOWER_LETTERS[text[offset]]
        if letters > 1:
            codes[count] = _mixed(hashed)
            count += 1
        elif letters == 0:
            offset += 1
    return count


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
    num_index_bits = min(19, max(10, (64 * len(hashes)).bit_length()))
    shift = np.uint64(64 - num_index_bits)
    bits = np.zeros(1 << num_index_bits, np.uint8)
    bits[(hashes * _MIX_1) >> shift] = 1
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
        slot = (hashed * _MIX_1) >> shift
        if (
            bitmap[slot >> np.uint64(3)] >> (slot & np.uint64(7)) & np.uint8(1)
            and index >= length - 1
            and _is_in(hashed, windows.hashes)
        ):
            return True
        slot = (short_hashed * _MIX_1) >> short_shift
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


@kernel
def decode_documents(
    ids: npt.NDArray[np.uint32],
    starts: Indices,
    sections: Bytes,
    token_data: Bytes,
    token_offsets: Offsets,
    data: Bytes,
    offsets: Offsets,
) -> None:
    """Write the bytes of each document, ids[starts[row] : starts[row + 1]], and their offsets.

    `sections` says of each token that begins a section of a document, which (from 1), else 0; a
    document's sections are written in this order, what stands before the first one at the front.
    """
    position = 0
    offsets[0] = 0
    for row in range(len(starts) - 1):
        start, end = starts[row], starts[row + 1]
        last_section = np.uint8(0)
        for index in range(start, end):
            last_section = max(last_section, sections[ids[index]])
        for section in range(last_section + 1):
            current = 0
            for index in range(start, end):
                token = ids[index]
                if last_section:
                    if sections[token]:
                        current = sections[token]
                    if current != section:
                        continue
                for offset in range(token_offsets[token], token_offsets[token + 1]):
                    data[position] = token_data[offset]
                    position += 1
        offsets[row + 1] = position
