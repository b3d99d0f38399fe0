"""Decode packed token ids to the bytes of documents."""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.columns import Bytes, Offsets, buffers
from snow_assets.curation.tokenizer.encoding import token_bytes
from snow_assets.curation.tokenizer.tokens import (
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
)

_SECTIONS = (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX)  # in the order of the text, not of the tokens


def decode_packed(ids: npt.ArrayLike, tokenizer: Tokenizer) -> str:
    """Decode a packed form or a part of one: no special tokens, fill-in-the-middle reversed."""
    section_of = {tokenizer.token_to_id(token): token for token in _SECTIONS}
    sections: dict[str, list[int]] = {name: [] for name in ("", *_SECTIONS)}
    current = ""
    for token in np.asarray(ids).tolist():
        current = section_of.get(token, current)
        sections[current].append(token)
    return "".join(
        tokenizer.decode(section, skip_special_tokens=True) for section in sections.values()
    )


@dataclass(frozen=True)
class Decoder:
    """Decodes many packed documents; compiled where each token always means the same bytes."""

    tokenizer: Tokenizer
    sections: Bytes  # by token id: which section it begins, from 1; else 0
    token_data: Bytes
    token_offsets: Offsets | None  # None: the tokenizer must decode

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Decoder":
        sections = np.zeros(tokenizer.get_vocab_size(), np.uint8)
        for index, token in enumerate(_SECTIONS):
            sections[tokenizer.token_to_id(token)] = index + 1
        tokens = token_bytes(tokenizer)
        if tokens is None:
            return cls(tokenizer, sections, np.zeros(0, np.uint8), None)
        return cls(tokenizer, sections, *buffers(pa.array(tokens, pa.large_binary())))

    def decode(
        self, ids: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64]
    ) -> tuple[Bytes, Offsets]:
        """Data and offsets of the documents ids[starts[row] : starts[row + 1]], as `decode_packed`
        but for a character that is cut, whose bytes stay. Releases the GIL."""
        if self.token_offsets is None:
            texts = [
                decode_packed(ids[start:end], self.tokenizer)
                for start, end in itertools.pairwise(starts.tolist())
            ]
            return buffers(pa.array(texts, pa.large_string()))
        from snow_assets.curation.tokenizer.decoding_kernels import decode_documents

        lengths = np.diff(self.token_offsets).astype(np.uint16)
        num_bytes = int(lengths[ids[starts[0] : starts[-1]]].sum(dtype=np.int64))
        data, offsets = np.empty(num_bytes, np.uint8), np.zeros(len(starts), np.int64)
        decode_documents(
            ids, starts, self.sections, self.token_data, self.token_offsets, data, offsets
        )
        data.flags.writeable = False  # so that kernels have a single signature
        return data, offsets
