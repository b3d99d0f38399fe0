"""Chance as a function of what is drawn, so that order and number of workers change nothing."""

import hashlib


def stable_share(identity: str, *, seed: int) -> float:
    """A number in [0, 1) that belongs to an identity and a seed; uniform over identities."""
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
