"""Token ids of a column of texts by gigatoken, for the tokenizers whose ids it computes alike.

gigatoken knows byte-level BPE with GPT-2's expression and none with single digits, so texts are cut
at numeric characters first, as Hugging Face's `Digits` does, and the pieces are encoded by
themselves. Both libraries classify characters alike as far as Python's `unicodedata` knows them
(tests/curation/test_gigatoken.py compares every one); texts with others are left to the caller.
"""

import importlib.util
import json
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import Bytes, Offsets, buffers
from snow_assets.curation.jit import kernel
from snow_assets.curation.tokenizer.encoding import BYTE_LEVEL, MAX_BLANKS

_OTHER, _NUMERIC, _UNASSIGNED = 0, 1, 2


@dataclass(frozen=True)
class GigatokenEncoding:
    backend: Any
    splits_digits: bool

    @classmethod
    def of(cls, spec: Mapping[str, Any], *, splits_digits: bool) -> "GigatokenEncoding | None":
        """Of a tokenizer.json with byte-level BPE; None if gigatoken is not installed."""
        if importlib.util.find_spec("gigatoken") is None:
            return None
        from gigatoken.gigatoken_rs import load_hf_json

        pre_tokenizer = {**BYTE_LEVEL, "trim_offsets": True}
        plain = {**spec, "added_tokens": [], "pre_tokenizer": pre_tokenizer}
        return cls(load_hf_json(json.dumps(plain)), splits_digits)

    def encode(
        self, texts: pa.Array
    ) -> tuple[npt.NDArray[np.uint32], Offsets, npt.NDArray[np.bool_]]:
        """The ids of a string column's texts, one after another; the offsets of each text's, one
        more than texts; and which texts must be encoded otherwise, their ids being of no use.

        On the calling thread. Memory: about 20 bytes per byte of the texts.
        """
        import awkward as ak  # type: ignore[import-untyped]

        data, offsets = buffers(texts)
        data, offsets = data[offsets[0] : offsets[-1]], offsets - offsets[0]
        cuts = np.zeros(len(data) + 1, np.bool_)
        cuts[offsets] = True
        is_unsupported = np.zeros(len(texts), np.bool_)
        cut_numbers(data, offsets, character_classes(), self.splits_digits, cuts, is_unsupported)
        pieces = np.flatnonzero(cuts)
        strings = ak.contents.NumpyArray(data, parameters={"__array__": "byte"})
        column = ak.contents.ListOffsetArray(
            ak.index.Index64(pieces), strings, parameters={"__array__": "bytestring"}
        )
        encoded = self.backend.encode_batch(ak.Array(column), parallel=False)
        ids: npt.NDArray[np.uint32] = ak.to_numpy(ak.flatten(encoded))
        piece_ends = np.cumsum(ak.to_numpy(ak.num(encoded)))
        id_offsets = np.concatenate([[0], piece_ends])[np.searchsorted(pieces, offsets)]
        return ids.astype(np.uint32, copy=False), id_offsets, is_unsupported


@cache
def character_classes() -> Bytes:
    """Of each code point: numeric, unassigned as far as `unicodedata` knows, or neither."""
    class_of = {"N": _NUMERIC, "Cn": _UNASSIGNED}
    categories = (unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1))
    return np.fromiter(
        (class_of.get(name, class_of.get(name[0], _OTHER)) for name in categories), np.uint8
    )


@kernel
def cut_numbers(
    data: Bytes,
    offsets: Offsets,
    classes: Bytes,
    splits_digits: bool,
    cuts: npt.NDArray[np.bool_],
    is_unsupported: npt.NDArray[np.bool_],
) -> None:
    """Set the cuts before and after each numeric character, and the flag of each text with an
    unassigned character or a run of `MAX_BLANKS` white space, at which libraries' stacks end."""
    for row in range(len(offsets) - 1):
        offset, end = offsets[row], offsets[row + 1]
        blanks = 0
        while offset < end:
            first = data[offset]
            if first < 0x80:
                code, size = np.int64(first), 1
            elif first < 0xE0:
                code, size = np.int64(first & 0x1F), 2
            elif first < 0xF0:
                code, size = np.int64(first & 0x0F), 3
            else:
                code, size = np.int64(first & 0x07), 4
            for following in range(1, size):
                code = code << 6 | np.int64(data[offset + following] & 0x3F)
            character_class = classes[code]
            if character_class == _NUMERIC and splits_digits:
                cuts[offset] = cuts[offset + size] = True
            elif character_class == _UNASSIGNED:
                is_unsupported[row] = True
            blanks = blanks + 1 if code <= 0x20 or size > 1 else 0
            if blanks >= MAX_BLANKS:
                is_unsupported[row] = True
            offset += size
