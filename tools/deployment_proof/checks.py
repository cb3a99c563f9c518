"""What both proofs ask of a server: the page's files, and the text of one recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.deployment_proof.report import ProofError, say

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL = "tiny.en"
RECORDING = ROOT / "tests/data/librivox-0870.flac"
WORDS = "john dashwood had then leisure to consider how much there might be prudently in his power to do for them"


def check_answer(answer: dict[str, Any]) -> None:
    """answer: of Client.transcribe. Raises ProofError when it is not what is said in the recording."""
    say(f"{RECORDING.name}, answered after {answer['seconds']:.1f} s: {answer['text']}")
    heard = "".join(letter for letter in answer["text"].lower() if letter.isalpha() or letter == " ")
    if WORDS not in heard or not answer["has_words"]:
        raise ProofError(f"the text should hold {WORDS!r}, with times of words")


def check_kept(text: str, answer: dict[str, Any]) -> None:
    """Raises ProofError unless `text` is that of `answer`, from before a restart."""
    if text != answer["text"]:
        raise ProofError(f"the transcript of before the restart is now {text!r}")
    say("the transcript of before is still there")


def check_page_files(sizes: list[int]) -> None:
    """sizes: of Client.page_file_sizes."""
    say(f"{len(sizes)} files, {sum(sizes)} bytes")
    if not sizes or not all(sizes):
        raise ProofError("the page names no script and no sheet, or an empty one")
