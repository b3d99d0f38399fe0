"""Start Ray on a job's nodes, and run the job's module on the first of them.

`python -m snow_assets.runtime.ray_nodes CPUS MEMORY_GIB MODULE JOB_FOLDER` on each node.

The first node (JOB_COMPLETION_INDEX 0) starts Ray's head, writes its address and a new token to the
folder of the job's attempt, and runs the module with SNOW_RAY_ADDRESS. The others join it until the
module's report exists. A node that was lost joins again; if the first is lost, it starts another
head, which the others join. Outside a pod there is one node: Ray's start is the module's.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from snow_assets.runtime import worker
from snow_assets.runtime.exchange.chosen import ADDRESS
from snow_assets.runtime.exchange.ray_cluster import LOCAL, NODE_SETTINGS
from snow_assets.storage import shards

_CLUSTER = "ray.json"
_PORT = 6_379
_START_SECONDS = 1_800  # until Ray runs on a loaded machine, or the first node was scheduled
_STORE_FRACTION = 0.3  # of a node's memory: its object store, which lies in /dev/shm
_POLL_SECONDS = 2.0
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]
_SETTINGS = {**NODE_SETTINGS, "RAY_AUTH_MODE": "token"}


@dataclass(frozen=True, kw_only=True)
class _Cluster:
    """How nodes join: the head's host:port, and the token that Ray wants of each connection."""

    address: str
    token: str

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, **_SETTINGS, "RAY_AUTH_TOKEN": self.token}


def main(cpus: int, memory_gib: int, module: str, folder: str) -> int:
    """Be a node of the job; return an exit code as in `worker.py`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(worker.PREEMPTED))
    work = [sys.executable, "-m", module, folder]
    if "POD_IP" not in os.environ:
        return _wait(work, {**os.environ, ADDRESS: LOCAL})
    start = [*_RAY, "start", f"--num-cpus={max(1, cpus)}"]
    start += [f"--object-store-memory={int(memory_gib * _STORE_FRACTION * 2**30)}"]
    start += [f"--node-ip-address={os.environ['POD_IP']}"]
    if os.environ.get("JOB_COMPLETION_INDEX", "0") == "0":
        return _head(start, work, folder)
    return _node(start, folder)


def _head(start: list[str], work: list[str], folder: str) -> int:
    cluster = _Cluster(address=f"{os.environ['POD_IP']}:{_PORT}", token=secrets.token_hex(32))
    environment = cluster.environment()
    _start([*start, "--head", f"--port={_PORT}", "--include-dashboard=false"], environment)
    url = shards.join(folder, _CLUSTER)
    shards.put(url, json.dumps(asdict(cluster)).encode())
    try:
        return _wait(work, {**environment, ADDRESS: cluster.address})
    finally:
        if _cluster(folder) == cluster:  # and not yet that of a pod which replaces this one
            shards.remove(url)


def _start(command: list[str], environment: Mapping[str, str]) -> None:
    """Start Ray, again where it takes longer than Ray waits for it."""
    end = time.monotonic() + _START_SECONDS
    while subprocess.run(command, env=environment, check=False).returncode:
        if time.monotonic() > end:
            raise TimeoutError(f"Ray did not start within {_START_SECONDS} s; its output is above")
        _stop(environment)
        time.sleep(_POLL_SECONDS)


def _stop(environment: Mapping[str, str]) -> None:
    """Kill Ray's processes of this node."""
    subprocess.run([*_RAY, "stop", "--force"], env=environment, check=False)


def _node(start: list[str], folder: str) -> int:
    """Take part in the clusters of the folder until the report exists."""
    end = time.monotonic() + _START_SECONDS
    while not shards.exists(shards.join(folder, worker.REPORT)):
        cluster = _cluster(folder)
        if cluster is not None:
            _take_part([*start, f"--address={cluster.address}", "--block"], cluster, folder)
            end = time.monotonic() + _START_SECONDS
        elif time.monotonic() > end:
            raise TimeoutError(f"the first node wrote no address to {folder}/{_CLUSTER}")
        time.sleep(_POLL_SECONDS)
    return 0


def _cluster(folder: str) -> _Cluster | None:
    """The cluster that the first node runs now; None: none yet, or none any more."""
    try:
        return _Cluster(**json.loads(shards.get(shards.join(folder, _CLUSTER))))
    except FileNotFoundError:
        return None


def _take_part(command: list[str], cluster: _Cluster, folder: str) -> None:
    """Run Ray's node until it ends, or the first node runs another cluster or none."""
    with subprocess.Popen(command, env=cluster.environment()) as node:
        try:
            while node.poll() is None and _cluster(folder) == cluster:
                time.sleep(_POLL_SECONDS)
        finally:
            _stop(cluster.environment())  # at once; SIGTERM would drain the node for 30 s


def _wait(command: list[str], environment: Mapping[str, str]) -> int:
    """Run the command; return its exit code, a signal's as a shell does."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            code = process.wait()
        finally:
            process.terminate()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(f"usage: CPUS MEMORY_GIB MODULE JOB_FOLDER, not {sys.argv[1:]}")
    worker.end_with_parent()
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
