"""Small JSON files with a checksum of themselves: manifests, pointers, records, markers.

The checksum is the SHA-256 of the file's bytes with 64 zeros in place of the checksum, so that any
change of the file is detected, also of white space.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_CHECKSUM = "checksum"
_PLACEHOLDER = "0" * 64


class DamagedFileError(ValueError):
    """A file of the lake is damaged; the message holds its URL, the reason and the remedy."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(f"{url} is damaged ({reason}): {remedy}")
        self.url, self.reason, self.remedy = url, reason, remedy


def dump(value: Mapping[str, Any]) -> bytes:
    """Serialize with a checksum; `value` is plain JSON."""
    ordered = json.loads(json.dumps(value, sort_keys=True))
    content = json.dumps({_CHECKSUM: _PLACEHOLDER, **ordered}, indent=1)
    return content.replace(_PLACEHOLDER, _digest(content.encode()), 1).encode()


def load(url: str, content: bytes, *, remedy: str) -> dict[str, Any]:
    """Parse a file and verify its checksum, which is removed; DamagedFileError if it is damaged."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(url, f"no JSON: {error}", remedy) from None
    if not isinstance(value, dict):
        raise DamagedFileError(url, "no JSON object", remedy)
    checksum = value.pop(_CHECKSUM, None)
    if checksum is None:
        raise DamagedFileError(url, "it has no checksum", remedy)
    unsigned = content.replace(str(checksum).encode(errors="replace"), _PLACEHOLDER.encode(), 1)
    if _digest(unsigned) != checksum:
        raise DamagedFileError(url, "its checksum is another", remedy)
    return value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
