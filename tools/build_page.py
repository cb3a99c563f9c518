"""Makes the page's bundles in static/built: `python -m tools.build_page`.

esbuild puts the modules and sheets of static/ together and minifies them. Each result gets a hash of its content in its
name and a compressed twin, and manifest.json says what they were made of (see web/page_files.py). It does nothing
when they are up to date. Without them the server delivers the modules one by one, which is slower on a slow line.

Exit code 0, or 1 with one sentence on stderr.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.vendor_page import ROOT, VendorError, find_node, install_packages
from web.page_files import BUILDING, BUILT, COMPRESSED, ENTRIES, IMPORT_MAP, MANIFEST, digest_of_sources

BUILD_TIMEOUT_S = 120
BUNDLER = Path("node_modules/esbuild/bin/esbuild")
# Browsers that have what the page uses; see docs/decisions.md.
OPTIONS = (
    "--bundle",
    "--minify",
    "--format=esm",
    "--splitting",
    "--target=es2022",
    "--entry-names=[name]-[hash]",
    "--chunk-names=part-[hash]",
    "--legal-comments=none",  # the libraries' licences lie in static/vendor
    "--log-level=warning",
)


def main() -> int:
    try:
        print(build(ROOT))
    except VendorError as error:
        print(f"build_page: {error}", file=sys.stderr)
        return 1
    return 0


def build(root: Path) -> str:
    """Brings root/static/built up to date and returns what was done. Raises VendorError."""
    static = root / "static"
    digest = digest_of_sources(static)
    if is_current(static / BUILT, digest):
        return f"static/{BUILT} is up to date"
    new = static / BUILDING
    shutil.rmtree(new, ignore_errors=True)  # of a build that was interrupted
    manifest = {"sources": digest, **describe(bundle(root, new), new)}
    for name in manifest["files"]:
        compress(new / name)
    (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(static / BUILT, ignore_errors=True)
    new.rename(static / BUILT)
    return f"static/{BUILT}: {len(manifest['files'])} files"


def is_current(built: Path, digest: str) -> bool:
    try:
        manifest: dict[str, Any] = json.loads((built / MANIFEST).read_text(encoding="utf-8"))
        return manifest["sources"] == digest and all((built / name).is_file() for name in manifest["files"])
    except (OSError, ValueError, KeyError):
        return False  # There are none, or they were interrupted while being written.


def bundle(root: Path, destination: Path) -> dict[str, Any]:
    """Fills `destination` and returns esbuild's description of its outputs. Raises VendorError."""
    if not (root / BUNDLER).is_file():
        install_packages(root)
    description = root / "node_modules" / ".page-build.json"
    imports = json.loads((root / "static" / IMPORT_MAP).read_text(encoding="utf-8"))["imports"]
    command = [
        *(find_node(), str(BUNDLER)),
        *(f"static/{entry}" for entry in ENTRIES),
        *OPTIONS,
        *(f"--alias:{name}={address}" for name, address in imports.items()),
        f"--outdir={destination}",
        f"--metafile={description}",
    ]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VendorError(f"esbuild cannot be run: {error}") from error
    if done.returncode != 0:
        raise VendorError(f"esbuild failed:\n{done.stderr.strip()[-2000:]}")
    meta: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
    return meta


def describe(meta: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The manifest's account of the files: which one each entry became, what app.js needs at once, and all of them."""
    outputs = {Path(path).name: output for path, output in meta["outputs"].items()}
    entries = {
        Path(output["entryPoint"]).name: name
        for name, output in outputs.items()
        if output.get("entryPoint") in {f"static/{entry}" for entry in ENTRIES}
    }
    needed = [
        Path(part["path"]).name
        for part in outputs[entries["app.js"]]["imports"]
        if part["kind"] == "import-statement" and not part.get("external")
    ]
    return {"entries": entries, "preloaded": needed, "files": sorted(path.name for path in folder.iterdir())}


def compress(path: Path) -> None:
    """Writes the compressed twin, the same bytes at every build."""
    path.with_name(path.name + COMPRESSED).write_bytes(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    sys.exit(main())
