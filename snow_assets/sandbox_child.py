"""The sandbox's supervisor: `sandbox.run` starts it as a script; nothing imports it.

It reads one request from standard input, forks the program's process, puts isolation on that
child before any untrusted line runs, watches it, kills all that descends from it, and prints one
JSON line. Standard library and pyseccomp only.
"""

import ctypes
import ctypes.util
import errno
import json
import os
import resource
import secrets
import select
import shutil
import signal
import struct
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

_CONFINE_SECONDS = 20.0

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 1, 38, 36
_CLONE_NEW = {
    "ns": 0x20000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_ANY_NEW_NAMESPACE = 0x7E020080  # every CLONE_NEW* bit, time and cgroup too

# Landlock, from linux/landlock.h; the numbers are the same on every architecture.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_ALL_RIGHTS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_RIGHTS = (1 << 16) - 1  # from ABI 5 on, with ioctl on devices
_EXECUTE = 1 << 0
_READABLE = ("/lib", "/lib64", "/usr/lib", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom")

_DENIED = (
    "socket", "socketpair", "connect", "bind", "listen", "unshare", "setns", "ptrace",
    "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_open",
    "pidfd_send_signal", "pidfd_getfd", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsmount",
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "keyctl",
    "add_key", "request_key", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "personality",
    "name_to_handle_at", "open_by_handle_at", "fanotify_init", "execve", "execveat",
)  # fmt: skip


class Refused(Exception):  # noqa: N818  it is an answer, not an error
    """The floor cannot be had."""


def _check(result: int, what: str) -> int:
    if result < 0:
        raise Refused(f"{what} is not available here: {os.strerror(ctypes.get_errno())}")
    return result


def _free_uid() -> int:
    """A user that owns no process: so that all of its processes are this program's."""
    used = {os.stat(f"/proc/{pid}").st_uid for pid in _pids()}
    while True:
        uid = 1_000_000 + secrets.randbelow(1_000_000_000)
        if uid not in used:
            return uid


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _new_namespaces() -> bool:
    """Move what is forked next into namespaces of its own, where the kernel lets us."""
    flags = _CLONE_NEW["pid"] | _CLONE_NEW["net"] | _CLONE_NEW["ipc"]
    if os.geteuid() != 0:
        flags |= _CLONE_NEW["user"]
    return bool(_libc.unshare(flags) == 0)


def _ruleset(folder: str, interpreter: str) -> int:
    """What this process may touch; made while it may still look up all of these paths."""
    abi = _check(_libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1), "Landlock")
    rights = _ALL_RIGHTS_OF_ABI.get(abi, _ALL_RIGHTS)
    # struct landlock_ruleset_attr: file rights, TCP rights (ABI 4), scopes (ABI 6: abstract
    # sockets and signals).
    attribute = struct.pack("=QQQ", rights, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _check(
        _libc.syscall(_LANDLOCK_CREATE, attribute, ctypes.c_size_t(size), 0), "Landlock"
    )
    for path in (interpreter, *_READABLE):
        if os.path.exists(path):
            allowed = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
            _allow(ruleset, path, allowed)
    _allow(ruleset, folder, rights & ~_EXECUTE)
    return ruleset


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", rights, descriptor)
    _check(_libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock for {path}")
    os.close(descriptor)


def _seccomp(seccomp: object) -> None:
    s = seccomp
    rules = s.SyscallFilter(s.ALLOW)  # type: ignore[attr-defined]
    refuse = s.ERRNO(errno.EPERM)  # type: ignore[attr-defined]
    for name in _DENIED:
        with suppress(OSError, ValueError):  # an older libseccomp does not know every name
            rules.add_rule(refuse, name)
    # Each namespace bit on its own: a filter compares a masked value with one constant.
    for bit in range(32):
        if _ANY_NEW_NAMESPACE & (1 << bit):
            flag = s.Arg(0, s.MASKED_EQ, 1 << bit, 1 << bit)  # type: ignore[attr-defined]
            rules.add_rule(refuse, "clone", flag)
    # clone3 hides its flags in memory: libc falls back to clone.
    rules.add_rule(s.ERRNO(errno.ENOSYS), "clone3")  # type: ignore[attr-defined]
    # A process may signal itself (abort), and limit itself.
    other = s.Arg(0, s.NE, os.getpid())  # type: ignore[attr-defined]
    rules.add_rule(refuse, "tgkill", other)
    rules.add_rule(refuse, "prlimit64", s.Arg(0, s.NE, 0))  # type: ignore[attr-defined]
    rules.load()


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _confine(
    request: dict[str, Any], folder: str, uid: int | None, seccomp: object, base: int
) -> None:
    """Put the floor on this process; from its end on, nothing of it can be taken off."""
    interpreter = sysconfig.get_paths()["stdlib"]
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # By descriptor, for the interpreter may lie below a folder that the new user cannot enter.
    stdlib = os.open(interpreter, os.O_RDONLY | os.O_DIRECTORY)
    sys.path[:] = [f"/proc/self/fd/{stdlib}", f"/proc/self/fd/{stdlib}/lib-dynload"]
    os.chdir(folder)
    ruleset = _ruleset(folder, interpreter)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, int(request["seconds"]) + 2)
    _limit(resource.RLIMIT_AS, request["memory_bytes"])
    _limit(resource.RLIMIT_FSIZE, request["folder_bytes"])
    _limit(resource.RLIMIT_NOFILE, request["open_files"])
    _limit(resource.RLIMIT_NPROC, base + request["processes"])
    _check(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)
    _seccomp(seccomp)


def _child(
    request: dict[str, Any],
    folder: str,
    uid: int | None,
    seccomp: object,
    base: int,
    pipes: tuple[int, int],
) -> None:
    """Isolate, run the program, and hand over the secret only where it came to its end."""
    output, channel = pipes
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(channel, 3)
    os.closerange(4, 256)
    secret = request.pop("secret").encode()
    try:
        _confine(request, folder, uid, seccomp, base)
    except (Refused, OSError, ValueError) as error:
        os.write(3, b"refused " + str(error).encode())
        os._exit(1)
    os.write(3, b"confined ")
    program = request.pop("program")
    for name in ("sys", "time", "io", "re", "math", "typing", "collections", "traceback"):
        __import__(name)
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102
    except MemoryError:
        os.write(3, b"memory ")
        raise
    sys.stdout.flush()
    os.write(3, secret)
    os._exit(0)


def _descendants(root: int) -> list[int]:
    parents = {}
    for pid in _pids():
        with suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/stat") as file:
            parents[pid] = int(file.read().rpartition(")")[2].split()[1])
    found, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return sorted(found - {root})


def _bury(uid: int | None) -> None:
    """Kill and reap everything that descends from this process; it returns when none is left."""
    while True:
        if uid is not None and (killer := os.fork()) == 0:
            # As that user, all of its processes at once: faster than any fork.
            os.setresuid(uid, uid, uid)
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            os._exit(0)
        elif uid is not None:
            os.waitpid(killer, 0)
        for pid in _descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _folder_bytes(folder: str) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += 512 + os.lstat(f"{place}/{name}").st_size
    return total


def _watch(
    child: int, output: int, folder: str, request: dict[str, Any]
) -> tuple[str | None, bytes, int]:
    """Wait for the program's end or its first trespass: (trespass, last output, exit status)."""
    deadline = time.monotonic() + request["seconds"]
    kept, total = b"", 0
    while True:
        ready, _, _ = select.select([output], [], [], 0.005)
        if ready:
            part = os.read(output, 1 << 16)
            total += len(part)
            kept = (kept + part)[-2000:]
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            while select.select([output], [], [], 0)[0] and (part := os.read(output, 1 << 16)):
                kept = (kept + part)[-2000:]
                total += len(part)
                if total > request["output_bytes"]:
                    break
            return ("output" if total > request["output_bytes"] else None), kept, status
        if total > request["output_bytes"]:
            return "output", kept, 0
        if time.monotonic() > deadline:
            return "timeout", kept, 0
        if _folder_bytes(folder) > request["folder_bytes"]:
            return "output", kept, 0


def _supervise(request: dict[str, Any], seccomp: object) -> dict[str, Any]:
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "a subreaper")
    uid = _free_uid() if os.geteuid() == 0 else None
    owned = [pid for pid in _pids() if _owner(pid) == os.geteuid()]
    base = 0 if uid is not None else sum(_threads(pid) for pid in owned)
    namespaces = _new_namespaces()
    folder = tempfile.mkdtemp(prefix="sandbox-")
    if uid is not None:
        os.chown(folder, uid, uid)
    secret = request["secret"] = secrets.token_hex(16)
    out_read, out_write = os.pipe()
    told_read, told_write = os.pipe()
    child = os.fork()
    if child == 0:
        _child(request, folder, uid, seccomp, base, (out_write, told_write))
    os.close(out_write)
    os.close(told_write)
    try:
        # The program's clock starts when its first line may run.
        select.select([told_read], [], [], _CONFINE_SECONDS)
        told = os.read(told_read, 1 << 16) if select.select([told_read], [], [], 0)[0] else b""
        started = time.monotonic()
        trespass, output, status = _watch(child, out_read, folder, request)
        seconds = time.monotonic() - started
    finally:
        # The first process of a process namespace takes all others with it; after its end
        # nothing can be forked there, the killer neither.
        _bury(None if namespaces else uid)
        shutil.rmtree(folder, ignore_errors=True)
    while part := os.read(told_read, 1 << 16):
        told = (told + part)[: 1 << 16]
    if not told.startswith(b"confined "):
        reason = told.removeprefix(b"refused ").decode(errors="replace")
        raise Refused(reason or f"the child ended with status {status} before it was confined")
    level = "seccomp+landlock+rlimits"
    level += "+uid" * (uid is not None) + "+namespaces" * namespaces
    return {
        "outcome": trespass or _outcome(told.removeprefix(b"confined "), status, secret.encode()),
        "seconds": seconds,
        "isolation": level,
        "message": output.decode(errors="replace"),
    }


def _outcome(told: bytes, status: int, secret: bytes) -> str:
    if told == secret and os.waitstatus_to_exitcode(status) == 0:
        return "passed"
    if told.startswith(b"memory "):
        return "memory"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return "timeout"
    return "killed" if os.WIFSIGNALED(status) else "failed"


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def main() -> None:
    request = json.load(sys.stdin)
    # find_library starts a compiler to look for these two.
    ctypes.util.find_library = lambda name: {"seccomp": "libseccomp.so.2"}.get(name)
    sys.path.append(sys.argv[1])
    try:
        import pyseccomp

        answer = _supervise(request, pyseccomp)
    except Refused as error:
        answer = {"refused": str(error)}
    except OSError as error:
        answer = {"refused": f"libseccomp or the kernel refused: {error}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
