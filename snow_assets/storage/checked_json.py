"""Small JSON files with a checksum of themselves: manifests, pointers, records, markers.

The checksum is the SHA-256 of the file's bytes with 64 zeros in place of the checksum, so that any
change of the file is detected, also of white space. Files of older versions without a checksum are
read if they hold no unknown key.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

CHECKSUM = "checksum"
_PLACEHOLDER = "0" * 64


class DamagedFileError(ValueError):
    """A file of the lake is damaged; the message holds its URL, the reason and the remedy."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(f"{url} is damaged ({reason}): {remedy}")
        self.url, self.reason, self.remedy = url, reason, remedy


def dump(value: Mapping[str, Any]) -> bytes:
    """Serialize with a checksum; `value` is plain JSON."""
    ordered = json.loads(json.dumps(value, sort_keys=True))
    content = json.dumps({CHECKSUM: _PLACEHOLDER, **ordered}, indent=1)
    return content.replace(_PLACEHOLDER, _digest(content.encode()), 1).encode()


def load(url: str, content: bytes, *, known_keys: Collection[str], remedy: str) -> dict[str, Any]:
    """Parse a file and verify its checksum, which is removed; DamagedFileError if it is damaged.

    `known_keys`: the keys allowed in a file without a checksum.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(url, f"no JSON: {error}", remedy) from None
    if not isinstance(value, dict):
        raise DamagedFileError(url, "no JSON object", remedy)
    checksum = value.pop(CHECKSUM, None)
    if checksum is None:
        if unknown := sorted(value.keys() - {*known_keys, *_FORMER_KEYS}):
            raise DamagedFileError(url, f"it has no checksum and a key {unknown[0]!r}", remedy)
        return with_present_keys(value)
    unsigned = content.replace(str(checksum).encode(errors="replace"), _PLACEHOLDER.encode(), 1)
    if _digest(unsigned) != checksum:
        raise DamagedFileError(url, "its checksum is another", remedy)
    return with_present_keys(value)


_FORMER_KEYS = {"facts": "stats", "settings": "config", "generation": "fingerprint"}
"""Keys of manifests, records and pointers that were written before December 2026."""


def with_present_keys(value: dict[str, Any]) -> dict[str, Any]:
    """Rename former keys of a file and of the entries of its lists, in place."""
    entries = [entry for part in value.values() if isinstance(part, list) for entry in part]
    for entry in (value, *(entry for entry in entries if isinstance(entry, dict))):
        for former, key in _FORMER_KEYS.items():
            if former in entry:
                entry[key] = entry.pop(former)
    return value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
