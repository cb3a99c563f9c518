"""The seed of one decoding: the same in every process and after a resume, another for every window and temperature."""

from __future__ import annotations

import hashlib


def sampling_seed(task_seed: int, seek: int, temperature: float) -> int:
    """In torch's range. seek: the window's first frame."""
    digest = hashlib.blake2b(f"{task_seed} {seek} {temperature}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
