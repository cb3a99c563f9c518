"""`python -m tools.audit`: what is known about the security of the code and of what it is built of.

Risky lines of the code (bandit), a list of all components (CycloneDX, audit/components.cdx.json), and known
vulnerabilities of the pinned versions (pip-audit, npm audit). Ends with 1 when something was found, and with 2 when a
service that knows vulnerabilities did not answer: nothing is known then, which is not the same as nothing found.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.vendor_page import find_npm
from version import PRODUCT_NAME, __version__

ROOT = Path(__file__).resolve().parent.parent
COMPONENTS = Path("audit", "components.cdx.json")
# What people run. The tools in this folder are for developers, and start programs of the system by name.
CODE = (
    "main.py",
    "config.py",
    "automation_settings.py",
    "cluster_settings.py",
    "setting_values.py",
    "errors.py",
    "logs.py",
    "version.py",
    "cli",
    "optimizer",
    "web",
    "whisper_core",
)
LIMIT_S = 600
SHOWN_CHARACTERS = 20_000  # of a program's output
COULD_NOT_BE_ASKED = "could not be audited"
# How pip-audit and npm say that they found something. When they end badly without it, they could not ask.
FOUND_VULNERABILITIES = re.compile(r"found \d+ known vulnerabilit|\d+ [\w ]*severity vulnerabilit", re.IGNORECASE)


class Outcome(Enum):
    CLEAN = "nothing found"
    FOUND = "found"
    NO_ANSWER = "no answer, so nothing is known"

    @property
    def exit_code(self) -> int:
        return {Outcome.CLEAN: 0, Outcome.FOUND: 1, Outcome.NO_ANSWER: 2}[self]


# --- components ------------------------------------------------------------------------------------------------------


def runtime_packages(requirements: Path) -> dict[str, str]:
    """What the server needs, and what that needs in turn, as installed here: versions by name."""
    lines = [line.partition("#")[0].strip() for line in requirements.read_text().splitlines()]
    left = [Requirement(line) for line in lines if line and not line.startswith("-")]
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        found[name] = installed.version
        needed = (Requirement(line) for line in installed.requires or ())
        left += [each for each in needed if _applies(each, wanted.extras)]
    return dict(sorted(found.items()))


def _applies(needed: Requirement, extras: set[str]) -> bool:
    return needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def page_packages(lock: Path) -> Iterator[tuple[str, str, str]]:
    """(name, version, SHA-512 in hex) of the page's libraries."""
    for path, entry in json.loads(lock.read_text())["packages"].items():
        if path and not entry.get("dev"):
            digest = entry["integrity"].removeprefix("sha512-")
            yield path.rpartition("node_modules/")[2], entry["version"], base64.b64decode(digest).hex()


def components_document(root: Path) -> str:
    """All components of the server and of the page as CycloneDX JSON."""
    bom, components = Bom(), []
    server = Component(name=PRODUCT_NAME, version=__version__, type=ComponentType.APPLICATION)
    for name, version in runtime_packages(root / "requirements.txt").items():
        purl = PackageURL("pypi", name=name, version=version)
        components.append(Component(name=name, version=version, purl=purl, bom_ref=str(purl)))
    for name, version, sha512 in page_packages(root / "package-lock.json"):
        scope, _, short = name.rpartition("/")
        purl = PackageURL("npm", namespace=scope or None, name=short, version=version)
        hashes = [HashType(alg=HashAlgorithm.SHA_512, content=sha512)]
        components.append(Component(name=name, version=version, purl=purl, bom_ref=str(purl), hashes=hashes))
    bom.metadata.component = server
    bom.components.update(components)
    bom.register_dependency(server, components)  # of which some come only through others
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


def write_components() -> Outcome:
    path = ROOT / COMPONENTS
    path.parent.mkdir(exist_ok=True)
    path.write_text(components_document(ROOT) + "\n")
    count = len(json.loads(path.read_text())["components"])
    print(f"{count} components are listed in {COMPONENTS}")
    return Outcome.CLEAN


# --- findings --------------------------------------------------------------------------------------------------------


def find_risky_lines() -> Outcome:
    options = ["--quiet", "--recursive", "--configfile", "pyproject.toml"]
    exit_code, _ = _run([sys.executable, "-m", "bandit", *options, *CODE])
    return Outcome.CLEAN if exit_code == 0 else Outcome.FOUND


def find_vulnerable_packages() -> Outcome:
    """Of the server, the tests and the tools, in their pinned versions."""
    options = ["--requirement", "constraints.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    return outcome_of(*_run([sys.executable, "-m", "pip_audit", *options]))


def find_vulnerable_libraries() -> Outcome:
    """Of the page."""
    command, folder = find_npm()
    path = os.environ.get("PATH", "")
    return outcome_of(
        *_run(
            [*command, "audit", "--package-lock-only", "--omit=dev"],
            PATH=path if folder is None else f"{folder}{os.pathsep}{path}",
        )
    )


def outcome_of(exit_code: int | None, output: str) -> Outcome:
    """What the end of a program means that asks a service. exit_code: None when it did not end in time.

    pip-audit ends well also when the service knew none of the packages.
    """
    if exit_code == 0 and COULD_NOT_BE_ASKED not in output:
        return Outcome.CLEAN
    return Outcome.FOUND if FOUND_VULNERABILITIES.search(output) else Outcome.NO_ANSWER


def _run(command: Sequence[str], **environment: str) -> tuple[int | None, str]:
    """Exit code and output, which is passed on: the end of it where it is long."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    print(done.stdout.strip()[-SHOWN_CHARACTERS:])
    return done.returncode, done.stdout


QUESTIONS = {
    "Components": write_components,
    "Risky lines of the code": find_risky_lines,
    "Known vulnerabilities of the Python packages": find_vulnerable_packages,
    "Known vulnerabilities of the page's libraries": find_vulnerable_libraries,
}


def main() -> int:
    outcomes: dict[str, Outcome] = {}
    for question, find in QUESTIONS.items():
        print(f"== {question}", flush=True)
        outcomes[question] = find()
    print("== Result")
    for question, outcome in outcomes.items():
        print(f"{question}: {outcome.value}")
    codes = {outcome.exit_code for outcome in outcomes.values()}
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
