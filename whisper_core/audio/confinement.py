"""What the kernel lets a process do to itself so that it can do little: each function returns whether it worked.

Linux only, through ctypes, because no package offers all of it and the launcher must start in milliseconds. A kernel or
a container may refuse any of it; what holds is found out by trying, and said in the log (`sandbox.measures`).
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False  # see launcher.py
if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION = 0x20080522

_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000

# Landlock's system calls have the same numbers everywhere.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many there are, by version
_NO_TCP, _NO_ABSTRACT_SOCKETS_OR_SIGNALS = 0b11, 0b11

# Where programs and libraries stand. Nothing of the server's is there, and everybody may read it.
_SYSTEM_FOLDERS = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.preload", "/dev/zero", "/dev/random", "/dev/urandom")

# What opens a way out, watches other processes or reaches seldom used parts of the kernel: numbers on x86-64 and arm64.
_DENIED = {
    "socket": (41, 198),
    "io_uring_setup": (425, 425),  # would open sockets without the call above
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of _DENIED, and AUDIT_ARCH
_X32_CALLS = 0x40000000  # a second set of numbers for the calls of x86-64
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # the latter with EPERM


def enter_namespaces() -> bool:
    """Gives this process an empty network and IPC, and its children process ids of their own.

    Without the right to that, within a user namespace, where the system offers those to everybody.
    """
    wanted = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWPID
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(wanted) == 0:
        return True
    if _libc.unshare(wanted | _CLONE_NEWUSER) != 0:
        return False
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{NOBODY} {uid} 1")
    _write("/proc/self/gid_map", f"{NOBODY} {gid} 1")
    return True


def die_with_parent(signal_number: int) -> None:
    """The kernel sends this process that signal when its parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def adopt_orphans() -> bool:
    """A descendant whose parent has ended becomes this process's child, whatever it did to get away."""
    return bool(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def drop_user() -> None:
    """Root becomes nobody, as far as it may. Takes effect for all ids and groups."""
    if os.geteuid() != 0:
        return
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return


def drop_capabilities() -> bool:
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    return bool(_libc.capset(header, ctypes.create_string_buffer(24)) == 0)


def forbid_new_privileges() -> bool:
    """No program that is started from here on gets more rights, whatever its file says."""
    return bool(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def restrict_files(program: int, readable_files: Sequence[int], folders: Sequence[str]) -> bool:
    """From now on only these and the system's programs and libraries can be opened, and nothing can be written.

    program, readable_files: descriptors. Needs `forbid_new_privileges`.
    """
    version = _libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if version < 1:
        return False
    handled = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    fields = [handled, _NO_TCP, _NO_ABSTRACT_SOCKETS_OR_SIGNALS][: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for folder in (*_SYSTEM_FOLDERS, *folders):
            _allow(ruleset, folder, _EXECUTE | _READ_FILE | _READ_DIR)
        for file in _SYSTEM_FILES:
            _allow(ruleset, file, _READ_FILE)
        _allow(ruleset, "/dev/null", (_READ_FILE | _WRITE_FILE | _TRUNCATE) & handled)
        for descriptor in readable_files:
            _add_rule(ruleset, descriptor, _READ_FILE)
        _add_rule(ruleset, program, _READ_FILE | _EXECUTE)
        return bool(_libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def restrict_calls() -> bool:
    """From now on no sockets, and nothing else of what _DENIED names. Needs `forbid_new_privileges`."""
    known = _ARCHITECTURES.get(_machine())
    if known is None or struct.calcsize("P") != 8:
        return False
    program = _filter(*known)
    instructions = ctypes.create_string_buffer(program)
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    return bool(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def _machine() -> str:
    """Like platform.machine, whose module takes long to import."""
    return os.uname().machine


def _filter(column: int, architecture: int) -> bytes:
    """A program of the kernel's packet filter: refuses other architectures' calls and the denied ones."""
    denied = [numbers[column] for numbers in _DENIED.values()]
    tests = [(_IF_AT_LEAST, _X32_CALLS)] if column == 0 else []
    tests += [(_IF_EQUAL, number) for number in denied]
    steps = [(_LOAD, 0, 0, 4), (_IF_EQUAL, 0, len(tests) + 2, architecture), (_LOAD, 0, 0, 0)]
    for place, (test, value) in enumerate(tests):
        steps.append((test, len(tests) - place, 0, value))
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Nothing is allowed of what is not there."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    _add_rule(ruleset, descriptor, rights)
    os.close(descriptor)


def _add_rule(ruleset: int, descriptor: int, rights: int) -> None:
    _libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)


def _write(path: str, text: str) -> None:
    """Where that is refused, the ids stay unmapped, which takes no right away from the namespaces."""
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        return
