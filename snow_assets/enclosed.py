"""Run a job's module in a pod without network and lake: `python -m snow_assets.enclosed MODULE`.

The request is a mounted file, the report a block of the pod's log with its digest, since the log
is all that leaves. Before anything runs, the canary that the launcher names (SNOW_CANARY, the
addresses and port of something that is up) must be out of reach: a network policy that nobody
enforces is none. The launcher resolves the canary's name, since a pod without network cannot; a
name that arrives here is refused, because a connection that fails for want of an address says
nothing about the network.
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

from snow_assets import pod

REQUEST_FILE = "/request/request.json.gz"
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


def network_fault(canary: str) -> str | None:
    """Why nothing may run in this pod; None: the canary is out of reach."""
    try:
        addresses = canary_addresses(canary)
    except ValueError as error:
        return (
            f"the canary {canary!r} is no list of IP addresses with ports ({error}), so this pod "
            "cannot show that it has no network: name in sandbox_canary what the launcher resolves"
        )
    if any(map(is_reachable, addresses)):
        return (
            f"the canary {canary} answers, so this pod has a network: have the cluster enforce "
            "the sandbox's NetworkPolicy"
        )
    return None


def report_lines(report: bytes) -> list[str]:
    """What stands in the log for a report."""
    told = base64.b64encode(gzip.compress(report, mtime=0)).decode()
    lines = [told[start : start + _LINE_CHARS] for start in range(0, len(told), _LINE_CHARS)]
    return [BEGIN, hashlib.sha256(told.encode()).hexdigest(), *lines, END]


def main(module: str, canary: str) -> int:
    """The exit code of the contract in `pod.py`."""
    if fault := network_fault(canary):
        print(f"{fault}; nothing was run", file=sys.stderr)  # noqa: T201  the pod's log
        return pod.BAD_INPUT
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(pod.PREEMPTED))
    with tempfile.TemporaryDirectory() as folder:
        request = gzip.decompress(Path(REQUEST_FILE).read_bytes())
        (Path(folder) / pod.REQUEST).write_bytes(request)
        code = subprocess.run([sys.executable, "-m", module, folder], check=False).returncode
        if code:
            return code if code > 0 else 128 - code
        print("\n".join(report_lines((Path(folder) / pod.REPORT).read_bytes())), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m snow_assets.enclosed MODULE, not {sys.argv[1:]}")
    sys.exit(main(sys.argv[1], os.environ["SNOW_CANARY"]))
