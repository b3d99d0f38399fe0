"""Run an untrusted Python program, and learn from outside whether it ran to its end.

Each program gets a process of its own that a small supervisor (`sandbox_child.py`) starts, watches
and buries. The floor needs no privilege, and without it nothing is run:

- seccomp: no sockets, no new namespaces, no tracing of or signals to other processes, no mounts,
  no kernel modules, keys, BPF or io_uring;
- Landlock: it reads the interpreter and the system's libraries, writes in its own empty folder,
  sees nothing else (no /proc, /etc, /tmp, home or project), and executes no file;
- limits on CPU, memory, file size, open files and processes; no core file; wall-clock limit;
- no environment, no standard input, no inherited descriptor; output and folder size capped;
- started by root, it becomes an unprivileged user that nothing else runs as, before the limits
  (root ignores the limit on processes);
- at the end every descendant is killed, one that left its session and its parent too.

On top where they can be had: namespaces of processes, network and System V IPC.
The level that was reached stands with each verdict.

What it does not contain: a kernel bug; side channels; load on CPU and memory bandwidth up to its
limits. Whether a program passed is told by a secret that its own process holds: a program that
searches the interpreter's frames for it can forge a pass, though none can by printing, exiting
early or raising. Programs share the kernel's random numbers and clock.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyseccomp

_SUPERVISOR = Path(__file__).with_name("sandbox_child.py")
_SECCOMP_FOLDER = str(Path(pyseccomp.__file__).parent)
_OVERHEAD_SECONDS = 30.0  # for the supervisor itself, which keeps the program's own limit

Outcome = Literal["passed", "failed", "timeout", "memory", "output", "killed"]


class SandboxUnavailableError(RuntimeError):
    """The isolation floor cannot be had here, and so nothing was run; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use. Times in seconds, sizes in bytes."""

    seconds: float
    memory_bytes: int = 1 << 30
    output_bytes: int = 1 << 16
    folder_bytes: int = 1 << 24
    processes: int = 16
    open_files: int = 64


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a program ended. `passed`: it ran to its last line; `message`: its last words."""

    outcome: Outcome
    seconds: float
    isolation: str  # seccomp+landlock+rlimits, with +uid and +namespaces where they were had
    message: str


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """What the sandbox can offer here; `reason` says why not, where it is not available."""

    available: bool
    level: str
    reason: str


def run(program: str, *, limits: Limits) -> Verdict:
    """Run Python source in isolation; SandboxUnavailableError where the floor is missing."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), _SECCOMP_FOLDER],
        input=json.dumps({"program": program, **asdict(limits)}).encode(),
        capture_output=True,
        timeout=limits.seconds + _OVERHEAD_SECONDS,
        env={},
        check=False,
    )
    if done.returncode != 0:
        raise SandboxUnavailableError(
            f"the sandbox's supervisor ended with {done.returncode}: "
            f"{done.stderr.decode(errors='replace')[-2000:]}"
        )
    told = json.loads(done.stdout)
    if "refused" in told:
        raise SandboxUnavailableError(told["refused"])
    return Verdict(**told)


# Every line is an act that the floor must refuse; the program passes if all are refused.
_FORBIDDEN_ACTS = """
import os, socket, ctypes
refused = 0
for act in (
    lambda: socket.socket(),
    lambda: open('/etc/passwd').read(),
    lambda: open('/proc/1/environ').read(),
    lambda: os.listdir('/tmp'),
    lambda: os.kill(os.getppid(), 0),
    lambda: os.execv('/bin/true', ['true']),
):
    try:
        act()
    except OSError:
        refused += 1
refused += ctypes.CDLL(None).unshare(0x10000000) == -1
assert refused == 7, refused
"""


def probe() -> Isolation:
    """Try the floor with a program that does what it must not; it holds if all is refused."""
    try:
        verdict = run(_FORBIDDEN_ACTS, limits=Limits(seconds=10.0))
    except SandboxUnavailableError as error:
        return Isolation(available=False, level="none", reason=str(error))
    if verdict.outcome != "passed":
        reason = f"the floor has a hole: {verdict.outcome}: {verdict.message}"
        return Isolation(available=False, level="none", reason=reason)
    return Isolation(available=True, level=verdict.isolation, reason="")
