"""errors.py: the drawing at its top and the codes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import errors
from errors import StartError, TaskError, TranscriptionServerError, error_class_of
from tests.paths import ROOT

Edge = tuple[str, str]  # parent, child
NOT_ON_THE_PAGE = {"tus_version", "too_many_waiting", "task_cancelled", "webhook_not_found"}  # only scripts meet them


def with_subclasses(error_class: type[TranscriptionServerError]) -> Iterator[type[TranscriptionServerError]]:
    yield error_class
    for subclass in error_class.__subclasses__():
        yield from with_subclasses(subclass)


def drawn_edges(drawing: str) -> Iterator[Edge]:
    path: list[str] = []
    for line in drawing.splitlines():
        if name := re.match(r"    ([│├└─ ]*)(\w+Error)\b", line):
            del path[len(name[1]) // 4 :]
            if path:
                yield path[-1], name[2]
            path.append(name[2])


def test_the_drawing_is_the_tree() -> None:
    edges = [
        (parent.__name__, child.__name__)
        for parent in with_subclasses(TranscriptionServerError)
        for child in parent.__subclasses__()
    ]
    assert sorted(drawn_edges(errors.__doc__ or "")) == sorted(edges)


def test_every_code_finds_its_class() -> None:
    classes = list(with_subclasses(TranscriptionServerError))
    assert [error_class_of(each.code) for each in classes] == classes


def test_an_unknown_code_is_some_error_of_a_task() -> None:
    assert error_class_of("of another version") is TaskError


def test_the_page_has_a_chinese_sentence_for_every_error_that_it_can_meet() -> None:
    chinese = set(re.findall(r"'error\.(\w+)':", (ROOT / "static" / "text" / "zh.js").read_text(encoding="utf-8")))
    codes = {each.code for each in with_subclasses(TranscriptionServerError) if not issubclass(each, StartError)}
    assert codes - chinese == NOT_ON_THE_PAGE
