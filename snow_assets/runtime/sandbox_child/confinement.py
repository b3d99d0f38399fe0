"""Confinement of the sandbox's processes: user ids, namespaces, Landlock, seccomp, resource limits.

The supervisor calls `unshare_namespaces` and `drop_root`; each of its two children calls `confine`
before it runs anything. Standard library only.
"""

import ctypes
import os
import resource
import stat
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FIRST_UNUSED_ID = 2_000_000_000  # + pid: each program started by root gets its own user id
ENTRY_BYTES = 4096  # minimum charge per entry of the folder, so that names alone cannot fill it

# Shared libraries of the standard library's extension modules, and time zones.
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
READABLE = (*LIBRARIES, "/usr/share/zoneinfo", "/etc/ld.so.cache", "/dev/urandom")
# Installed packages are excluded: they may contain benchmarks with their tests.
INSTALLED_PACKAGES = ("site-packages", "dist-packages")

# Compilers and interpreters, with what they read.
TOOLCHAINS = ("/usr", "/bin")

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
DENIED_IN_FOLDER = EXECUTE | MAKE_CHAR | MAKE_SOCK | MAKE_BLOCK | IOCTL_DEV
HIGHEST_LANDLOCK_VERSION = 6  # whose rights are listed here

RLIMIT_SIGPENDING = 11  # asm-generic/resource.h; the module `resource` does not name it

SIGKILL = 9  # the module `signal` costs each program the import of `enum`

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """A layer of the sandbox is not available here."""


class Bounds(NamedTuple):
    """Resource limits of a process; each field as in `messages.Request`."""

    seconds: float
    memory_bytes: int
    folder_bytes: int
    num_tasks: int  # threads and processes of this user in total
    open_files: int


def call(name: str, *arguments: object) -> int:
    """Call a libc function; on failure raise an OSError with its name."""
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


def drop_root(folder: str) -> None:
    """Change to an unused user id, so that RLIMIT_NPROC applies, which root ignores."""
    unused_id = FIRST_UNUSED_ID + os.getpid()
    try:
        os.chown(folder, unused_id, unused_id)
        os.setgroups([])
        os.setresgid(unused_id, unused_id, unused_id)
        os.setresuid(unused_id, unused_id, unused_id)
    except OSError as error:
        raise Refused(f"root cannot become the unprivileged user {unused_id}: {error}") from error


def unshare_namespaces(folder: str, folder_bytes: int, *, is_executable: bool) -> bool:
    """Create namespaces of users, processes, network, mounts, IPC and host name, and mount a tmpfs,
    whose files can be executed if `is_executable`.

    Returns False where the kernel does not allow them. Continues in a forked child that is pid 1 of
    the new namespace: when it ends, the kernel kills the namespace's processes.
    """
    user, group = os.getuid(), os.getgid()
    kinds = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS
    if libc.unshare(kinds) != 0:
        return False
    entries = folder_bytes // ENTRY_BYTES + 2
    size = f"size={folder_bytes},nr_inodes={entries},mode=700"
    try:
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{user} {user} 1")
        write("/proc/self/gid_map", f"{group} {group} 1")
        mount("none", "/", "none", MS_REC | MS_PRIVATE, "")
        flags = MS_NOSUID | MS_NODEV | (0 if is_executable else MS_NOEXEC)
        mount("tmpfs", folder, "tmpfs", flags, size)
    except OSError as error:
        raise Refused(f"new namespaces can be created, but not configured: {error}") from error
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    return True


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    words = (source.encode(), target.encode(), kind.encode())
    call("mount", *words, ctypes.c_ulong(flags), data.encode())


def count_tasks(user: int) -> int:
    """Count this user's threads, which RLIMIT_NPROC includes."""
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == user:
                total += len(os.listdir(f"/proc/{name}/task"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return total


def confine(ruleset: int, seccomp: bytes, bounds: Bounds) -> None:
    """Confine the calling process. The order matters: each step removes what an earlier one needs.

    Raises OSError with the libc function's name if a step fails.
    """
    write("/proc/self/oom_score_adj", "1000")  # the OOM killer's first choice
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    call("capset", struct.pack("=Ii", 0x20080522, 0), bytes(24))  # a user namespace gives them all
    prctl(PR_SET_DUMPABLE, 0)  # no core file, no access to its /proc; a change of rights resets it
    limit_resources(bounds)
    instructions = ctypes.create_string_buffer(seccomp, len(seccomp))
    filters = struct.pack("@HP", len(seccomp) // 8, ctypes.addressof(instructions))
    call("prctl", PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), filters)


def landlock_ruleset(library: int, packages: Iterable[int], *, has_commands: bool) -> int:
    """Landlock ruleset: write in the working folder, read the standard library and the open folders
    `packages`, nothing else. With `has_commands`, read and execute `TOOLCHAINS`, and execute files
    of the working folder."""
    version = min(landlock(CREATE_RULESET, None, 0, 1), HIGHEST_LANDLOCK_VERSION)
    handled = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    network, scopes = 3, 3  # bind and connect; signals and abstract sockets
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("=QQQ", handled, network, scopes)[:size]
    ruleset = landlock(CREATE_RULESET, attributes, size, 0)
    for descriptor, rights in open_allowed_paths(library, packages, has_commands=has_commands):
        beneath = struct.pack("=Qi", rights & handled, descriptor)
        landlock(ADD_RULE, ruleset, 1, beneath, 0)
        os.close(descriptor)
    return ruleset


def open_allowed_paths(
    library: int, packages: Iterable[int], *, has_commands: bool
) -> Iterator[tuple[int, int]]:
    """Open each allowed path with O_PATH; yield the descriptor and its Landlock rights."""
    yield os.open(".", os.O_PATH), ~DENIED_IN_FOLDER | (EXECUTE if has_commands else 0)
    yield os.open("/dev/null", os.O_PATH), READ_FILE | WRITE_FILE | TRUNCATE
    for path in READABLE:
        if os.access(path, os.R_OK):
            rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
            yield os.open(path, os.O_PATH), rights
    for path in TOOLCHAINS if has_commands else ():
        yield os.open(path, os.O_PATH), READ_FILE | READ_DIR | EXECUTE
    for folder in packages:
        yield os.dup(folder), READ_FILE | READ_DIR
    yield from open_library_entries(library)


def open_library_entries(library: int) -> Iterator[tuple[int, int]]:
    """Open the standard library without installed packages, and the shared objects above it."""
    folder = os.path.basename(os.path.dirname(os.__file__))
    yield os.open(folder, os.O_PATH, dir_fd=library), READ_DIR  # names only
    for name in (folder, "."):
        parent = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=library)
        for entry in os.listdir(parent):
            if entry in INSTALLED_PACKAGES or (name == "." and ".so" not in entry):
                continue
            opened = os.open(entry, os.O_PATH, dir_fd=parent)
            is_folder = stat.S_ISDIR(os.fstat(opened).st_mode)
            yield opened, READ_FILE | READ_DIR if is_folder else READ_FILE
        os.close(parent)


def library_folder() -> str:
    """The folder above the standard library's; conda keeps shared libraries there."""
    return os.path.dirname(os.path.dirname(os.__file__))


def landlock(number: int, *arguments: int | bytes | None) -> int:
    words = (ctypes.c_long(word) if isinstance(word, int) else word for word in arguments)
    return call("syscall", ctypes.c_long(number), *words)


def limit_resources(bounds: Bounds) -> None:
    for kind, limit in (
        (resource.RLIMIT_CPU, int(bounds.seconds) + 2),
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_FSIZE, bounds.folder_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
        (resource.RLIMIT_NPROC, bounds.num_tasks),
        (resource.RLIMIT_CORE, 0),
        (RLIMIT_SIGPENDING, 64),  # per user, so that a program cannot use them up
    ):
        ceiling = resource.getrlimit(kind)[1]
        value = limit if ceiling == resource.RLIM_INFINITY else min(limit, ceiling)
        resource.setrlimit(kind, (value, value))
