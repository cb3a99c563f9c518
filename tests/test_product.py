"""The product has one name and one version: what people read and what programs read say the same."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from setuptools.config.pyprojecttoml import read_configuration

from config import Settings
from tests.paths import ROOT
from tests.web.fake_system import FakeSystem
from version import PRODUCT_NAME, __version__
from web.application import create_app

CHANGELOG_SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
PACKAGE_NAME = PRODUCT_NAME.lower().replace(" ", "-")


@pytest.fixture
def project() -> dict[str, Any]:
    """pyproject.toml's own table about the project."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_a_readme_is_titled_with_the_product_name(name: str) -> None:
    assert (ROOT / name).read_text().splitlines()[0] == f"# {PRODUCT_NAME}"


def test_packages_are_named_after_the_product(project: dict[str, Any]) -> None:
    page = json.loads((ROOT / "package.json").read_text())["name"]
    locked = json.loads((ROOT / "package-lock.json").read_text())["name"]
    assert (project["name"], page, locked) == (PACKAGE_NAME, f"{PACKAGE_NAME}-page", f"{PACKAGE_NAME}-page")


def test_the_licence_is_held_by_the_authors_of_the_product(project: dict[str, Any]) -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert licence.startswith(f"{project['license']} License\n")
    assert f"the {PRODUCT_NAME} authors" in licence


def test_the_page_and_the_api_say_the_product_name(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    client = create_app(settings, FakeSystem(settings)).test_client()
    page = client.get("/").text
    assert f"<title>{PRODUCT_NAME}</title>" in page
    assert f'data-name="{PRODUCT_NAME}"' in page
    assert f"<title>{PRODUCT_NAME} API</title>" in client.get("/openapi/").text
    assert client.get("/openapi/openapi.json").get_json()["info"]["title"] == PRODUCT_NAME


def test_the_version_is_read_from_the_code_and_has_a_heading_in_the_changelog() -> None:
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    built = read_configuration(ROOT / "pyproject.toml")["project"]["version"]
    assert (built, released[0]) == (__version__, __version__)


def test_the_changelog_has_only_the_sections_that_readers_expect() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (\S+)", changelog, re.M)
    assert headings[0] == "[Unreleased]"
    assert set(re.findall(r"^### (.+)$", changelog, re.M)) <= CHANGELOG_SECTIONS
