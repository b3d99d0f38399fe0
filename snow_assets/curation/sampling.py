"""Deterministic sampling by hash, independent of the order and the number of workers."""

import hashlib


def stable_share(identity: str, *, seed: int) -> float:
    """Hash an identity and a seed to a number in [0, 1), uniform over identities."""
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
