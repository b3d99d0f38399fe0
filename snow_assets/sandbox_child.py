"""The supervisor of one untrusted program; `sandbox.run` starts it as a script, with nothing.

It gives up what it has (root, the host's namespaces), forks, shuts the fork in and lets that run
the program, watches, kills whatever is left, and tells what it saw. Standard library only, and
little of it: every program pays for this file's imports.
"""

import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from contextlib import suppress
from typing import NamedTuple, NoReturn

POLL_SECONDS = 0.05
REAP_SECONDS = 10.0
FIRST_SPARE_ID = 2_000_000_000  # + process id: each program of a root has a user id of its own
ENTRY_BYTES = 4096  # what any entry of the folder is charged, so that names alone cannot fill it
MESSAGE_BYTES = 2000

# What the standard library's extension modules load, and time zones.
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
READABLE = (*LIBRARIES, "/usr/share/zoneinfo", "/etc/ld.so.cache", "/dev/urandom")

# linux/prctl.h, linux/sched.h, sys/mount.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 36, 38, 2
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000

# linux/landlock.h; the three system calls have the same numbers on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_SOCK, MAKE_BLOCK, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 9, 1 << 11, 1 << 14, 1 << 15
NOT_EVEN_IN_ITS_FOLDER = EXECUTE | MAKE_CHAR | MAKE_SOCK | MAKE_BLOCK | IOCTL_DEV

PASSED, FAILED, MEMORY, EXITED, REFUSED = "P", "F", "M", "E", "R"

libc = ctypes.CDLL(None, use_errno=True)


class Request(NamedTuple):
    """What the supervisor reads from its standard input, as JSON."""

    program: str
    folder: str  # exists, is empty, and belongs to whoever asks
    seccomp: str  # the filter as BPF, in hex
    lifeline: int  # a pipe's end that hangs up when whoever asks is gone
    seconds: float
    memory_bytes: int
    output_bytes: int
    folder_bytes: int
    processes: int
    open_files: int


class Report(NamedTuple):
    """What it writes to its standard output, as JSON; `refused` says why nothing was run."""

    refused: str = ""
    layers: tuple[str, ...] = ()  # beyond the floor
    stopped: str = ""  # by the watch, and why: timeout or output
    status: int = 0  # as wait() gives it
    told: str = ""  # the letter that came with the right nonce
    seconds: float = 0.0
    message: str = ""


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """A layer of the sandbox cannot be had here."""


class Pipes(NamedTuple):
    """One end each of what the program writes into; and the folder that holds its library."""

    output: int
    proof: int
    library: int


def call(name: str, *arguments: object) -> int:
    """A libc function; its failure is an OSError that names it."""
    result = int(getattr(libc, name)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def prctl(option: int, argument: int) -> None:
    call("prctl", *(ctypes.c_ulong(word) for word in (option, argument, 0, 0, 0)))


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def leave_root(folder: str) -> None:
    """Become a user without name or files; from here on RLIMIT_NPROC holds, which root ignores."""
    spare = FIRST_SPARE_ID + os.getpid()
    try:
        os.chown(folder, spare, spare)
        os.setgroups([])
        os.setresgid(spare, spare, spare)
        os.setresuid(spare, spare, spare)
    except OSError as error:
        raise Refused(f"root cannot become the unprivileged user {spare}: {error}") from error


def enter_namespaces(request: Request) -> bool:
    """Own users, processes, network, mounts, IPC and host name, and a small disk; if they let us.

    This process goes on as the first of the new ones: when it ends the kernel kills the others.
    """
    user, group = os.getuid(), os.getgid()
    kinds = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS
    if libc.unshare(kinds) != 0:
        return False
    entries = request.folder_bytes // ENTRY_BYTES + 2
    size = f"size={request.folder_bytes},nr_inodes={entries},mode=700"
    try:
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{user} {user} 1")
        write("/proc/self/gid_map", f"{group} {group} 1")
        mount("none", "/", "none", MS_REC | MS_PRIVATE, "")
        mount("tmpfs", request.folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, size)
    except OSError as error:
        raise Refused(f"new namespaces are given, but not their use: {error}") from error
    first = os.fork()
    if first:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return True


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    words = (source.encode(), target.encode(), kind.encode())
    call("mount", *words, ctypes.c_ulong(flags), data.encode())


def num_tasks_of(user: int) -> int:
    """How many threads this user runs; RLIMIT_NPROC counts them too."""
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == user:
                total += len(os.listdir(f"/proc/{name}/task"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return total


def shut_in(request: Request, pipes: Pipes, others: int) -> None:
    """The order matters: each step takes away what an earlier one needs."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    write("/proc/self/oom_score_adj", "1000")  # short of memory, the kernel takes this one first
    prctl(PR_SET_DUMPABLE, 0)
    for descriptor, end in enumerate((os.open("/dev/null", os.O_RDWR), pipes.output, pipes.output)):
        os.dup2(end, descriptor)
    confine_files(pipes.library)
    first, last = sorted((pipes.proof, pipes.library))
    for low, high in ((3, first), (first + 1, last), (last + 1, 4096)):
        os.closerange(low, high)
    call("capset", struct.pack("=Ii", 0x20080522, 0), bytes(24))  # a user namespace gives them all
    limit_resources(request, others)
    bpf = bytes.fromhex(request.seccomp)
    instructions = ctypes.create_string_buffer(bpf, len(bpf))
    filters = struct.pack("@HP", len(bpf) // 8, ctypes.addressof(instructions))
    call("prctl", PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), filters)


def confine_files(library: int) -> None:
    """Landlock: write in the working folder, read the interpreter's library, open nothing else."""
    version = landlock(CREATE_RULESET, None, 0, 1)
    handled = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    network, scopes = 3, 3  # bind and connect; signals and abstract sockets
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("=QQQ", handled, network, scopes)[:size]
    ruleset = landlock(CREATE_RULESET, attributes, size, 0)
    rules = [(library, READ_FILE | READ_DIR), (os.open(".", os.O_PATH), ~NOT_EVEN_IN_ITS_FOLDER)]
    rules += [(os.open("/dev/null", os.O_PATH), READ_FILE | WRITE_FILE | TRUNCATE)]
    for path in READABLE:
        if os.access(path, os.R_OK):
            rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
            rules += [(os.open(path, os.O_PATH), rights)]
    for parent, rights in rules:
        beneath = struct.pack("=Qi", rights & handled, parent)
        landlock(ADD_RULE, ruleset, 1, beneath, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock(RESTRICT_SELF, ruleset, 0)


def landlock(number: int, *arguments: int | bytes | None) -> int:
    words = (ctypes.c_long(word) if isinstance(word, int) else word for word in arguments)
    return call("syscall", ctypes.c_long(number), *words)


def limit_resources(request: Request, others: int) -> None:
    for kind, wanted in (
        (resource.RLIMIT_CPU, int(request.seconds) + 2),
        (resource.RLIMIT_AS, request.memory_bytes),
        (resource.RLIMIT_FSIZE, request.folder_bytes),
        (resource.RLIMIT_NOFILE, request.open_files),
        (resource.RLIMIT_NPROC, others + request.processes),
        (resource.RLIMIT_CORE, 0),
    ):
        ceiling = resource.getrlimit(kind)[1]
        value = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
        resource.setrlimit(kind, (value, value))


def library_folder() -> str:
    """The folder above the standard library's; conda keeps shared libraries there."""
    return os.__file__.rpartition("/")[0].rpartition("/")[0]


def reach_library(descriptor: int) -> None:
    """Where this user may not walk to the interpreter (/root/.pyenv), go through the open folder.

    Every package's own path is turned too, else `encodings` or `json` lose their submodules.
    """
    if os.access(os.__file__, os.R_OK):
        return
    old, new = library_folder(), f"/proc/self/fd/{descriptor}"
    packages = [module for module in sys.modules.values() if hasattr(module, "__path__")]
    for path in (sys.path, *(package.__path__ for package in packages)):
        path[:] = [entry.replace(old, new, 1) for entry in path]
    sys.path_importer_cache.clear()


def run_program(source: str, proof: int, nonce: bytes) -> NoReturn:
    """Run it as `__main__`, and tell how it ended with the nonce that only this frame holds.

    What is needed afterwards is kept from before, since the program may have replaced it.
    """
    tell, end, whoami, error_of, outcome = os.write, os._exit, os.getpid, sys.exc_info, outcome_of
    process, stderr, show = os.getpid(), sys.stderr, sys.__excepthook__
    trimmed = BaseException.with_traceback  # of this frame
    sys.modules["__main__"] = main = type(sys)("__main__")
    try:
        exec(compile(source, "<program>", "exec", dont_inherit=True), main.__dict__)  # noqa: S102
    finally:  # not `except`: what the program raises is not handled, it is only told
        kind, error, frames = error_of()
        try:
            if whoami() == process:  # not a fork of the program that came this far
                tell(proof, nonce + outcome(error).encode())
            if kind and error:
                sys.stderr = stderr
                show(kind, trimmed(error, frames and frames.tb_next), None)
        finally:
            end(1 if error else 0)


def outcome_of(error: BaseException | None) -> str:
    if error is None:
        return PASSED
    if isinstance(error, MemoryError):
        return MEMORY
    return EXITED if isinstance(error, SystemExit) else FAILED


def be_program(request: Request, pipes: Pipes, nonce: bytes, others: int) -> NoReturn:
    try:
        shut_in(request, pipes, others)
    except OSError as error:
        layer = {"syscall": "Landlock", "prctl": "seccomp"}.get(error.filename, "the floor")
        os.write(pipes.proof, nonce + f"{REFUSED}{layer} cannot be had here: {error}".encode())
        os._exit(1)
    os.environ.clear()
    os.environ.update(HOME=request.folder, TMPDIR=request.folder)
    sys.argv[:] = ["<program>"]
    reach_library(pipes.library)
    run_program(request.program, pipes.proof, nonce)


def watch(request: Request, child: int, output: int, own_disk: bool) -> tuple[str, bytearray]:
    """Until the program ends or must be stopped: why it must, and the end of what it wrote."""
    deadline, next_look = time.monotonic() + request.seconds, 0.0
    written, message, pidfd, poller = 0, bytearray(), os.pidfd_open(child), select.poll()
    for descriptor in (pidfd, output, request.lifeline):
        poller.register(descriptor, select.POLLIN)
    while written <= request.output_bytes:
        now = time.monotonic()
        if now >= deadline:
            return "timeout", message
        if not own_disk and now >= next_look:
            if is_full(request.folder_bytes):
                return "output", message
            next_look = time.monotonic() + POLL_SECONDS
        ready = [descriptor for descriptor, _ in poller.poll(1000 * min(deadline - now, 0.05))]
        if output in ready:
            chunk = os.read(output, 1 << 16)
            written += len(chunk)
            message = (message + chunk)[-MESSAGE_BYTES:]
            if not chunk:
                poller.unregister(output)
        elif ready:
            return "" if pidfd in ready else "abandoned", message
    return "output", message


def is_full(folder_bytes: int) -> bool:
    """Whether the folder holds more; a part that cannot be looked into counts as full."""
    used, folders = 0, ["."]
    while folders and used <= folder_bytes:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    used += max(entry.stat(follow_symlinks=False).st_blocks * 512, ENTRY_BYTES)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError:
            return True
    return used > folder_bytes


def end_everyone(child: int) -> int:
    """Kill the program's process group, which none of it can leave, and reap all; its status.

    The kernel kills a group at one stroke: no fork slips through, however fast.
    """
    os.kill(child, signal.SIGKILL)
    with suppress(ProcessLookupError):  # stopped before it had made its group, or ran anything
        os.killpg(child, signal.SIGKILL)
    status, deadline = 0, time.monotonic() + REAP_SECONDS
    while time.monotonic() < deadline:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == child:
            status = ended
        elif not pid:
            time.sleep(0.001)
    raise RuntimeError(f"processes of the program live {REAP_SECONDS} s after their SIGKILL")


def fork_program(request: Request, nonce: bytes, library: int, others: int) -> tuple[int, Pipes]:
    (output, output_end), (proof, proof_end) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        be_program(request, Pipes(output_end, proof_end, library), nonce, others)
    prctl(PR_SET_DUMPABLE, 0)
    os.close(output_end)
    os.close(proof_end)
    return child, Pipes(output, proof, library)


def supervise(request: Request) -> Report:
    """Shut a fork in, let it run the program, and leave nothing of it behind."""
    library, was_root = os.open(library_folder(), os.O_PATH), os.geteuid() == 0
    if was_root:
        leave_root(request.folder)
    prctl(PR_SET_DUMPABLE, 1)  # else the files of /proc/self are root's
    own_disk = enter_namespaces(request)
    others = 2 if own_disk else num_tasks_of(os.getuid())
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        os.chdir(request.folder)
    except OSError as error:
        raise Refused(f"user {os.getuid()} cannot reach the working folder: {error}") from error
    nonce, started = os.urandom(16), time.monotonic()
    child, pipes = fork_program(request, nonce, library, others)
    stopped, message = watch(request, child, pipes.output, own_disk)
    seconds = time.monotonic() - started
    status = end_everyone(child)
    message = (message + os.read(pipes.output, 1 << 20))[-MESSAGE_BYTES:]
    proof = os.read(pipes.proof, 1 << 16)
    told = proof.removeprefix(nonce).decode() if proof.startswith(nonce) else ""
    if told.startswith(REFUSED):
        raise Refused(told.removeprefix(REFUSED))
    layers = ("uid",) * was_root + ("namespaces",) * own_disk
    return Report("", layers, stopped, status, told, seconds, message.decode(errors="replace"))


def main() -> None:
    request = Request(**json.load(sys.stdin))
    try:
        report = supervise(request)
    except Refused as error:
        report = Report(refused=str(error))
    json.dump(report._asdict(), sys.stdout)


if __name__ == "__main__":
    main()
