"""The executor that the environment names: this process, or a Ray cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import InProcessExchange

ADDRESS = "SNOW_RAY_ADDRESS"
"""Unset: this process. `local`: Ray on this machine. Else the address of a Ray cluster:
`ray://HOST:10001`, or `auto` on one of its nodes. No result, so no fingerprint depends on it."""


@contextmanager
def open_exchange() -> Iterator[Exchange]:
    """The exchange that SNOW_RAY_ADDRESS names, connected while the context lasts."""
    address = os.environ.get(ADDRESS, "")
    if not address:
        yield InProcessExchange()
        return
    from snow_assets.runtime.exchange.ray_cluster import ray_exchange

    with ray_exchange(address) as exchange:
        yield exchange
