"""Becomes a program that a hostile file may take over: locks itself in first, and ends with everything it started.

`sandbox.py` starts it as a process of its own between the server and ffmpeg: doing this in the forked child
(`preexec_fn`) can deadlock in a process with threads, and doing it from outside leaves the program free for a moment.

    supervisor      this process: waits, ends what is left, and passes the exit status on
      init          process 1 of a process namespace, when the kernel grants one: everything in it ends with it
        program     limited, as nobody, without capabilities, files and network

argv: the limits as `RLIMIT_AS=bytes,…`, the niceness, the server's process id, a folder for temporary files, words
separated by commas, then the command with its absolute path. The words: `landlock` and `uid` leave that measure out,
and with `report` it prints what holds, as `name=value` pairs, in place of becoming the program. The program reads the
input file as its standard input.
"""

from __future__ import annotations

import os
import resource
import sys

TYPE_CHECKING = False  # `typing`, `dataclasses` and `signal` take longer to import than all the rest
if TYPE_CHECKING:
    import signal
    from typing import NoReturn
else:
    import _signal as signal  # the part of it that is written in C

IS_LINUX = sys.platform == "linux"
EXIT_CANNOT_START = 126
EXIT_ENDED = 143  # the supervisor was told to end

if IS_LINUX:
    from whisper_core.audio import confinement


class Launch:
    """What the arguments say."""

    def __init__(self, arguments: list[str]) -> None:
        limits, niceness, server, folder, words, *command = arguments
        self.limits = {name: int(value) for name, value in (limit.split("=") for limit in limits.split(","))}
        self.niceness = int(niceness)
        self.server = int(server)
        self.temporary_folder = folder
        self.words = words.split(",")
        self.command = command


def main() -> None:
    launch = Launch(sys.argv[1:])
    _set_limit("RLIMIT_CORE", 0)
    _enter_empty_folder(launch.temporary_folder)
    if not IS_LINUX:
        _become_program(launch, {})
    _supervise(launch)


# --- the supervisor ------------------------------------------------------------------------------------------------


def _supervise(launch: Launch) -> NoReturn:
    child = 0

    def end(*_: object) -> None:
        if child == 0:
            os._exit(EXIT_ENDED)
        _kill(child)

    signal.signal(signal.SIGTERM, end)
    has_orphans = confinement.adopt_orphans()
    has_namespaces = confinement.enter_namespaces()
    confinement.die_with_parent(signal.SIGTERM)  # last, because a change of rights would undo it
    if os.getppid() != launch.server:
        os._exit(EXIT_ENDED)  # the server ended before it could be followed
    held = {
        "network": "off" if has_namespaces else "open",
        "pidns": _on(has_namespaces),
        "subreaper": _on(has_orphans),
    }
    reader, writer = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the child is known
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        confinement.die_with_parent(signal.SIGKILL)
        if has_namespaces:
            _be_init(launch, held, writer)
        _become_program(launch, held)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.close(writer)
    _let_go_of_streams()
    status = _wait_for(child)
    told = os.read(reader, 32)  # by init, whose own status cannot be a signal
    _end_descendants()
    _exit_as(int(told) if told else status)


def _wait_for(child: int) -> int:
    """The child's status. Orphans that end meanwhile are reaped."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return status


def _end_descendants() -> None:
    """Kills and reaps whatever is left; who was started by these comes here as their parents end."""
    while _reap_one():
        for process in _children():
            _kill(process)


def _reap_one() -> bool:
    """Waits for a child that has ended, if there is one. False when there are no children left."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    own = os.getpid()
    return [process for process in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent_of(process) == own]


def _parent_of(process: int) -> int:
    try:
        with open(f"/proc/{process}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def _exit_as(status: int) -> NoReturn:
    """As the program ended: by the same signal or with the same code."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else EXIT_CANNOT_START)


# --- init ----------------------------------------------------------------------------------------------------------


def _be_init(launch: Launch, held: dict[str, str], writer: int) -> NoReturn:
    program = os.fork()
    if program == 0:
        _become_program(launch, held)
    _let_go_of_streams()
    status = _wait_for(program)
    os.write(writer, str(status).encode())
    os._exit(0)


# --- the program ---------------------------------------------------------------------------------------------------


def _become_program(launch: Launch, held: dict[str, str]) -> NoReturn:
    try:
        _lock_in(launch, held)
    except OSError:
        os._exit(EXIT_CANNOT_START)
    os._exit(EXIT_CANNOT_START)


def _lock_in(launch: Launch, held: dict[str, str]) -> None:
    program, is_script = _open_program(launch.command[0])
    for name, wanted in launch.limits.items():
        _set_limit(name, wanted)
    os.nice(launch.niceness)
    if IS_LINUX:
        if "uid" not in launch.words and os.fstat(program).st_mode & 0o5 == 0o5:  # everybody may run it
            confinement.drop_user()
        confinement.die_with_parent(signal.SIGKILL)
        held["uid"] = str(os.geteuid())
        held["capabilities"] = "none" if confinement.drop_capabilities() else "kept"
        held["no_new_privs"] = _on(confinement.forbid_new_privileges())
        held["landlock"] = _on(
            "landlock" not in launch.words
            and confinement.restrict_files(program, [0], _library_folders(launch.command))
        )
        held["seccomp"] = _on(confinement.restrict_calls())
        if held["seccomp"] == "on":
            held["network"] = "off"
    if "report" in launch.words:
        os.write(1, " ".join(f"{name}={value}" for name, value in sorted(held.items())).encode())
        os._exit(0)
    try:
        os.execve(launch.command[0], launch.command, {})  # noqa: S606 - an absolute path, and no shell is the point # nosec B606
    except PermissionError:
        os.set_inheritable(program, is_script)  # its interpreter opens it
        os.execve(program, launch.command, {})  # noqa: S606 - nobody may not enter the folder that it is in # nosec B606


def _open_program(path: str) -> tuple[int, bool]:
    """A descriptor, and whether it is a script."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return descriptor, os.pread(descriptor, 2, 0) == b"#!"


def _library_folders(command: list[str]) -> list[str]:
    """Those beside the folder of a program that has its own, such as /opt/conda/bin."""
    folder, name = os.path.split(os.path.dirname(os.path.realpath(command[0])))
    return [os.path.join(folder, "lib"), os.path.join(folder, "lib64")] if name == "bin" else []


# --- common --------------------------------------------------------------------------------------------------------


def _set_limit(name: str, wanted: int) -> None:
    """The CPU's hard limit is a second later: what reaches that is killed without being told why."""
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    most = value + 1 if name == "RLIMIT_CPU" and (hard == resource.RLIM_INFINITY or value < hard) else value
    resource.setrlimit(kind, (value, most))


def _enter_empty_folder(parent: str) -> None:
    """One without a name, in which nothing can be made and of which nothing stays."""
    folder = os.path.join(parent, f"sandbox-{os.urandom(8).hex()}")
    try:
        os.mkdir(folder, 0o555)
        os.chdir(folder)
        os.rmdir(folder)
    except OSError:
        os.chdir("/")


def _let_go_of_streams() -> None:
    """So that the program's output ends when the program closes it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"
