"""Packages import one way only, and importing one does nothing but define names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

SHARED = {"config", "automation_settings", "cluster_settings", "setting_values", "errors", "logs", "version"}
MAY_IMPORT = {
    "whisper_core": {"whisper_core"},
    "optimizer": {"optimizer", "whisper_core"},
    "web": {"web", "optimizer", "whisper_core"},
    "cli": {"cli", "optimizer", "whisper_core"},
}
# Inside a package a folder imports only from folders before it; those of one line do not know each other. A module that
# stands in the package itself has the package's name.
FOLDERS = [
    "optimizer.common",
    "optimizer.tasks optimizer.timing",
    "optimizer.storage",
    "optimizer.queue optimizer.editing optimizer.sharing",
    "optimizer.planning optimizer.intake",
    "optimizer.memory",
    "optimizer.devices",
    "optimizer.cluster",
    "optimizer.monitoring",
    "optimizer.accounts",
    "optimizer.scheduling",
    "optimizer.views",
    "optimizer.watching",
    "optimizer.automation",
    "optimizer.leadership",
    "optimizer",
    "whisper_core.common",
    "whisper_core.text",
    "whisper_core.editing",
    "whisper_core.formats",
    "whisper_core.models whisper_core.audio",
    "whisper_core.speakers",
    "whisper_core",
    "whisper_core.worker",
    "whisper_core.engine.network",
    "whisper_core.engine.decoding",
    "whisper_core.engine whisper_core.reference",
    "whisper_core.ctranslate2_engine",
    "web.http",
    "web.tasks web.live",
    "web.adapters",
    "web.adapters.openai",
    "web.adapters.asr_webservice",
    "web.adapters.whisper_cpp",
    "web.adapters.wyoming",
    "web",
    "web.server",
    "cli",
]
LEVEL = {folder: level for level, line in enumerate(FOLDERS) for folder in line.split()}
# The same for the page's modules; a name that ends in .js is a module that stands in static/ itself.
PAGE_ORDER = [
    "util",
    "service-worker.js",
    "text",
    "plots",
    "api.js",
    "state",
    "hooks",
    "components",
    "components/system",
    "app.js",
]
PACKAGES = set(MAY_IMPORT) | SHARED | {"main", "tests", "benchmarks", "tools"}
TORCH_FREE = [
    "whisper_core.models.fetch",
    "whisper_core.worker.main",
    "whisper_core.text.writers",
    "optimizer.system",
    "web.server.gunicorn_app",
]
NO_WALL_CLOCK = {
    ("time", "time"),
    ("time", "monotonic"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("date", "today"),
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return {name.split(".")[0] for name in names} & PACKAGES


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_the_packages_below_it(package: str) -> None:
    allowed = MAY_IMPORT[package] | SHARED
    wrong = {str(path): extra for path in modules(package) if (extra := imported_packages(path) - allowed)}
    assert wrong == {}


def folder_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def imported_folders(path: Path) -> set[str]:
    """The folders of the modules that `path` imports, its own left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            package = ROOT.joinpath(*node.module.split("."))
            modules_of_package = [package / f"{name.name}.py" for name in node.names]
            found |= {folder_of(each if each.is_file() else package) for each in modules_of_package}
    return found & set(LEVEL) - {folder_of(path)}


def test_every_folder_has_its_place_in_the_order() -> None:
    found = {folder_of(path) for package in MAY_IMPORT for path in modules(package) if "migrations" not in path.parts}
    assert found == set(LEVEL)


def test_a_folder_imports_only_from_folders_before_it() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} -> {folder}"
        for package in MAY_IMPORT
        for path in modules(package)
        if "migrations" not in path.parts
        for folder in imported_folders(path)
        if folder.split(".")[0] == package and LEVEL[folder] >= LEVEL[folder_of(path)]
    }
    assert wrong == set()


def page_imports() -> dict[Path, set[Path]]:
    """Each module of the page with the modules of the page that it imports."""
    page = ROOT / "static"
    found = {}
    for path in sorted(page.rglob("*.js")):
        if not {"vendor", "built"} & set(path.parts):
            names = re.findall(r"""\b(?:from|import)[ (]*['"](\.[^'"]+)['"]""", path.read_text())
            found[path.relative_to(page)] = {(path.parent / name).resolve().relative_to(page) for name in names}
    return found


def page_level(module: Path) -> int:
    folder = module.parent.as_posix()
    return PAGE_ORDER.index(module.name if folder == "." else folder)


def test_a_folder_of_the_page_imports_only_from_folders_before_it() -> None:
    imports = page_imports()
    assert imports.pop(Path("first-paint.js")) == set()
    wrong = {
        f"{module} -> {imported}"
        for module, all_imported in imports.items()
        for imported in all_imported
        if module.parent != imported.parent and page_level(imported) >= page_level(module)
    }
    assert wrong == set()


def test_the_page_s_modules_do_not_import_each_other_in_a_circle() -> None:
    imports = page_imports()
    assert set(TopologicalSorter(imports).static_order()) >= set(imports) != set()


def test_the_two_engines_do_not_know_each_other() -> None:
    """Tests compare them, so neither may depend on the other; what both need stands in a folder below both."""
    wrong = {
        f"{path.relative_to(ROOT)} -> {folder}"
        for one, other in (("engine", "reference"), ("reference", "engine"))
        for path in modules(f"whisper_core/{one}")
        for folder in imported_folders(path)
        if folder.startswith(f"whisper_core.{other}")
    }
    assert wrong == set()


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_the_structure_document_names_every_module(package: str) -> None:
    document = (ROOT / "docs" / "structure.md").read_text()
    names = {path.name for path in modules(package) if path.name != "__init__.py" and "migrations" not in path.parts}
    assert {name for name in names if f"`{name}`" not in document} == set()


def test_only_the_worker_side_imports_torch_or_whisper() -> None:
    for package in ("optimizer", "web"):
        for path in modules(package):
            tree = ast.parse(path.read_text())
            names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
            names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            assert not {name.split(".")[0] for name in names} & {"torch", "whisper"}, path


def test_one_module_imports_ray() -> None:
    found = [
        path.name
        for package in MAY_IMPORT
        for path in modules(package)
        if re.search(r"^\s*(import|from) ray\b", path.read_text(), re.MULTILINE)
    ]
    assert found == ["ray_api.py"]


def test_what_the_web_process_imports_loads_no_torch_and_does_nothing() -> None:
    """In a process of its own: torch stays out, no thread is started, no GPU library is touched."""
    code = (
        f"import {', '.join(TORCH_FREE)}\n"
        "import sys, threading\n"
        "bad = {'torch', 'whisper', 'numba', 'pynvml', 'alembic', 'ray'} & set(sys.modules)\n"
        "print(sorted(bad), threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[] 1"


def test_decisions_take_their_time_from_a_clock() -> None:
    """Only clock.py reads the machine's clocks, so tests can move time by hand."""
    found = []
    for path in modules("optimizer"):
        if path.name == "clock.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in NO_WALL_CLOCK:
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []


UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "runpy"}
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_ARGUMENTS = {"shell", "allow_pickle", "trust_remote_code"}
UNSAFE_ATTRIBUTES = {
    ("os", "system"),
    ("os", "popen"),
    ("subprocess", "getoutput"),
    ("subprocess", "getstatusoutput"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
}


def unsafe_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Whatever could run what came from outside: the line, and what it is."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names if name.name.split(".")[0] in UNSAFE_MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNSAFE_MODULES:
                yield node.lineno, module
            case ast.Call(func=ast.Name(id=name)) if name in UNSAFE_BUILTINS:
                yield node.lineno, name
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in UNSAFE_ATTRIBUTES:
                yield node.lineno, f"{module}.{name}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load"), keywords=keywords):
                if not any(each.arg == "weights_only" and _value_of(each) is True for each in keywords):
                    yield node.lineno, "torch.load"
            case ast.Call(keywords=keywords):
                yield from (
                    (node.lineno, str(each.arg))
                    for each in keywords
                    if each.arg in UNSAFE_ARGUMENTS and _value_of(each) is not False
                )


def _value_of(keyword: ast.keyword) -> object:
    """None for anything but a constant."""
    return keyword.value.value if isinstance(keyword.value, ast.Constant) else None


@pytest.mark.proves("S23")
def test_nothing_is_unpickled_evaluated_or_run_through_a_shell() -> None:
    paths = [*ROOT.glob("*.py"), *(path for package in [*MAY_IMPORT, "tools"] for path in modules(package))]
    found = [f"{path.relative_to(ROOT)}:{line}: {what}" for path in paths for line, what in _unsafe_calls_in(path)]
    assert found == []


def _unsafe_calls_in(path: Path) -> Iterator[tuple[int, str]]:
    return unsafe_calls(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "eval(text)",
        "os.system(text)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=is_shell)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_what_could_run_something_is_found(line: str) -> None:
    assert len(list(unsafe_calls(ast.parse(line)))) == 1
