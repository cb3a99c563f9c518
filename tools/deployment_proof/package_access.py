"""How pip and npm reach their packages on this machine, for use inside a container being built.

Nothing of it stays in the image: the files are mounted while a step runs.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

COMMAND_LIMIT_S = 60
INDEX_OPTIONS = ("index-url", "extra-index-url")


@dataclass(frozen=True)
class Mount:
    """source: on this machine. target: inside, read-only."""

    source: Path
    target: Path


def mounts(folder: Path) -> list[Mount]:
    """What must be seen inside; configuration files are written into `folder`."""
    options = pip_options()
    pip_file = folder / "pip.conf"
    pip_file.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    npm_file = folder / "npmrc"
    npm_file.write_text("".join(f"{name}={value}\n" for name, value in npm_options(options.get("cert", "")).items()))
    pip_file.chmod(0o644)
    npm_file.chmod(0o644)
    own = [Mount(pip_file, Path("/etc/pip.conf")), Mount(npm_file, Path.home() / ".npmrc")]
    return own + [Mount(path, path) for path in dict.fromkeys(local_paths(options))]


def pip_options() -> dict[str, str]:
    """What pip's files and PIP_* variables say together; the variables go before the files."""
    options = {}
    for line in output_of(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in ("global", ":env:", "install", "download") and option != "config-file":
            options[option] = " ".join(ast.literal_eval(value).split())
    return options


def npm_options(certificates: str) -> dict[str, str]:
    options = {"cafile": certificates} if certificates else {}
    if (npm := shutil.which("npm")) is not None:
        options["registry"] = output_of(npm, "config", "get", "registry").strip()
    return options


def output_of(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=COMMAND_LIMIT_S).stdout


def local_paths(options: dict[str, str]) -> Iterator[Path]:
    """Folders and files of this machine that pip reads; of an index on disk its parent, where the wheels lie."""
    for option, value in options.items():
        for word in value.split():
            is_path = re.match(r"file://|/", word)
            path = Path(urlsplit(word).path)
            if is_path and path.exists():
                yield path.parent if option in INDEX_OPTIONS else path
