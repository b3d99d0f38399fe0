"""The supervisor of one untrusted program; `sandbox.run` starts it in an interpreter of its own.

It drops root and the host's namespaces and forks twice: the judge, which reads the test from
standard input, and the program, which never holds it. Both confine themselves. The supervisor
watches them, ends them, and reports. Few imports, and only of the standard library: they add to
every program's run time.
"""

import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, NoReturn

from snow_assets.runtime.sandbox_child import commands
from snow_assets.runtime.sandbox_child.confinement import (
    ENTRY_BYTES,
    FIRST_UNUSED_ID,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    SIGKILL,
    Bounds,
    Refused,
    confine,
    count_tasks,
    drop_root,
    landlock_ruleset,
    library_folder,
    prctl,
    unshare_namespaces,
)
from snow_assets.runtime.sandbox_child.judge import report_outcome
from snow_assets.runtime.sandbox_child.messages import (
    ENDED,
    FAILED,
    PASSED,
    READY,
    STARTED,
    Report,
    Request,
    pack,
    read_frame,
    unpack,
    write_frame,
)
from snow_assets.runtime.sandbox_child.program import serve

POLL_SECONDS = 0.05
REAP_POLL_SECONDS = 0.005  # of commands, which may start processes quickly
READY_SECONDS = 45.0  # for both children to confine themselves
REAP_SECONDS = 10.0
ENDING_SECONDS = 0.2  # after the judge's end, to distinguish a crash of the program from a stop
MESSAGE_BYTES = 2000
MAX_REQUEST_BYTES = 1 << 30


class Channels(NamedTuple):
    """Pipes as (reading end, writing end)."""

    calls: tuple[int, int]  # from the judge to the program
    answers: tuple[int, int]  # back
    output: tuple[int, int]  # the program's stdout and stderr
    outcome: tuple[int, int]  # from the judge to the supervisor
    judge_ready: tuple[int, int]
    program_ready: tuple[int, int]


class ConfinementSetup(NamedTuple):
    """Inputs of the children's confinement."""

    request: Request
    bounds: Bounds
    ruleset: int
    library: int
    packages: tuple[int, ...]  # of `request.packages`, opened before root was dropped


def close_all_except(*descriptors: int) -> None:
    """Close every descriptor above 2 but these."""
    low = 3
    for descriptor in sorted(descriptors):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 16)


def replace_standard_streams(standard_input: int, output: int) -> None:
    for descriptor, end in enumerate((standard_input, output, output)):
        os.dup2(end, descriptor)


def redirect_imports(descriptor: int) -> None:
    """Import through the open folder if this user has no access to the interpreter (/root/.pyenv).

    Every package's path is changed too, else `encodings` or `json` lose their submodules.
    """
    if os.access(os.__file__, os.R_OK):
        return
    old, new = library_folder(), f"/proc/self/fd/{descriptor}"
    packages = [module for module in sys.modules.values() if hasattr(module, "__path__")]
    for path in (sys.path, *(package.__path__ for package in packages)):
        path[:] = [entry.replace(old, new, 1) for entry in path]
    sys.path_importer_cache.clear()


def import_packages(setup: ConfinementSetup) -> None:
    """Append the request's packages to the path of modules, by descriptor where this user has no
    access to them (/root/venv)."""
    for path, descriptor in zip(setup.request.packages, setup.packages, strict=True):
        has_access = os.access(path, os.R_OK | os.X_OK)
        sys.path.append(path if has_access else f"/proc/self/fd/{descriptor}")


def enter_sandbox(
    setup: ConfinementSetup, ready: int, supervisor: int, *, parent_death_signal: int = SIGKILL
) -> None:
    """Confine the calling child, write READY to the descriptor `ready`, and close it.

    It gets `parent_death_signal` when the supervisor ends.
    """
    try:
        # First, or a child that ends its group on that signal ends the caller's process, too.
        os.setsid()
        prctl(PR_SET_PDEATHSIG, parent_death_signal)
        if os.getppid() != supervisor:
            os._exit(1)  # it ended before it could be watched
        confine(setup.ruleset, bytes.fromhex(setup.request.seccomp), setup.bounds)
    except OSError as error:
        layers = {"syscall": "Landlock", "prctl": "seccomp"}
        layer = layers.get(error.filename, "the baseline isolation")
        os.write(ready, f"{layer} is not available here: {error}".encode())
        os._exit(1)
    os.environ.clear()
    os.environ.update(HOME=setup.request.folder, TMPDIR=setup.request.folder)
    sys.argv[:] = ["<program>"]
    redirect_imports(setup.library)
    os.write(ready, READY)
    os.close(ready)


def run_judge(setup: ConfinementSetup, channels: Channels, null: int, supervisor: int) -> NoReturn:
    calls, answers, outcome = channels.calls[1], channels.answers[0], channels.outcome[1]
    ready, tests = channels.judge_ready[1], os.dup(0)
    replace_standard_streams(null, null)
    close_all_except(calls, answers, outcome, ready, tests, setup.ruleset, setup.library)
    os.chdir("/")
    enter_sandbox(setup, ready, supervisor)
    report_outcome(tests, calls, answers, outcome)


def run_program(
    setup: ConfinementSetup, channels: Channels, null: int, supervisor: int
) -> NoReturn:
    calls, answers, ready = channels.calls[0], channels.answers[1], channels.program_ready[1]
    replace_standard_streams(null, channels.output[1])
    close_all_except(calls, answers, ready, setup.ruleset, setup.library, *setup.packages)
    enter_sandbox(setup, ready, supervisor)
    import_packages(setup)
    serve(setup.request.program, calls, answers)


def run_commands(
    setup: ConfinementSetup, channels: Channels, null: int, supervisor: int
) -> NoReturn:
    ready = channels.program_ready[1]
    replace_standard_streams(null, channels.output[1])
    close_all_except(ready, setup.ruleset, setup.library)
    commands.kill_group_on_termination()
    enter_sandbox(setup, ready, supervisor, parent_death_signal=commands.TERMINATION)
    request = setup.request
    commands.run(request.program, request.file_name, request.commands)


def fork(
    main: Callable[[ConfinementSetup, Channels, int, int], NoReturn],
    setup: ConfinementSetup,
    channels: Channels,
    null: int,
    supervisor: int,
) -> int:
    child = os.fork()
    if not child:
        try:
            main(setup, channels, null, supervisor)
        finally:
            os._exit(1)
    return child


def wait_until_ready(*descriptors: int) -> None:
    """Wait until the children are confined; Refused with the reason of the first failure."""
    deadline = time.monotonic() + READY_SECONDS
    for descriptor in descriptors:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(1000 * max(deadline - time.monotonic(), 0)):
            raise Refused(f"a child was not confined within {READY_SECONDS:g} s")
        status = os.read(descriptor, 4096)
        if status != READY:
            raise Refused(status.decode(errors="replace") or "a child ended before its confinement")


class Watch:
    """Watches a running program; keeps the end of its output and discards earlier output."""

    def __init__(self, request: Request, channels: Channels, *, own_disk: bool) -> None:
        self.request, self.message = request, bytearray()
        self._own_disk, self._output, self._outcome = (
            own_disk,
            channels.output[0],
            channels.outcome[0],
        )
        os.set_blocking(self._output, False)

    def until(self, child: int, seconds: float) -> str:
        """Wait until `child` ends ("") or must be stopped: timeout, folder or abandoned."""
        deadline, next_look = time.monotonic() + seconds, 0.0
        has_commands = bool(self.request.commands)
        poll_seconds = REAP_POLL_SECONDS if has_commands else POLL_SECONDS
        pidfd, poller = os.pidfd_open(child), select.poll()
        for descriptor in (pidfd, self._output, self.request.lifeline):
            poller.register(descriptor, select.POLLIN)
        try:
            while (now := time.monotonic()) < deadline:
                if has_commands:
                    commands.reap_orphans(child)
                if not self._own_disk and now >= next_look:
                    if is_full(self.request.folder_bytes, deadline):
                        return "folder"
                    next_look = time.monotonic() + POLL_SECONDS
                ready = {
                    descriptor
                    for descriptor, _ in poller.poll(1000 * min(deadline - now, poll_seconds))
                }
                if self._output in ready and not self.drain():
                    poller.unregister(self._output)
                if pidfd in ready:
                    return ""
                if self.request.lifeline in ready:
                    return "abandoned"
            return "timeout"
        finally:
            os.close(pidfd)

    def read_outcome(self) -> str:
        """Read the output of the judge, which has ended: a letter and a reason, or empty."""
        return os.read(self._outcome, 1 << 16).decode(errors="replace")

    def drain(self) -> bool:
        """Read the program's output once; return whether more can follow."""
        try:
            chunk = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return False
        self.message = (self.message + chunk)[-MESSAGE_BYTES:]
        return bool(chunk)


def is_full(folder_bytes: int, deadline: float) -> bool:
    """Whether the folder exceeds the limit; an unreadable subfolder counts as full."""
    used, folders = 0, ["."]
    while folders and used <= folder_bytes and time.monotonic() < deadline:
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


def end_children(*children: int) -> dict[int, tuple[int, float]]:
    """Kill and reap the children with their process groups: pid -> status and CPU seconds.

    A child leads its group, which none of its descendants can leave. Descendants whose parents
    ended are children of this process.
    """
    for child in children:
        os.kill(child, SIGKILL)  # not yet reaped, so the pid is not reused
        with suppress(ProcessLookupError):  # it was not confined
            os.killpg(child, SIGKILL)
    ends: dict[int, tuple[int, float]] = {}
    deadline = time.monotonic() + REAP_SECONDS
    with suppress(ChildProcessError):  # all are reaped
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid:
                ends[pid] = (status, usage.ru_utime + usage.ru_stime)
            else:
                time.sleep(0.001)
    return ends


def supervise(request: Request, announce: Callable[[], None]) -> Report:
    """Run the program and its judge to their end; call `announce` at the start."""
    library, null = os.open(library_folder(), os.O_PATH), os.open("/dev/null", os.O_RDWR)
    packages = tuple(os.open(path, os.O_PATH) for path in request.packages)
    was_root = os.geteuid() == 0
    if was_root:
        drop_root(request.folder)
    prctl(PR_SET_DUMPABLE, 1)  # else the files of /proc/self are root's
    has_commands = bool(request.commands)
    own_disk = unshare_namespaces(request.folder, request.folder_bytes, is_executable=has_commands)
    try:
        os.chdir(request.folder)
    except OSError as error:
        raise Refused(f"user {os.getuid()} cannot reach the working folder: {error}") from error
    setup = ConfinementSetup(
        request,
        bounds(request, own_disk),
        rules(library, packages, has_commands=has_commands),
        library,
        packages,
    )
    channels, supervisor = Channels(*(os.pipe() for _ in Channels._fields)), os.getpid()
    if has_commands:
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # outside a namespace, pid 1 may reap nothing
    mains = (run_commands,) if has_commands else (run_judge, run_program)
    children = [fork(main, setup, channels, null, supervisor) for main in mains]
    prctl(PR_SET_DUMPABLE, 0)
    close_children_ends(channels)
    ready = (channels.judge_ready[0], channels.program_ready[0])
    try:
        wait_until_ready(*ready[-len(children) :])
    except Refused:
        end_children(*children)
        raise
    announce()
    layers = ("uid",) * was_root + ("namespaces",) * own_disk
    watch = Watch(request, channels, own_disk=own_disk)
    if has_commands:
        return watch_commands(watch, children[0], layers)
    judge, program = children
    return watch_children(watch, judge, program, layers)


def watch_commands(watch: Watch, child: int, layers: tuple[str, ...]) -> Report:
    """Wait for the last command or the time limit, end what runs, and report. The program passed if
    the commands exited with 0 and the end of its output holds the marker, which is removed."""
    started = time.monotonic()
    stopped = watch.until(child, watch.request.seconds)
    seconds = time.monotonic() - started
    status, cpu_seconds = end_children(child).get(child, (1, 0.0))
    watch.drain()
    marker, message = watch.request.marker, watch.message.decode(errors="replace")
    outcome = PASSED if not stopped and status == 0 and marker in message else FAILED
    if not stopped and outcome != PASSED and cpu_seconds >= watch.request.seconds:
        stopped = "timeout"  # the kernel's limit on CPU seconds came first
    return Report("", layers, stopped, 0, outcome, seconds, message.replace(marker, ""))


def watch_children(watch: Watch, judge: int, program: int, layers: tuple[str, ...]) -> Report:
    """Wait for the judge or the time limit, end both children, and report."""
    started = time.monotonic()
    stopped = watch.until(judge, watch.request.seconds)
    seconds = time.monotonic() - started
    outcome = "" if stopped else watch.read_outcome()
    has_ended = outcome.startswith(ENDED) and not watch.until(program, ENDING_SECONDS)
    ends = end_children(judge, program)
    watch.drain()
    status, cpu_seconds = ends.get(program, (0, 0.0))
    if not stopped and not outcome.startswith(PASSED) and cpu_seconds >= watch.request.seconds:
        stopped = "timeout"  # the kernel's limit on CPU seconds came first
    message = watch.message.decode(errors="replace") + outcome[1:]
    return Report(
        "", layers, stopped, status * has_ended, outcome[:1], seconds, message[-MESSAGE_BYTES:]
    )


def bounds(request: Request, own_disk: bool) -> Bounds:
    """Resource limits of each child. The limit on tasks counts the supervisor, judge and program
    together, as they have the same user; and programs beside this one, if all have one user."""
    user = os.getuid()
    num_present = 2 if own_disk else count_tasks(user)
    if not own_disk and user < FIRST_UNUSED_ID:
        num_present += (request.num_concurrent - 1) * (3 + request.threads)
    return Bounds(
        seconds=request.seconds,
        memory_bytes=request.memory_bytes,
        folder_bytes=request.folder_bytes,
        num_tasks=num_present + 1 + request.threads,
        open_files=request.open_files,
    )


def rules(library: int, packages: tuple[int, ...], *, has_commands: bool) -> int:
    try:
        return landlock_ruleset(library, packages, has_commands=has_commands)
    except OSError as error:
        raise Refused(f"Landlock is not available here: {error}") from error


def close_children_ends(channels: Channels) -> None:
    """Close the children's ends of the pipes, else the supervisor would not see their closing."""
    kept = {channels.output[0], channels.outcome[0]}
    kept |= {channels.judge_ready[0], channels.program_ready[0]}
    for end in {end for pair in channels for end in pair} - kept:
        os.close(end)


def main() -> None:
    """Read a request's frame, leave the test's frame to the judge, and print a report."""
    request = unpack(Request, read_frame(0, max_bytes=MAX_REQUEST_BYTES))

    def announce() -> None:
        os.write(1, STARTED)

    try:
        report = supervise(request, announce)
    except Refused as error:
        report = Report(refused=str(error))
    write_frame(1, pack(report))
