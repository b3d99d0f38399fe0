"""Launch a GPU job's module with several processes.

`python -m snow_assets.runtime.torchrun NODES PROCESSES MODULE JOB_FOLDER` on each node, PROCESSES
per node.

The failure of a process ends all of them (`max_restarts=0`), and the job's next attempt resumes
from the last checkpoint.

The rendezvous endpoint of several nodes is SNOW_RENDEZVOUS (host:port, e.g. of a headless Service).
Without it the first node writes its address, POD_IP, to the folder of the job's attempt.
"""

import hashlib
import os
import sys
import time

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from snow_assets.runtime import worker
from snow_assets.storage import shards

_PORT = 29_400
_SHUTDOWN_SECONDS = 3_600  # for a step and a checkpoint; a pod's grace period is shorter
_RENDEZVOUS_SECONDS = 1_800  # until the last node's pod has been scheduled and pulled


def main(nodes: int, processes: int, module: str, folder: str) -> int:
    """Launch the module; return an exit code as in `worker.py`."""
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=hashlib.sha256(folder.encode()).hexdigest()[:16],
        rdzv_backend="c10d",
        rdzv_endpoint=_rendezvous_endpoint(folder) if nodes > 1 else "localhost:0",
        rdzv_configs={"timeout": _RENDEZVOUS_SECONDS},
        max_restarts=0,
        local_addr=os.environ.get("POD_IP"),
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, folder)
    except SignalException:
        return worker.PREEMPTED
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        print(error, file=sys.stderr)  # noqa: T201  the pod's log
        if failure.exitcode in (worker.BAD_INPUT, worker.RETRYABLE, worker.PREEMPTED):
            return int(failure.exitcode)
        # The cause may be a process of another node: this one only reports a broken connection.
        return worker.RETRYABLE if nodes > 1 else max(failure.exitcode, 1)
    return 0


def _rendezvous_endpoint(folder: str) -> str:
    if endpoint := os.environ.get("SNOW_RENDEZVOUS"):
        return endpoint
    url = shards.join(folder, "rendezvous.txt")
    if os.environ["JOB_COMPLETION_INDEX"] == "0":
        shards.put(url, f"{os.environ['POD_IP']}:{_PORT}".encode())
    end = time.monotonic() + _RENDEZVOUS_SECONDS
    while not shards.exists(url):
        if time.monotonic() > end:
            raise TimeoutError(f"the first node wrote no address to {url}")
        time.sleep(0.5)
    return shards.get(url).decode()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(f"usage: NODES PROCESSES MODULE JOB_FOLDER, not {sys.argv[1:]}")
    worker.end_with_parent()
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
