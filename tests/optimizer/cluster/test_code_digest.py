"""Two checkouts have the same code, or have not."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.cluster.code_digest import code_digest

FILES = ("config.py", "optimizer/x.py", "whisper_core/worker/messages.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_changed_module_is_noticed(checkout: Path, name: str) -> None:
    before = code_digest(checkout)
    (checkout / name).write_text("x = 2\n")
    assert code_digest(checkout) != before


def test_so_is_one_that_was_renamed_or_is_missing(checkout: Path) -> None:
    before = code_digest(checkout)
    (checkout / "optimizer/x.py").rename(checkout / "optimizer/y.py")
    renamed = code_digest(checkout)
    (checkout / "optimizer/y.py").unlink()
    assert len({before, renamed, code_digest(checkout)}) == 3


def test_what_no_node_runs_does_not_matter(checkout: Path) -> None:
    before = code_digest(checkout)
    (checkout / "web").mkdir()
    (checkout / "web/x.py").write_text("")
    (checkout / ".env").write_text("DEVICES=cpu\n")
    assert code_digest(checkout) == before
