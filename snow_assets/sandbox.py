"""Run an untrusted Python program, and learn from outside whether it ran to its end.

Each program gets a supervisor of its own (`sandbox_child.py`) that starts, watches and buries it.
The floor needs no privilege, and without it nothing is run:

- seccomp, a list of what is allowed: no sockets (but a stream pair within the program, which
  asyncio needs), no new namespaces, no other program started, no signal to anybody, no tracing,
  no look at or change of other processes, no leaving of the session, no System V or POSIX IPC, no
  change of modes, owners, times or attributes;
- Landlock: it reads the interpreter's and the system's libraries, writes in its own empty folder,
  opens nothing else (no /proc, /etc, /tmp, home or project);
- limits on CPU, memory, file size, open files and processes, no core file, all within the hard
  limits found; wall-clock limit; output and folder capped;
- no environment but HOME and TMPDIR, no standard input, no inherited descriptor, no capability;
- started by root, it becomes a user that nothing else runs as, before the limits (root ignores
  the one on processes);
- at its end all of its processes are killed at one stroke, orphans too.

On top where they can be had: namespaces of users, processes, network, mounts, IPC and host name,
and a disk of its own in memory. The level that was reached stands with each verdict.

What it does not contain: a kernel bug; side channels; whether a path exists and its size (`stat`
is no open); load up to the limits, where memory counts per process (worst case `processes` times
`memory_bytes`; the pod's limit is the last word) and, without namespaces, disk is looked at 20
times a second and deleted open files escape it. A user's limit on processes counts all that the
user runs, so without namespaces parallel runs of an ordinary user share it.

Whether a program passed is told by a nonce that its own process holds: printing, exiting early,
raising, or a fork that goes on do not pass; a program written against this very file can search
the interpreter's frames for the nonce, and a solution can tamper with the tests it runs beside.
`sys.exit()` after the last test is not an end either. `atexit` and other threads are not awaited.
"""

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from snow_assets import sandbox_child
from snow_assets.sandbox_child import EXITED, FAILED, MEMORY, PASSED, Report, Request

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
    with _lifeline() as lifeline, _empty_folder() as folder:
        request = Request(program, folder, _filter().hex(), lifeline, **asdict(limits))
        report = _supervised(request)
    if report.refused:
        raise SandboxUnavailableError(report.refused)
    return Verdict(
        outcome=_judge(report),
        seconds=report.seconds,
        isolation="+".join(("seccomp", "landlock", "rlimits", *report.layers)),
        message=report.message,
    )


def _supervised(request: Request) -> Report:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", sandbox_child.__file__],
        input=json.dumps(request._asdict()).encode(),
        capture_output=True,
        timeout=request.seconds + _OVERHEAD_SECONDS,
        env={},
        cwd="/",
        pass_fds=(request.lifeline,),
        check=False,
    )
    if done.returncode != 0:
        last_words = done.stderr.decode(errors="replace")[-2000:]
        raise RuntimeError(f"the sandbox's supervisor ended with {done.returncode}: {last_words}")
    return Report(**json.loads(done.stdout))


def _judge(report: Report) -> Outcome:
    if report.stopped:
        return "timeout" if report.stopped == "timeout" else "output"
    if report.told == PASSED and report.status == 0:
        return "passed"
    if report.told == MEMORY:
        return "memory"
    if report.told in (FAILED, EXITED) or os.WIFEXITED(report.status):
        return "failed"
    # By a signal, which only the kernel may send it: a crash, or the machine is short of memory.
    return "killed"


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


# Everything else fails with EPERM. What takes a path is bounded by Landlock.
_ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range
    dup dup2 dup3 fcntl flock fsync fdatasync ftruncate fallocate fadvise64 sendfile copy_file_range
    splice tee pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait
    epoll_pwait epoll_pwait2 eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime
    creat stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 getcwd chdir
    fchdir getdents getdents64 readlink readlinkat mkdir mkdirat rmdir unlink unlinkat rename
    renameat renameat2 link linkat symlink symlinkat umask
    brk mmap munmap mremap mprotect madvise mincore msync membarrier
    futex futex_waitv set_robust_list set_tid_address rseq arch_prctl
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack
    restart_syscall pause alarm getitimer setitimer timer_create timer_settime timer_gettime
    timer_getoverrun timer_delete nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday
    time times getrusage sysinfo uname getcpu getrandom sched_yield sched_getaffinity
    sched_getscheduler sched_getparam sched_get_priority_max sched_get_priority_min getpriority
    getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp
    getpgid getsid getrlimit setrlimit capget
    fork vfork wait4 waitid exit exit_group
    recvfrom sendto recvmsg shutdown getsockname getpeername getsockopt setsockopt
"""
_UNKNOWN_TO_LIBC = ("clone3", "openat2")  # their flags lie in memory; libc falls back
_NAMESPACE_FLAGS = 0x7E020080
_TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it one; and FIO*
_PR_SET_NAME, _PR_GET_NAME = 15, 16


@cache
def _filter() -> bytes:
    """The seccomp filter as BPF, made here so that the program's process needs no libseccomp."""
    try:
        import pyseccomp as s
    except (ImportError, RuntimeError) as error:
        raise SandboxUnavailableError(f"pyseccomp or libseccomp is missing: {error}") from error
    rules = s.SyscallFilter(s.ERRNO(errno.EPERM))
    rules.set_attr(s.Attr.ACT_BADARCH, s.KILL_PROCESS)
    for name in _ALLOWED.split():
        _allow(s, rules, name)
    for name in _UNKNOWN_TO_LIBC:
        rules.add_rule(s.ERRNO(errno.ENOSYS), name)
    _allow(s, rules, "clone", s.Arg(0, s.MASKED_EQ, _NAMESPACE_FLAGS, 0))
    _allow(s, rules, "prlimit64", s.Arg(0, s.EQ, 0))  # its own
    for option in (_PR_SET_NAME, _PR_GET_NAME):
        _allow(s, rules, "prctl", s.Arg(0, s.EQ, option))
    for question in _TERMINAL_QUESTIONS:
        _allow(s, rules, "ioctl", s.Arg(1, s.EQ, question))
    stream = s.Arg(1, s.MASKED_EQ, 0xF, 1)
    _allow(s, rules, "socketpair", s.Arg(0, s.EQ, 1), stream)
    for name, flags in (("open", 1), ("openat", 2)):
        # Not "to read, and truncate": Landlock before version 3 would let it.
        for mask, value in ((os.O_ACCMODE | os.O_TRUNC, 0), (3, os.O_WRONLY), (3, os.O_RDWR)):
            _allow(s, rules, name, s.Arg(flags, s.MASKED_EQ, mask, value))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _allow(s: Any, rules: Any, name: str, *arguments: Any) -> None:
    unknown_to_this_libseccomp = -1
    if s.resolve_syscall(s.Arch.NATIVE, name) != unknown_to_this_libseccomp:
        rules.add_rule(s.ALLOW, name, *arguments)


# Every act is one that the floor must refuse; the program passes if all are refused.
_FORBIDDEN_ACTS = """
import ctypes, os, socket
def unshare():
    if ctypes.CDLL(None).unshare(0x10000000):
        raise OSError('refused')
for act in (
    unshare,
    lambda: socket.socket(),
    lambda: os.setsid(),
    lambda: open('/proc/self/status'),
    lambda: os.listdir('/'),
    lambda: os.kill(os.getppid(), 0),
    lambda: os.chmod('.', 0o777),
    lambda: os.execv('/bin/true', ['true']),
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
