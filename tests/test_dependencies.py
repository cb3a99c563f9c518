"""What the server is built of: pinned, above the floors below which a release was vulnerable, and listed."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.paths import ROOT
from tools.audit import COMPONENTS, Outcome, components_document, outcome_of, runtime_packages
from version import PRODUCT_NAME

# The first release without a vulnerability that would matter here, each with what it was.
FLOORS = {
    "werkzeug": "3.1.6",  # safe_join on names of devices
    "flask": "3.1.3",  # an answer to one session kept in a cache for others
    "python-engineio": "4.13.2",  # sizes of compressed messages
    "python-socketio": "5.16.2",  # pickles in a message queue
    "torch": "2.6",  # code in a checkpoint in spite of weights_only
    "ray": "2.52",  # programs run through the dashboard by a web page, and no token
}

OPTIONAL = {"ray"}


def constraints() -> dict[str, str]:
    """Every pinned version, by name; of a package with several, the oldest."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    requirements = sorted((Requirement(line) for line in lines if line), key=lambda r: Version(_pin(r)), reverse=True)
    return {canonicalize_name(requirement.name): _pin(requirement) for requirement in requirements}


def _pin(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", requirement
    return specifier.version


def wanted(path: Path) -> set[str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return {canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("-")}


@pytest.mark.proves("S31")
def test_what_is_installed_and_what_is_pinned_is_above_the_floors() -> None:
    pinned = constraints()
    for name, floor in FLOORS.items():
        if name not in OPTIONAL or find_spec(name) is not None:
            assert Version(version(name)) >= Version(floor), f"{name} {version(name)} is installed"
        assert Version(pinned[name]) >= Version(floor), f"{name} {pinned[name]} is pinned"


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "requirements-dev.txt",
        "requirements-ctranslate2.txt",
        "requirements-postgresql.txt",
        "requirements-cluster.txt",
    ],
)
def test_everything_that_is_asked_for_is_pinned(name: str) -> None:
    assert wanted(ROOT / name) - set(constraints()) == set()


def test_everything_that_the_server_needs_is_pinned_and_listed() -> None:
    """Also what its packages need in turn: that is what the list of components is made of."""
    packages, pinned = runtime_packages(ROOT / "requirements.txt"), constraints()
    assert set(packages) - set(pinned) == set()
    assert wanted(ROOT / "requirements.txt") <= set(packages)
    assert {"werkzeug", "jinja2", "python-engineio", "pydantic-core"} <= set(packages)
    assert not {"pytest", "ruff", "hypothesis"} & set(packages)


def test_the_page_s_libraries_are_pinned_with_checksums() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    unpinned = [
        name for name, entry in packages.items() if name and not entry.get("integrity", "").startswith("sha512-")
    ]
    assert unpinned == []


def test_the_list_of_components_names_both_halves_by_address_and_is_not_committed() -> None:
    listed = json.loads(components_document(ROOT))
    assert (listed["bomFormat"], listed["metadata"]["component"]["name"]) == ("CycloneDX", PRODUCT_NAME)
    addresses = [component["purl"] for component in listed["components"]]
    assert f"pkg:pypi/flask@{version('flask')}" in addresses
    assert [address for address in addresses if address.startswith("pkg:npm/%40preact/signals@")]
    assert not [address for address in addresses if "biome" in address or "pytest" in address]
    assert len(addresses) == len(set(addresses)) > 40
    assert f"/{COMPONENTS.parent}/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("exit_code", "output", "outcome"),
    [
        (0, "No known vulnerabilities found", Outcome.CLEAN),
        (0, "No known vulnerabilities found\nflask  … could not be audited: flask (3.1.3)", Outcome.NO_ANSWER),
        (1, "Found 1 known vulnerability in 1 package", Outcome.FOUND),
        (1, "3 high severity vulnerabilities", Outcome.FOUND),
        (1, "requests.exceptions.ConnectionError: …", Outcome.NO_ANSWER),
        (1, "npm error audit endpoint returned an error", Outcome.NO_ANSWER),
        (None, "", Outcome.NO_ANSWER),
    ],
)
def test_a_service_that_does_not_answer_is_not_taken_for_a_clean_bill(
    exit_code: int | None, output: str, outcome: Outcome
) -> None:
    assert outcome_of(exit_code, output) is outcome
    assert (outcome.exit_code == 0) == (outcome is Outcome.CLEAN)
