"""A Ray cluster of two nodes on this machine, with a core each."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from snow_assets.runtime.exchange.ray_cluster import NODE_SETTINGS, ray_exchange

NODE = {"num_cpus": 1, "object_store_memory": 150_000_000, "include_dashboard": False}
_START_ATTEMPTS = 6
_TOKEN = secrets.token_hex(32)  # of all clusters of this process, which keeps the first


def started(start: Any) -> Any:
    """What `start` returns; Ray's processes may take longer than it waits on a loaded machine."""
    for attempts_left in reversed(range(_START_ATTEMPTS)):
        try:
            return start()
        except Exception as error:  # Ray raises Exception itself when its start takes too long
            if not attempts_left:
                raise
            print(f"Ray did not start: {error}; once more")
    raise AssertionError("no attempt was made")


@pytest.fixture(scope="module")
def ray_environment() -> Iterator[None]:
    """Ray's settings for processes that a test starts; the token is not kept in the home folder."""
    settings = {
        **NODE_SETTINGS,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
        "OMP_NUM_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def connected(cluster: Any) -> Iterator[Any]:
    """This process, connected to the cluster by its address."""
    with ray_exchange(cluster.address):
        yield cluster


@pytest.fixture(scope="module")
def cluster(ray_environment: None) -> Iterator[Any]:
    from ray import cluster_utils

    running = started(lambda: cluster_utils.Cluster(initialize_head=True, head_node_args=NODE))
    started(lambda: running.add_node(**NODE))
    yield running
    running.shutdown()
