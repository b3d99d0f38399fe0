"""How much data a step reads or writes."""

from collections.abc import Iterable
from dataclasses import dataclass

from snow_assets.storage import shards


@dataclass(frozen=True, kw_only=True)
class Size:
    documents: float = 0
    tokens: float = 0
    num_bytes: float = 0

    def times(self, factor: float) -> "Size":
        return Size(
            documents=self.documents * factor,
            tokens=self.tokens * factor,
            num_bytes=self.num_bytes * factor,
        )


def size_of(manifest: shards.Manifest) -> Size:
    return Size(
        documents=manifest.files.total("num_rows"),
        tokens=manifest.files.total("num_tokens"),
        num_bytes=manifest.files.total("num_bytes"),
    )


def total_size(sizes: Iterable[Size]) -> Size:
    summands = list(sizes)
    return Size(
        documents=sum(size.documents for size in summands),
        tokens=sum(size.tokens for size in summands),
        num_bytes=sum(size.num_bytes for size in summands),
    )
