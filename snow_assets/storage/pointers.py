"""Current pointers: the artifact that a recipe materialized last, per asset and partition."""

from collections.abc import Mapping
from typing import Any

from snow_assets.storage import checked_json, shards
from snow_assets.storage.checked_json import DamagedFileError


def pointer_content(fingerprint: str, digest: str, ids: Mapping[str, str]) -> bytes:
    """Content of a pointer's file, with a checksum."""
    return checked_json.dump({"fingerprint": fingerprint, "digest": digest, **ids})


def read_pointer(url: str) -> dict[str, Any] | None:
    """Read a pointer, `.../current/RECIPE/ASSET/PARTITION.json`; None if it does not exist.

    Raises DamagedFileError with the file and what to materialize again.
    """
    try:
        content = shards.get(url)
    except FileNotFoundError:
        return None
    remedy = pointer_remedy(url)
    value = checked_json.load(url, content, remedy=remedy)
    if not all(isinstance(value.get(key), str) for key in ("fingerprint", "digest")):
        raise DamagedFileError(url, "it names no fingerprint and digest", remedy)
    return value


def pointer_remedy(url: str) -> str:
    """The remedy for a damaged pointer."""
    _, asset, name = url.rsplit("/", 2)
    partition = name.removesuffix(".json")
    return f"materialize {asset}{'' if partition == 'all' else f' [{partition}]'} again"
