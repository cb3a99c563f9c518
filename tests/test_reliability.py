"""Every fault and rule of docs/reliability.md has exactly one test that owns it, and the document names that test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.reliability_table import (
    DOCUMENT,
    IDS,
    NO_OWNER,
    NOT_PROMISED,
    MisplacedMarkError,
    Ownership,
    by_id,
    find_owners,
    ids_of_rows,
    with_owners,
)

# Without an owner so far. An id leaves this list when its test comes, and none is ever added.
NOT_YET: frozenset[str] = frozenset()
TABLE = "| id | a | owning test |\n|---|---|---|\n| F07 | full \\| disk | x |\n| S01 | who | none yet |\n"


@pytest.fixture(scope="module")
def owners() -> list[Ownership]:
    return find_owners()


def test_every_id_has_exactly_one_owner(owners: list[Ownership]) -> None:
    tests = by_id(owners)
    wrong = {name: tests.get(name, []) for name in IDS if name not in NOT_YET and len(tests.get(name, [])) != 1}
    assert wrong == {}


def test_an_id_that_has_an_owner_is_no_longer_listed_as_missing(owners: list[Ownership]) -> None:
    assert sorted(NOT_YET & {ownership.id for ownership in owners}) == []
    assert sorted(NOT_YET - set(IDS)) == []


def test_no_test_owns_what_the_document_does_not_have(owners: list[Ownership]) -> None:
    assert [ownership for ownership in owners if ownership.id not in IDS] == []


def test_the_document_has_one_row_for_each_id() -> None:
    assert ids_of_rows(DOCUMENT.read_text()) == list(IDS)


def test_what_is_not_promised_is_said() -> None:
    _, _, rest = DOCUMENT.read_text().partition("## What is not promised")
    assert {name for name in NOT_PROMISED if name not in rest} == set()


def test_the_document_names_the_owning_tests(owners: list[Ownership]) -> None:
    """`python -m tools.reliability_table` writes them."""
    document = DOCUMENT.read_text()
    assert document == with_owners(document, by_id(owners))


def write_tests(root: Path, source: str) -> None:
    (root / "tests").mkdir(exist_ok=True)
    (root / "tests" / "test_it.py").write_text("import pytest\n" + source)


def test_owners_are_found_in_classes_and_under_other_marks(tmp_path: Path) -> None:
    write_tests(
        tmp_path,
        "@pytest.mark.proves('F07')\n@pytest.mark.server\n@pytest.mark.proves('S01')\ndef test_one(): ...\n"
        "class TestIt:\n    @pytest.mark.proves('F07')\n    def test_two(self): ...\n",
    )
    one, two = "tests/test_it.py::test_one", "tests/test_it.py::test_two"
    assert by_id(find_owners(tmp_path)) == {"F07": [one, two], "S01": [one]}


@pytest.mark.parametrize(
    "source",
    [
        "pytestmark = pytest.mark.proves('F07')\n",
        "@pytest.mark.proves('F07')\ndef helper(): ...\n",
        "@pytest.mark.proves('F07')\nclass TestIt: ...\n",
        "@pytest.mark.proves('F07', 'F08')\ndef test_it(): ...\n",
        "@pytest.mark.proves(F07)\ndef test_it(): ...\n",
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.proves('F07'))])\ndef test_it(x): ...\n",
    ],
)
def test_a_mark_that_nobody_would_count_is_an_error(tmp_path: Path, source: str) -> None:
    write_tests(tmp_path, source)
    with pytest.raises(MisplacedMarkError, match=r"test_it\.py"):
        find_owners(tmp_path)


def test_only_the_last_cell_is_rewritten() -> None:
    written = with_owners(TABLE, {"F07": ["tests/a.py::test_a", "tests/b.py::test_b"]})
    assert written == TABLE.replace("| x |", "| `tests/a.py::test_a` `tests/b.py::test_b` |")
    assert with_owners(written, {}) == TABLE.replace("| x |", f"| {NO_OWNER} |")
