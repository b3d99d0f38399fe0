"""Sandbox: run an untrusted program, and test a Python program's function from another process.

Three processes: a supervisor (`sandbox_child/supervisor.py`) starts two children, watches them and
ends them. The *program* runs in the first. The *judge* runs the test in the second, and calls the
program's function through a channel that carries plain values (`sandbox_child/values.py`). Return
values are compared outside the program's interpreter, as built-in types. The program's process
never holds the test, the reference solution, the outcome or a descriptor of the judge's. A broken
channel is "failed".

The baseline isolation of both children needs no privilege, and without it nothing is run:

- seccomp (`sandbox_filter.py`), an allow list of system calls: no sockets (except a stream pair
  within the program, which asyncio needs), no new processes or namespaces, no exec, no signals to
  other processes and no way to have the kernel send one, no tracing, no inspection or change of
  other processes, no new session, no System V or POSIX IPC, no change of modes, owners, times or
  attributes;
- Landlock: read access to the standard library (without installed packages, but for those of a
  `PythonEnvironment`) and the system's libraries, write access to its own empty folder, nothing
  else (no /proc, /etc, /tmp, home);
- limits on CPU, memory, file size, open files and threads, no core file, all within the hard limits
  of the host; a wall-clock limit; a limit on the folder's size; only the end of the output is kept;
- no environment but HOME and TMPDIR, no standard input, no inherited descriptor, no capability;
- started by root, it changes to an unused user id before the limits are set (root ignores the one
  on processes);
- it ends with its supervisor, which ends with the calling process: also after `kill -9` of either.

Programs of other languages (`Commands`) are compiled and run by commands, beside no judge: they
include their tests, and their outcome is their exit status and a marker that they print at the
end. They may start processes, which stay in one process group that is killed with them, send that
group signals, and read and execute what is below /usr and /bin.

In addition, where available: namespaces of users, processes, network, mounts, IPC and host name,
and a tmpfs of its own. Each result records the isolation level.

All programs run with the same hash seed, and a test that uses `random` with the same seed, so that
outcomes are reproducible.

Remaining risks: a kernel bug; side channels; queries whether a path exists and how large it is
(`stat` opens nothing); load up to the limits, where memory counts per process; without namespaces,
disk usage is polled 20 times a second and does not count deleted open files, and an ordinary user's
limit on processes counts all that the user runs: programs that run at the same time share it. A
program can detect that it is called through a channel, see the arguments of each call, answer from
a memorised table of the benchmark, keep state between calls, or end itself in any way that is not
"passed". Without a test, "passed" means only that the program reports to have run to its end.
`atexit` and other threads are not awaited.

A program run by commands can read its tests and its marker; without namespaces, one that stops its
own process group on purpose outlives a `kill -9` of the supervisor.

Limits of a test: it cannot see changes of its arguments (the program works on copies), pass
functions or objects, or use a return value that is not a plain value: the outcome is then "failed",
with the type's name.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from snow_assets.runtime.sandbox_child.messages import (
    ENDED,
    HEADER_BYTES,
    MEMORY,
    PASSED,
    STARTED,
    FunctionTest,
    Report,
    Request,
    pack,
    unpack,
)
from snow_assets.runtime.sandbox_filter import FilterUnavailableError, seccomp_filter
from snow_assets.runtime.stable_messages import FOLDER_PREFIX

_OVERHEAD_SECONDS = 60.0  # for the supervisor itself, which keeps the program's own limit
_BASELINE = ("seccomp", "landlock", "rlimits")
_HASH_SEED = "0"
MIN_PYTHON = (3, 10)
_START = (
    "import sys\n"
    "sys.path[:] = [entry for entry in sys.path if entry]\n"  # not the working folder
    f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
    "from snow_assets.runtime.sandbox_child import supervisor\n"
    "del sys.path[0]\n"
    "supervisor.main()\n"
)
__all__ = [
    "Commands",
    "Execution",
    "ExecutionResult",
    "FunctionTest",
    "Isolation",
    "Limits",
    "Outcome",
    "PythonEnvironment",
    "SandboxUnavailableError",
    "command_probe",
    "probe",
    "python_environment",
    "run",
    "run_all",
]
_NO_TEST = FunctionTest(entry_point="", reference="", source="")

Outcome = Literal["passed", "failed", "timeout", "memory", "folder", "killed"]


class SandboxUnavailableError(RuntimeError):
    """The baseline isolation is unavailable, so nothing was run; the message holds the reason."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Resource limits of a program. Times in seconds, sizes in bytes."""

    seconds: float
    memory_bytes: int = 1 << 30
    folder_bytes: int = 1 << 24
    threads: int = 16
    open_files: int = 64


@dataclass(frozen=True, kw_only=True)
class PythonEnvironment:
    """An interpreter, and the folders of the packages that its programs may import."""

    python: str = sys.executable
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Commands:
    """How a program of another language, which includes its tests, is compiled and run.

    It is written to `file_name`. The commands run one after another, each if the one before it
    exited with 0; `./NAME` runs a file that an earlier one wrote, other commands are absolute paths
    below /usr or /bin. It passes if all exited with 0 and the end of its output holds `marker`,
    which must not be in its source as it stands: a program may print that.
    """

    file_name: str
    commands: tuple[tuple[str, ...], ...]
    marker: str


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A program to run, and its test; or the commands that run it, which include a test."""

    program: str
    limits: Limits
    test: FunctionTest = _NO_TEST
    environment: PythonEnvironment = PythonEnvironment()
    commands: Commands | None = None


@dataclass(frozen=True, kw_only=True)
class ExecutionResult:
    """Outcome of a program's test. `message`: the end of the program's output, and the reason."""

    outcome: Outcome
    seconds: float
    isolation: str  # seccomp+landlock+rlimits, with +uid and +namespaces where available
    message: str


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The sandbox's isolation level on this host; `reason`: why it is not available."""

    available: bool
    level: str
    reason: str


def python_environment(python: str) -> PythonEnvironment:
    """The environment of an interpreter of at least `MIN_PYTHON`, with its installed packages.

    ValueError if there is none at this path. `.pth` files are not read.
    """
    script = (
        "import json, sys, sysconfig; "
        "print(json.dumps([sys.version_info[:2], sysconfig.get_paths()]))"
    )
    try:
        process = subprocess.run(
            [python, "-I", "-c", script], capture_output=True, check=True, timeout=60
        )
        version, paths = json.loads(process.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ValueError(f"{python} is no Python interpreter: {error}") from error
    if tuple(version) < MIN_PYTHON:
        minimum = ".".join(map(str, MIN_PYTHON))
        raise ValueError(
            f"{python} is Python {'.'.join(map(str, version))}, and the sandbox needs {minimum}"
        )
    folders = dict.fromkeys((paths["purelib"], paths["platlib"]))
    return PythonEnvironment(python=python, packages=tuple(filter(os.path.isdir, folders)))


def run(program: str, *, limits: Limits, test: FunctionTest = _NO_TEST) -> ExecutionResult:
    """Run Python source in isolation and test it; the test calls the function as `candidate`.

    Raises SandboxUnavailableError without the baseline isolation, before anything has run, and
    RuntimeError if the supervisor cannot start. Memory: two processes of `limits.memory_bytes`.
    """
    (result,) = run_all([Execution(program=program, limits=limits, test=test)], num_cpus=1)
    return result


def run_all(executions: Sequence[Execution], *, num_cpus: int) -> list[ExecutionResult]:
    """Run programs at the same time, as `run` does each; results are in their order.

    At most `num_cpus` and one per core, so that none waits for a core while its time runs. If this
    call ends by an exception, the programs that run end at once. Memory: that of `run` for each
    program that runs at the same time.
    """
    num_workers = max(1, min(num_cpus, len(os.sched_getaffinity(0)), len(executions)))
    lifeline, writing_end = os.pipe()  # hangs up when this process ends, also by a kill
    pool = ThreadPoolExecutor(num_workers)
    try:
        futures = [
            pool.submit(_run, execution, lifeline, num_concurrent=num_workers)
            for execution in executions
        ]
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        os.close(writing_end)
        pool.shutdown()
        os.close(lifeline)


_NO_COMMANDS = Commands(file_name="", commands=(), marker="")


def _run(execution: Execution, lifeline: int, *, num_concurrent: int) -> ExecutionResult:
    commands = execution.commands or _NO_COMMANDS
    with _empty_folder() as folder:
        try:
            request = Request(
                execution.program,
                folder,
                seccomp_filter(has_processes=bool(commands.commands)).hex(),
                lifeline,
                **asdict(execution.limits),
                num_concurrent=num_concurrent,
                packages=execution.environment.packages,
                file_name=commands.file_name,
                commands=commands.commands,
                marker=commands.marker,
            )
        except FilterUnavailableError as error:
            raise SandboxUnavailableError(str(error)) from error
        report = _run_supervisor(request, execution.test, execution.environment.python)
    if report.refused:
        raise SandboxUnavailableError(report.refused)
    return ExecutionResult(
        outcome=_outcome(report),
        seconds=report.seconds,
        isolation="+".join((*_BASELINE, *report.layers)),
        message=report.message,
    )


def _run_supervisor(request: Request, test: FunctionTest, python: str) -> Report:
    frames = [pack(part) for part in (request, test)]
    process = subprocess.Popen(
        # Like -I, except for the environment, which holds only the hash seed; -P is Python 3.11's.
        [python, "-s", "-S", "-X", "utf8", "-c", _START],
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
            output, errors = process.communicate(content, request.seconds + _OVERHEAD_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its children end with it
            output, errors = process.communicate()
        except BaseException:  # this process is to end: do not wait for the program's limit
            process.kill()
            raise
    return _parse_report(output, errors, process.returncode)


def _parse_report(output: bytes, errors: bytes, code: int) -> Report:
    """Parse the supervisor's report. Once a program runs, a crash of the supervisor counts as the
    program's failure."""
    has_started, frame = output.startswith(STARTED), output.removeprefix(STARTED)
    try:
        report = unpack(Report, frame[HEADER_BYTES:])
    except (ValueError, TypeError):
        reason = f"the sandbox's supervisor ended with {code}: {errors.decode(errors='replace')}"
        if not has_started:
            raise RuntimeError(reason[-2000:]) from None
        return Report(message=reason[-2000:])
    return report


def _outcome(report: Report) -> Outcome:
    if report.stopped:
        return "folder" if report.stopped == "folder" else "timeout"
    if report.test_outcome == PASSED:
        return "passed"
    if report.test_outcome == MEMORY:
        return "memory"
    if report.test_outcome == ENDED and os.WIFSIGNALED(report.status):
        return "killed"  # only the kernel may signal it: a crash, or the machine is short of memory
    return "failed"


@contextmanager
def _empty_folder() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    try:
        yield str(folder)
    finally:
        _delete_contents(folder)
        folder.rmdir()


def _delete_contents(folder: Path) -> None:
    """Delete a folder's content; nested folders are moved up first, which limits recursion and path
    length."""
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


# Calls that the baseline isolation must refuse; the program passes if all are refused.
_FORBIDDEN_CALLS = """
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
    """Test the baseline isolation with a program of forbidden calls, all of which must fail."""
    try:
        result = run(_FORBIDDEN_CALLS, limits=Limits(seconds=10.0))
    except SandboxUnavailableError as error:
        return Isolation(available=False, level="none", reason=str(error))
    if result.outcome != "passed":
        reason = f"the baseline isolation has a hole: {result.outcome}: {result.message}"
        return Isolation(available=False, level="none", reason=reason)
    return Isolation(available=True, level=result.isolation, reason="")


# Commands that the isolation of `Commands` must refuse; the program passes if all are refused.
_FORBIDDEN_COMMANDS = """
for command in 'cat /etc/passwd' 'ls /' 'ls /proc' ': > /usr/left' 'chmod 777 program.sh' \\
    'kill -0 $PPID' 'setsid true' 'unshare true'; do
    if bash -c "$command" > /dev/null 2>&1; then
        echo "not refused: $command"
        exit 1
    fi
done
(exec 3<> /dev/tcp/127.0.0.1/9) 2>&1 | grep -q 'not permitted' || exit 1
echo 'all ''refused'
"""


def command_probe(limits: Limits) -> Execution:
    """A shell program that passes if what `Commands` must not reach is refused, beside `probe`."""
    shell = Commands(
        file_name="program.sh", commands=(("/bin/bash", "program.sh"),), marker="all refused"
    )
    return Execution(program=_FORBIDDEN_COMMANDS, limits=limits, commands=shell)
