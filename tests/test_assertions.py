"""Every test can fail: it asserts something, expects an error, or calls a helper that does."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

# Helpers whose whole purpose is a check, besides those named `assert_…`. `expect` is Playwright's, `call_and_validate`
# schemathesis's, `run_state_machine_as_test` Hypothesis's.
CHECKING = frozenset(
    {
        "call_and_validate",
        "check",
        "expect",
        "nothing_left_behind",
        "refused",
        "run_state_machine_as_test",
        "wait_until_closed",
    }
)
RAISING = frozenset({"raises", "warns", "fail"})  # of pytest

TestFunction = ast.FunctionDef | ast.AsyncFunctionDef


def find_tests(tree: ast.Module) -> Iterator[TestFunction]:
    for node in ast.walk(tree):
        if isinstance(node, TestFunction) and node.name.startswith("test_"):
            yield node


def can_fail(test: ast.AST) -> bool:
    return any(map(_is_check, ast.walk(test)))


def is_helper(name: str) -> bool:
    return name in CHECKING or name.startswith("assert_")


def _is_check(node: ast.AST) -> bool:
    match node:
        case ast.Assert(test=ast.Constant()):
            return False  # `assert True` holds whatever happens
        case ast.Assert():
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="pytest"), attr=name)):
            return name in RAISING
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return is_helper(name)
    return False


def test_every_test_can_fail() -> None:
    paths = [path for path in sorted((ROOT / "tests").rglob("*.py")) if "data" not in path.parts]
    idle = [
        f"{path.relative_to(ROOT)}::{test.name}"
        for path in paths
        for test in find_tests(ast.parse(path.read_text()))
        if not can_fail(test)
    ]
    assert idle == []


def test_what_is_called_a_check_does_check() -> None:
    """It counts as one wherever it is called."""
    idle = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, TestFunction) and is_helper(node.name)
        if not can_fail(node) and not any(isinstance(each, ast.Raise) for each in ast.walk(node))
    ]
    assert idle == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("run()", False),
        ("assert True", False),
        ("assert_all()", True),
        ("with pytest.raises(ValueError):\n        run()", True),
        ("try:\n        assert run()\n    finally:\n        stop()", True),
        ("def inner():\n        assert run()\n    inner()", True),
        ("mock.assert_called_once()", True),
        ("pytest.importorskip('x')", False),
    ],
)
def test_what_counts_as_a_check(body: str, expected: bool) -> None:
    tree = ast.parse(f"def test_it():\n    {body}\n")
    assert [can_fail(test) for test in find_tests(tree)] == [expected]


def test_tests_inside_classes_are_found() -> None:
    tree = ast.parse("class TestIt:\n    async def test_one(self): ...\ndef helper(): ...\n")
    assert [test.name for test in find_tests(tree)] == ["test_one"]
