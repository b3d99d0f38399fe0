"""Small JSON files that carry a checksum of themselves: manifests, pointers, records, markers.

The checksum is the SHA-256 of the file's bytes with 64 zeros in its own place, so that any change
of the file is noticed, in its white space too. Files written before there were checksums are read
as long as they hold no key that is unknown.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

CHECKSUM = "checksum"
_ZEROS = "0" * 64


class DamagedFileError(ValueError):
    """A file of the lake is not what was written; the message names it and the remedy."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(f"{url} is damaged ({reason}): {remedy}")
        self.url, self.reason, self.remedy = url, reason, remedy


def dump(value: Mapping[str, Any]) -> bytes:
    """The file's bytes; `value` is plain JSON."""
    ordered = json.loads(json.dumps(value, sort_keys=True))
    content = json.dumps({CHECKSUM: _ZEROS, **ordered}, indent=1)
    return content.replace(_ZEROS, _digest(content.encode()), 1).encode()


def load(url: str, content: bytes, *, known_keys: Collection[str], remedy: str) -> dict[str, Any]:
    """The value of a file without its checksum; DamagedFileError if it is not what was written.

    `known_keys`: all that a file without a checksum may hold.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(url, f"no JSON: {error}", remedy) from None
    if not isinstance(value, dict):
        raise DamagedFileError(url, "no JSON object", remedy)
    checksum = value.pop(CHECKSUM, None)
    if checksum is None:
        if unknown := sorted(value.keys() - set(known_keys)):
            raise DamagedFileError(url, f"it has no checksum and a key {unknown[0]!r}", remedy)
        return value
    unsigned = content.replace(str(checksum).encode(errors="replace"), _ZEROS.encode(), 1)
    if _digest(unsigned) != checksum:
        raise DamagedFileError(url, "its checksum is another", remedy)
    return value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
