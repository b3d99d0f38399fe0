"""Ids of files and texts, sha256 in hexadecimal.

`document_id` names one file of one repository in one source, `raw_id` its bytes as received,
`text_id` its redacted text, so that copies share it.
"""

import binascii
import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ID_CHARS = 64
_KEY_CHARS = 16


def document_id(source: str, repository: str, path: str, raw_id: str) -> str:
    """Name one received file: the same file of the same snapshot always has the same name."""
    return hashlib.sha256("\0".join((source, repository, path, raw_id)).encode()).hexdigest()


def text_id(text: str) -> str:
    """Name a text by its content (UTF-8; a lone surrogate is an error of the caller)."""
    return hashlib.sha256(text.encode()).hexdigest()


def first_64_bits(ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """The first 64 bits of each id of a column; they sort as the ids do."""
    chars = id_chars(ids)[:, :_KEY_CHARS]
    return np.frombuffer(binascii.unhexlify(chars.tobytes()), dtype=">u8").astype(np.uint64)


def id_chars(ids: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """A column of ids as characters, (ids, 64)."""
    parts = [np.zeros((0, ID_CHARS), dtype=np.uint8)]
    for chunk in ids.chunks:
        if len(chunk):
            flat = chunk.cast(pa.binary()).cast(pa.binary(ID_CHARS))
            data = np.frombuffer(flat.buffers()[1], dtype=np.uint8)
            start = flat.offset * ID_CHARS
            parts.append(data[start : start + len(flat) * ID_CHARS].reshape(-1, ID_CHARS))
    return np.concatenate(parts)
