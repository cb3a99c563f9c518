"""`python -m tools.structure_report [FOLDER]`: how large the code's parts are and how its folders depend on each other.

Prints a Markdown table; docs/structure.md keeps the one of the latest release. Reads the checkout as text and runs
nothing of it.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("optimizer", "whisper_core", "web")
TOP = (
    "main.py",
    "config.py",
    "automation_settings.py",
    "cluster_settings.py",
    "setting_values.py",
    "errors.py",
    "logs.py",
    "version.py",
)
PAGE = ("static", "templates")
Named = tuple[int, str]


@dataclass(frozen=True)
class Code:
    """The Python modules of the packages, by dotted name."""

    root: Path
    trees: dict[str, ast.Module]

    @classmethod
    def read(cls, root: Path) -> Code:
        paths = [root / name for name in TOP if (root / name).is_file()]
        for package in PACKAGES:
            paths += sorted(path for path in (root / package).rglob("*.py") if path.name != "__init__.py")
        names = (".".join(path.relative_to(root).with_suffix("").parts) for path in paths)
        return cls(root, dict(zip(names, (ast.parse(path.read_text()) for path in paths), strict=True)))

    def imports(self) -> Iterator[tuple[str, str]]:
        """Each pair of modules of which the first imports the second, once."""
        for name, tree in self.trees.items():
            yield from {(name, target) for target in self._targets(tree) if target != name}

    def _targets(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                yield from (name for name in names if name in self.trees)

    def files(self) -> list[Named]:
        return [(_lines(self.root / (name.replace(".", "/") + ".py")), name) for name in self.trees]

    def functions(self) -> list[Named]:
        return [
            (node.end_lineno - node.lineno + 1, f"{name}.{node.name}")
            for name, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
        ]

    def classes(self) -> list[Named]:
        """By the number of all their methods and properties, private ones included."""
        return [
            (sum(isinstance(item, ast.FunctionDef) for item in node.body), f"{name}.{node.name}")
            for name, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        ]


def report(root: Path) -> str:
    code = Code.read(root)
    folders = Counter(_folder(name) for name in code.trees if "." in name)
    importers: dict[str, set[str]] = defaultdict(set)
    arrows: set[tuple[str, str]] = set()
    for source, target in code.imports():
        importers[target].add(source)
        if _folder(source) != _folder(target) and "." in source and "." in target:
            arrows.add((_folder(source), _folder(target)))
    by_one = [name for name, sources in importers.items() if len(sources) == 1]
    both_ways = sorted((a, b) for a, b in arrows if (b, a) in arrows and a < b)
    rows = [
        ("modules in the packages", str(len(code.trees))),
        ("files in the fullest folder", "{1} ({0})".format(*folders.most_common(1)[0])),
        ("files in a folder, median", str(sorted(folders.values())[len(folders) // 2])),
        ("folders", str(len(folders))),
        ("arrows between folders", str(len(arrows))),
        ("pairs of folders that import each other", str(len(both_ways))),
        ("modules with one importer", str(len(by_one))),
        ("largest class, methods and properties", _largest(code.classes())),
        ("largest function, lines", _largest(code.functions())),
        ("functions over 40 lines", str(sum(lines > 40 for lines, _ in code.functions()))),
        ("largest file, lines", _largest(code.files())),
        ("files over 350 lines", str(sum(lines > 350 for lines, _ in code.files()))),
        ("lines of Python in the packages", str(sum(lines for lines, _ in code.files()))),
        ("lines of the page (js, css, html)", str(_sum(root, PAGE, "js", "css", "html"))),
        ("lines of tests (py, mjs)", str(_sum(root, ("tests",), "py", "mjs"))),
        ("lines of benchmarks and tools", str(_sum(root, ("benchmarks", "tools"), "py"))),
        ("lines of documents (md)", str(_sum(root, ("docs",), "md") + sum(map(_lines, root.glob("*.md"))))),
    ]
    return "\n".join(["| what | |", "| --- | --- |", *(f"| {what} | {figure} |" for what, figure in rows)])


def _folder(module: str) -> str:
    return module.rpartition(".")[0]


def _largest(named: list[Named]) -> str:
    size, name = max(named)
    return f"{size} (`{name}`)"


def _sum(root: Path, folders: tuple[str, ...], *endings: str) -> int:
    found = (path for folder in folders for ending in endings for path in (root / folder).rglob(f"*.{ending}"))
    return sum(_lines(path) for path in found if not {"vendor", "built"} & set(path.parts))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


if __name__ == "__main__":
    print(report(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
