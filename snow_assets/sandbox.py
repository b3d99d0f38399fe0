"""Run an untrusted Python program, and judge from outside whether its function is right.

Three processes: a supervisor (`sandbox_child/supervisor.py`) starts two children, watches them and
ends them. The *program* runs in the first. The *judge* runs the test in the second, and calls the
program's function through a channel that carries plain values (`sandbox_child/values.py`). What the
program returns is compared outside its interpreter, as built-in types. The program's process never
holds the test, the reference solution, the verdict or a descriptor of the judge's. Whatever breaks
the channel is "failed".

The floor of both children needs no privilege, and without it nothing is run:

- seccomp (`sandbox_filter.py`), a list of what is allowed: no sockets (but a stream pair within the
  program, which asyncio needs), no new processes or namespaces, no other program started, no signal
  to anybody and no way to have the kernel send one, no tracing, no look at or change of other
  processes, no leaving of the session, no System V or POSIX IPC, no change of modes, owners, times
  or attributes;
- Landlock: it reads the standard library (not what is installed beside it) and the system's
  libraries, writes in its own empty folder, opens nothing else (no /proc, /etc, /tmp, home);
- limits on CPU, memory, file size, open files and threads, no core file, all within the hard limits
  of the host; wall-clock limit; folder capped; of what it prints the end is kept;
- no environment but HOME and TMPDIR, no standard input, no inherited descriptor, no capability;
- started by root, it becomes a user that nothing else runs as, before the limits (root ignores
  the one on processes);
- it ends with its supervisor, which ends with whoever asked: also after `kill -9` of either.

On top where they can be had: namespaces of users, processes, network, mounts, IPC and host name,
and a disk of its own in memory. The level that was reached stands with each verdict.

All programs run with the same hash seed, and a test that draws random numbers with the same seed,
so that a verdict can be repeated.

What remains possible: a kernel bug; side channels; to ask whether a path exists and how large it is
(`stat` opens nothing); load up to the limits, where memory counts per process; without namespaces,
disk is looked at 20 times a second and deleted open files escape it, and an ordinary user's limit
on processes counts all that the user runs. A program can notice that it is called through a
channel, see the arguments of each call, answer by a table of the benchmark that it has learnt, keep
state between calls, or end itself in any way that is not "passed". Without a test, "passed" says
only that the program claims to have run to its end. `atexit` and other threads are not awaited.

What a test cannot do here: look at how its arguments were changed (the program works on copies),
pass functions or objects, or use what a program returns but that is no plain value: the verdict is
then "failed", with the type's name.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from snow_assets.sandbox_child.messages import (
    ENDED,
    HEADER_BYTES,
    MEMORY,
    PASSED,
    STARTED,
    FunctionTest,
    Report,
    Request,
    packed,
    unpacked,
)
from snow_assets.sandbox_filter import FilterUnavailableError, seccomp_filter

_OVERHEAD_SECONDS = 60.0  # for the supervisor itself, which keeps the program's own limit
_FLOOR = ("seccomp", "landlock", "rlimits")
_HASH_SEED = "0"
_START = (
    "import sys\n"
    f"sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
    "from snow_assets.sandbox_child import supervisor\n"
    "del sys.path[0]\n"
    "supervisor.main()\n"
)
__all__ = [
    "FunctionTest",
    "Isolation",
    "Limits",
    "Outcome",
    "SandboxUnavailableError",
    "Verdict",
    "probe",
    "run",
]
_NO_TEST = FunctionTest(entry_point="", reference="", source="")

Outcome = Literal["passed", "failed", "timeout", "memory", "folder", "killed"]


class SandboxUnavailableError(RuntimeError):
    """The isolation floor cannot be had here, and so nothing was run; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use. Times in seconds, sizes in bytes."""

    seconds: float
    memory_bytes: int = 1 << 30
    folder_bytes: int = 1 << 24
    threads: int = 16
    open_files: int = 64


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge says of a program. `message`: the end of what it printed, and the reason."""

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


def run(program: str, *, limits: Limits, test: FunctionTest = _NO_TEST) -> Verdict:
    """Run Python source in isolation and judge it by a test that calls `candidate`.

    Raises SandboxUnavailableError where the floor is missing, before anything has run, and
    RuntimeError where the supervisor cannot start. Memory: two processes of `limits.memory_bytes`.
    """
    with _lifeline() as lifeline, _empty_folder() as folder:
        try:
            request = Request(program, folder, seccomp_filter().hex(), lifeline, **asdict(limits))
        except FilterUnavailableError as error:
            raise SandboxUnavailableError(str(error)) from error
        report = _supervised(request, test)
    if report.refused:
        raise SandboxUnavailableError(report.refused)
    return Verdict(
        outcome=_outcome(report),
        seconds=report.seconds,
        isolation="+".join((*_FLOOR, *report.layers)),
        message=report.message,
    )


def _supervised(request: Request, test: FunctionTest) -> Report:
    frames = [packed(part) for part in (request, test)]
    process = subprocess.Popen(
        # Like -I, but for the environment: it holds the hash seed and nothing else.
        [sys.executable, "-P", "-s", "-S", "-X", "utf8", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONHASHSEED": _HASH_SEED},
        cwd="/",
        pass_fds=(request.lifeline,),
    )
    with process:
        content = b"".join(len(frame).to_bytes(HEADER_BYTES, "big") + frame for frame in frames)
        try:
            answer, errors = process.communicate(content, request.seconds + _OVERHEAD_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its children end with it
            answer, errors = process.communicate()
        except BaseException:  # this process is to end: do not wait for the program's limit
            process.kill()
            raise
    return _report(answer, errors, process.returncode)


def _report(answer: bytes, errors: bytes, code: int) -> Report:
    """The supervisor's report. Once a program runs, a supervisor that breaks is its failure."""
    has_started, frame = answer.startswith(STARTED), answer.removeprefix(STARTED)
    try:
        report = unpacked(Report, frame[HEADER_BYTES:])
    except (ValueError, TypeError):
        reason = f"the sandbox's supervisor ended with {code}: {errors.decode(errors='replace')}"
        if not has_started:
            raise RuntimeError(reason[-2000:]) from None
        return Report(message=reason[-2000:])
    return report


def _outcome(report: Report) -> Outcome:
    if report.stopped:
        return "folder" if report.stopped == "folder" else "timeout"
    if report.verdict == PASSED:
        return "passed"
    if report.verdict == MEMORY:
        return "memory"
    if report.verdict == ENDED and os.WIFSIGNALED(report.status):
        return "killed"  # only the kernel may signal it: a crash, or the machine is short of memory
    return "failed"


@contextmanager
def _lifeline() -> Iterator[int]:
    """A pipe's reading end; the other hangs up with this process, however it goes."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def _empty_folder() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="snow-sandbox-"))
    try:
        yield str(folder)
    finally:
        _empty(folder)
        folder.rmdir()


def _empty(folder: Path) -> None:
    """Delete what is in it; deep folders are pulled up first, which no recursion or path bounds."""
    num_moved = 0
    while entries := sorted(folder.iterdir()):
        for entry in entries:
            if entry.is_symlink() or not entry.is_dir():
                entry.unlink()
                continue
            entry.chmod(0o700)
            for inner in sorted(entry.iterdir()):
                if inner.is_dir() and not inner.is_symlink():
                    inner.chmod(0o700)
                num_moved += 1
                inner.rename(folder / f".moved-{os.getpid()}-{num_moved}")
            entry.rmdir()


# Every act is one that the floor must refuse; the program passes if all are refused.
_FORBIDDEN_ACTS = """
import ctypes, fcntl, os, socket
libc = ctypes.CDLL(None)
def refused_call(name, *arguments):
    if getattr(libc, name)(*arguments) != -1:
        raise SystemError(f'not refused: {name}{arguments}')
    raise OSError('refused')
pair = socket.socketpair()
parent = os.getppid()
for act in (
    lambda: refused_call('unshare', 0x10000000),
    lambda: refused_call('prctl', 1, 0, 0, 0, 0),
    lambda: socket.socket(),
    lambda: os.setsid(),
    lambda: open('/proc/self/status'),
    lambda: os.listdir('/'),
    lambda: os.kill(parent, 0),
    lambda: os.chmod('.', 0o777),
    lambda: os.execv('/bin/true', ['true']),
    lambda: os.fork() or os._exit(0),
    lambda: fcntl.fcntl(pair[0], fcntl.F_SETOWN, parent),
    lambda: fcntl.fcntl(pair[0], fcntl.F_SETSIG, 9),
    lambda: fcntl.fcntl(pair[0], 15, bytes(8)),  # F_SETOWN_EX
    lambda: fcntl.fcntl(pair[0], fcntl.F_SETFL, os.O_ASYNC),
    lambda: fcntl.ioctl(pair[0], 0x5452, bytes(4)),  # FIOASYNC
    lambda: fcntl.ioctl(pair[0], 0x8901, bytes(4)),  # FIOSETOWN
):
    try:
        act()
    except OSError:
        continue
    raise SystemError(f'not refused: {act.__name__} on line {act.__code__.co_firstlineno}')
assert set(os.environ) == {'HOME', 'TMPDIR'}
open('mine', 'w').write('to write')
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
