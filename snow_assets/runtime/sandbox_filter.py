"""Seccomp filter of the sandbox: an allow list of system calls, as BPF.

Other calls fail with EPERM. Landlock limits calls with paths. Calls that affect other processes
(signals, tracing, other processes' memory, priorities and limits) are not allowed, or only with
harmless arguments: `fcntl` and `ioctl` without the commands that make the kernel send signals to an
owner, queries about processes only about the caller itself. Only threads can be started, and
processes only with `has_processes`, so that nothing outlives a Python program.
"""

import errno
import os
import tempfile
from functools import cache
from typing import Any

_ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range
    dup dup2 dup3 flock fsync fdatasync ftruncate fallocate fadvise64 sendfile copy_file_range
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
    time times getrusage sysinfo uname getcpu getrandom sched_yield
    sched_get_priority_max sched_get_priority_min
    getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp
    getrlimit setrlimit capget
    wait4 waitid exit exit_group
    recvfrom sendto recvmsg shutdown getsockname getpeername getsockopt
"""
_SELF_ONLY = "sched_getaffinity sched_getscheduler sched_getparam getpgid getsid prlimit64"
"""Allowed if the first argument, a pid, is 0: the caller."""

_PROCESSES = "execve execveat fork vfork"
"""Allowed to programs that commands compile and run, beside processes by `clone` and signals to
their own process group. Not setsid and setpgid: their processes stay in that group, which is
killed with them."""

_NOT_IMPLEMENTED = ("clone3", "openat2")  # ENOSYS: their flags are in memory, and libc falls back
_CLONE_THREAD, _NAMESPACE_FLAGS = 0x10000, 0x7E020080
_IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it one; and FIO*
_PR_SET_NAME, _PR_GET_NAME = 15, 16

# linux/fcntl.h: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_GETLK, F_SETLK, F_SETLKW, F_DUPFD_CLOEXEC,
# F_GETPIPE_SZ. Not F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: they lead to signals.
_FCNTL_COMMANDS = (0, 1, 2, 3, 5, 6, 7, 1030, 1032)
_F_SETFL = 4
_O_ASYNC = 0x2000


class FilterUnavailableError(RuntimeError):
    """The library that builds the filter is missing."""


@cache
def seccomp_filter(*, has_processes: bool = False) -> bytes:
    """Build the filter in this process, so that the program's process needs no libseccomp."""
    try:
        import pyseccomp as s
    except (ImportError, RuntimeError) as error:
        raise FilterUnavailableError(f"pyseccomp or libseccomp is missing: {error}") from error
    rules = s.SyscallFilter(s.ERRNO(errno.EPERM))
    rules.set_attr(s.Attr.ACT_BADARCH, s.KILL_PROCESS)
    for name in _ALLOWED.split():
        _allow(s, rules, name)
    for name in _NOT_IMPLEMENTED:
        rules.add_rule(s.ERRNO(errno.ENOSYS), name)
    threads_only = _CLONE_THREAD | _NAMESPACE_FLAGS
    if has_processes:
        _allow(s, rules, "clone", s.Arg(0, s.MASKED_EQ, _NAMESPACE_FLAGS, 0))
        for name in _PROCESSES.split():
            _allow(s, rules, name)
        _allow(s, rules, "kill", s.Arg(0, s.EQ, 0))  # its own process group
    else:
        _allow(s, rules, "clone", s.Arg(0, s.MASKED_EQ, threads_only, _CLONE_THREAD))
    for name in _SELF_ONLY.split():
        _allow(s, rules, name, s.Arg(0, s.EQ, 0))
    _allow(s, rules, "getpriority", s.Arg(1, s.EQ, 0))
    for option in (_PR_SET_NAME, _PR_GET_NAME):
        _allow(s, rules, "prctl", s.Arg(0, s.EQ, option))
    for request in _IOCTL_REQUESTS:
        _allow(s, rules, "ioctl", s.Arg(1, s.EQ, request))
    for command in _FCNTL_COMMANDS:
        _allow(s, rules, "fcntl", s.Arg(1, s.EQ, command))
    _allow(s, rules, "fcntl", s.Arg(1, s.EQ, _F_SETFL), s.Arg(2, s.MASKED_EQ, _O_ASYNC, 0))
    stream = s.Arg(1, s.MASKED_EQ, 0xF, 1)
    _allow(s, rules, "socketpair", s.Arg(0, s.EQ, 1), stream)
    for name, flags in (("open", 1), ("openat", 2)):
        # Not O_RDONLY with O_TRUNC: Landlock before version 3 would allow it.
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
