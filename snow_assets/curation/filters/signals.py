"""Quality signals of documents, which `heuristics` compares with thresholds.

They are measured once per document, on the redacted text that would be trained on, for a column of
texts at once (see `signal_kernels`). The patterns of encoded data are StarCoder2's
(arXiv 2402.19173, section 3.4): `[A-Za-z0-9+/\\n=]{64,}`,
`(?:\\b(?:0x|\\\\x)?[0-9a-fA-F]{2}(?:,|\\b\\s*)){8,}` and `(?:\\\\u[0-9a-fA-F]{4}){8,}`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from snow_assets.corpus.notebooks import is_python
from snow_assets.curation.columns import buffers
from snow_assets.curation.filters import signal_kernels as kernels
from snow_assets.curation.filters.generated import are_generated


def signals(
    texts: pa.Array, *, paths: pa.Array, languages: Sequence[str], with_parses: bool
) -> dict[str, Any]:
    """The columns of documents.SIGNALS, without the counts of redactions.

    num_lines: lines that `\\n`, `\\r\\n` or `\\r` end, and an unterminated last line.
    mean_line_chars, max_line_chars: without the line break; 0 in an empty text.
    alphabetic_share, alphanumeric_share: of all characters, Unicode letters (and digits).
    longest_encoded_chars, encoded_share: over runs that look like base64 (64 characters or more),
    hexadecimal bytes (8 or more) or \\u escapes (8 or more); overlapping runs count once.
    parses: whether `ast` of the running Python parses it; True for other languages; null without
    `with_parses`, because it costs more than all other signals together.
    """
    data, offsets = buffers(texts)
    counts = kernels.count_signals(data, offsets)
    chars = counts[:, kernels.CHARS]
    letters, digits = counts[:, kernels.LETTERS], counts[:, kernels.DIGITS]
    return {
        "num_bytes": np.diff(offsets),
        "num_chars": chars,
        "num_lines": counts[:, kernels.LINES],
        "mean_line_chars": _share(counts[:, kernels.LINE_CHARS], counts[:, kernels.LINES]),
        "max_line_chars": counts[:, kernels.MAX_LINE_CHARS],
        "alphabetic_share": _share(letters, chars),
        "alphanumeric_share": _share(letters + digits, chars),
        "longest_encoded_chars": counts[:, kernels.LONGEST_ENCODED],
        "encoded_share": _share(counts[:, kernels.ENCODED], chars),
        "is_generated": are_generated(
            texts,
            paths=paths,
            languages=languages,
            may_have_marker=counts[:, kernels.MAY_BE_GENERATED] != 0,
            chars_per_line=_share(chars, counts[:, kernels.LINE_BREAKS] + 1),
        ),
        "parses": _parses(texts, languages) if with_parses else pa.nulls(len(texts), pa.bool_()),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    shares: np.ndarray = part / np.maximum(whole, 1)
    return shares


def _parses(texts: pa.Array, languages: Sequence[str]) -> list[bool]:
    return [
        language != "python" or is_python(text.as_py())
        for text, language in zip(texts, languages, strict=True)
    ]
