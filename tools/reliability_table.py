"""`python -m tools.reliability_table`: writes into docs/reliability.md which test owns each fault and each rule.

A test owns an id by its mark, `@pytest.mark.proves("F07")`. Tests are read as text and not run; until this has been run
after a change of the marks, tests/test_reliability.py fails.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
NOT_PROMISED: frozenset[str] = frozenset()
IDS = tuple(
    name for name in [*(f"F{n:02d}" for n in range(1, 54)), *(f"S{n:02d}" for n in range(1, 36))]
    if name not in NOT_PROMISED
)  # fmt: skip
NO_OWNER = "none yet"
_ROW = re.compile(r"^\| ([FS]\d\d) \|.*$", re.MULTILINE)

TestFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Ownership:
    id: str
    test: str  # as pytest names it: tests/folder/test_file.py::test_name


class MisplacedMarkError(Exception):
    """A mark that is not a decorator of a test, or that does not name its id in plain text."""


def find_owners(root: Path = ROOT) -> list[Ownership]:
    """Every ownership that the tests of this checkout claim. Raises MisplacedMarkError."""
    return [
        ownership
        for path in sorted((root / "tests").rglob("*.py"))
        for ownership in _of_file(path, path.relative_to(root).as_posix())
    ]


def by_id(owners: Iterable[Ownership]) -> dict[str, list[str]]:
    tests: dict[str, list[str]] = {}
    for ownership in owners:
        tests.setdefault(ownership.id, []).append(ownership.test)
    return tests


def ids_of_rows(document: str) -> list[str]:
    """In the order of the document's tables."""
    return _ROW.findall(document)


def with_owners(document: str, tests: dict[str, list[str]]) -> str:
    """The document with the last cell of every row as the marks say."""

    def write(row: re.Match[str]) -> str:
        owners = " ".join(f"`{test}`" for test in tests.get(row.group(1), [])) or NO_OWNER
        front, _, _ = row.group().rstrip(" |").rpartition("|")
        return f"{front}| {owners} |"

    return _ROW.sub(write, document)


def _of_file(path: Path, name: str) -> Iterator[Ownership]:
    tree = ast.parse(path.read_text())
    unplaced = {id(node): node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_mark(node)}
    for test in (node for node in ast.walk(tree) if isinstance(node, TestFunction)):
        for decorator in test.decorator_list:
            if unplaced.pop(id(decorator), None) and isinstance(decorator, ast.Call):
                if not test.name.startswith("test_"):
                    raise MisplacedMarkError(f"{name}:{decorator.lineno}: {test.name} is no test")
                yield Ownership(_id_of(decorator, name), f"{name}::{test.name}")
    for node in unplaced.values():
        raise MisplacedMarkError(f"{name}:{node.lineno}: not a decorator of a test")


def _is_mark(node: ast.Call) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="proves", value=ast.Attribute(attr="mark"))):
            return True
    return False


def _id_of(mark: ast.Call, name: str) -> str:
    match mark:
        case ast.Call(args=[ast.Constant(value=str(claimed))], keywords=[]):
            return claimed
    raise MisplacedMarkError(f"{name}:{mark.lineno}: one id in quotes is expected")


def main() -> None:
    DOCUMENT.write_text(with_owners(DOCUMENT.read_text(), by_id(find_owners())))


if __name__ == "__main__":
    main()
