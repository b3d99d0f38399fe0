"""A set of document ids in bounded memory."""

from collections.abc import Iterable

import numpy as np

_MAX_RECENT_IDS = 1 << 20


class DocumentIds:
    """Set of admitted documents, to drop files that a source holds twice.

    Memory: 8 bytes per document, and a set of at most a million.
    """

    def __init__(self, documents: Iterable[str]) -> None:
        """Start with these documents."""
        self._recent: set[int] = set()
        self._older = np.empty(0, np.uint64)
        for name in documents:
            self.add(name)

    def add(self, document: str) -> bool:
        """Add a document; return whether it is new, by 64 bits of its digest."""
        key = int(document[:16], 16)
        position = int(np.searchsorted(self._older, np.uint64(key)))
        is_older = position < len(self._older) and int(self._older[position]) == key
        if is_older or key in self._recent:
            return False
        self._recent.add(key)
        if len(self._recent) >= _MAX_RECENT_IDS:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._older = np.union1d(self._older, recent)
            self._recent.clear()
        return True
