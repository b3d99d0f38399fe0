"""Compiled decoding of packed documents: token ids to bytes."""

import numpy as np
import numpy.typing as npt

from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.jit import kernel


@kernel
def decode_documents(
    ids: npt.NDArray[np.uint32],
    starts: Offsets,
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
