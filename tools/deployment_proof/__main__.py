"""Try what deploy/, Dockerfile and compose.yaml promise: `make prove-container`, `prove-service` and `prove-node`, each
as root.

container: Podman builds the Dockerfile and runs its image as compose.yaml says. service: a Debian with the server's
unit is booted by systemd-nspawn; node: one with the unit of a cluster's node. All start from a bare Debian that
debootstrap makes from the mirror that apt is configured for, so neither Docker nor an image registry is needed. All of
it lies in one folder and in namespaces of this command's own, which are gone when it ends: mounts, processes and
images. The transcript goes to standard output.

Exit code 0 when everything held, 1 with the first thing that did not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.deployment_proof.container import PARTS, ContainerProof
from tools.deployment_proof.namespaces import prepare_mounts, run_in_own_namespaces
from tools.deployment_proof.node import NodeProof
from tools.deployment_proof.report import ProofError, say
from tools.deployment_proof.service import ServiceProof

MODULE = "tools.deployment_proof"
PROOFS: dict[str, type[ContainerProof | ServiceProof | NodeProof]] = {
    "container": ContainerProof,
    "service": ServiceProof,
    "node": NodeProof,
}
INSIDE = "--inside"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("proof", choices=PROOFS)
    parser.add_argument("--folder", type=Path, help="where trees and images may lie, 10 GB; by default TMPDIR's")
    parser.add_argument("--limit-minutes", type=int, default=40, help="give up after so long")
    parser.add_argument(
        "--with", dest="parts", action="append", default=[], choices=PARTS,
        help="container only: the image on a PostgreSQL server too, or as a node of a cluster too",
    )  # fmt: skip
    parser.add_argument(INSIDE, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.parts and options.proof != "container":
        parser.error("--with is for the container only")
    if options.inside:
        return prove(options.proof, options.inside, options.parts)
    required = (*PROOFS[options.proof].REQUIRED, "unshare", *(["ip"] if options.parts else []))
    missing = [name for name in required if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        say(f"Run this as root on Debian with {', '.join(required)}. Missing: {', '.join(missing) or 'root'}.")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the folder is removed
    with tempfile.TemporaryDirectory(prefix="deployment-proof-", dir=options.folder) as folder:
        parts = [f"--with={part}" for part in options.parts]
        command = [sys.executable, "-m", MODULE, options.proof, *parts, INSIDE, folder]
        return run_in_own_namespaces(command, options.limit_minutes * 60)


def prove(name: str, folder: Path, parts: Sequence[str] = ()) -> int:
    prepare_mounts()
    proof = ContainerProof(folder, parts) if name == "container" else PROOFS[name](folder)
    try:
        proof.run()
    except (ProofError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"FAILED: {error}")
        return 1
    say("\nEverything held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
