"""Worker in a pod without network and lake: `python -m snow_assets.runtime.isolated_worker MODULE`.

The request is mounted as numbered files. The report is a block of the pod's log with its digest,
since the log is the pod's only output. Before the module runs, the canary (SNOW_CANARY: addresses
and port of a server that is up) must be unreachable, which shows that the cluster enforces the
network policy.
The launcher resolves the canary's name, since a pod without network cannot; a name in SNOW_CANARY
is refused, because a connection that fails for lack of an address proves nothing about the network.
"""

import base64
import gzip
import hashlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from snow_assets.runtime import worker

REQUEST_FOLDER = "/request"
"""Holds the gzipped request in numbered files, the slices that fit a ConfigMap each."""
BEGIN, END = "-----BEGIN SNOW REPORT-----", "-----END SNOW REPORT-----"
"""Around the base64 of the gzipped report, 1,000 characters a line, after its sha256."""

_CANARY_SECONDS = 3.0
_LINE_CHARS = 1_000


def canary_addresses(canary: str) -> list[tuple[str, int]]:
    """The IP addresses and port of ADDRESS:PORT,...; ValueError for a name, and for none."""
    addresses = []
    for text in canary.split(","):
        host, _, port = text.rpartition(":")
        addresses.append((str(ipaddress.ip_address(host.strip("[]"))), int(port)))
    return addresses


def is_reachable(address: tuple[str, int]) -> bool:
    """Whether a connection to an IP address and port can be made."""
    try:
        with socket.create_connection(address, timeout=_CANARY_SECONDS):
            return True
    except OSError:
        return False


def check_isolation(canary: str) -> str | None:
    """Why the pod is not isolated and must not run the module; None: the canary is unreachable."""
    try:
        addresses = canary_addresses(canary)
    except ValueError as error:
        return (
            f"the canary {canary!r} is no list of IP addresses with ports ({error}), so this pod "
            "cannot show that it has no network: set sandbox_canary to a name that the launcher "
            "can resolve"
        )
    if any(map(is_reachable, addresses)):
        return (
            f"the canary {canary} answers, so this pod has a network: have the cluster enforce "
            "the sandbox's NetworkPolicy"
        )
    return None


def read_request(folder: Path) -> bytes:
    """The request, joined from the folder's numbered files."""
    slices = sorted(folder.glob("request.json.gz.[0-9]*"))
    return gzip.decompress(b"".join(path.read_bytes() for path in slices))


def format_report(report: bytes) -> list[str]:
    """Encode a report as lines of the pod's log."""
    encoded = base64.b64encode(gzip.compress(report, mtime=0)).decode()
    lines = [encoded[start : start + _LINE_CHARS] for start in range(0, len(encoded), _LINE_CHARS)]
    return [BEGIN, hashlib.sha256(encoded.encode()).hexdigest(), *lines, END]


def main(module: str, canary: str) -> int:
    """Run the module in an isolated pod; return an exit code as in `worker.py`."""
    if violation := check_isolation(canary):
        print(f"{violation}; nothing was run", file=sys.stderr)  # noqa: T201  the pod's log
        return worker.BAD_INPUT
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(worker.PREEMPTED))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / worker.REQUEST).write_bytes(read_request(Path(REQUEST_FOLDER)))
        code = subprocess.run([sys.executable, "-m", module, folder], check=False).returncode
        if code:
            return code if code > 0 else 128 - code
        print("\n".join(format_report((Path(folder) / worker.REPORT).read_bytes())), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m snow_assets.runtime.isolated_worker MODULE, not {sys.argv[1:]}")
    sys.exit(main(sys.argv[1], os.environ["SNOW_CANARY"]))
