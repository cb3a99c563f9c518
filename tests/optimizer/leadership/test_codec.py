"""What goes over the channel comes out as it went in, and names nothing that could run."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import EditConflictError
from optimizer.leadership.codec import decode, encode
from optimizer.tasks.batches import Batch
from optimizer.tasks.task import TaskOptions, TaskStatus
from optimizer.views.task_view import Submission
from tests.properties import budget
from whisper_core.text.transcript import Segment, Word

SIMPLE = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.sampled_from([TaskStatus.PENDING, Path("a/b"), Batch("b", "名"), timedelta(seconds=1.5), EditConflictError])
    | st.datetimes(timezones=st.just(UTC))
)  # fmt: skip
HASHABLE = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(list(TaskStatus))
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(HASHABLE, inner)
        | st.sets(HASHABLE)
        | st.builds(Submission, inner, st.booleans(), inner)
    ),
    max_leaves=20,
)


def there_and_back(value: Any) -> Any:
    return decode(*encode(value))


@budget(200)
@given(VALUES)
def test_a_value_is_the_same_after_the_way(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_what_is_nearly_a_value_becomes_one() -> None:
    assert there_and_back(MappingProxyType({"a": 1})) == {"a": 1}
    assert there_and_back({"a": 1, "b": 2}.values()) == [1, 2]
    assert there_and_back({"a": 1}.keys()) == ["a"]
    assert math.isnan(there_and_back(math.nan))
    assert there_and_back(datetime(2026, 1, 1, tzinfo=UTC)).tzinfo is not None


def test_bytes_go_beside_the_text() -> None:
    text, blobs = encode(({"piece": bytes(100_000)}, b"x"))
    assert len(text) < 200
    assert [len(blob) for blob in blobs] == [100_000, 1]


def test_a_class_is_made_without_calling_it(monkeypatch: pytest.MonkeyPatch) -> None:
    options = TaskOptions(model="tiny.en")
    sent = encode(options)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was called")

    monkeypatch.setattr(TaskOptions, "__init__", refuse)
    assert decode(*sent) == options


class Foreign:
    pass


@pytest.mark.parametrize("value", [Foreign(), Foreign, object(), len, iter([]), OSError(), [Foreign()]])
def test_what_is_not_ours_cannot_be_sent(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


@pytest.mark.parametrize(
    "plain",
    [
        {"object": ["subprocess:Popen", {"args": "true"}]},
        {"object": ["os:system", {}]},
        {"object": ["optimizer.tasks.task:TaskStatus", {}]},
        {"object": ["optimizer.common.atomic_files:os", {}]},
        {"object": ["optimizer.storage.task_files:shutil", {}]},
        {"object": ["whisper_core.text.transcript:Word", {}]},
        {"rows": ["subprocess:Popen", ["args"], [["true"]]]},
        {"rows": ["whisper_core.text.transcript:Word", ["word"], [[" a"]]]},
        {"rows": ["whisper_core.text.transcript:Word", ["word", "start", "end", "probability", "speaker"], [[" a"]]]},
        {"rows": ["optimizer.tasks.task:TaskStatus", [], []]},
        {"class": "optimizer.system:OptimizedWhisperSystem"},
        {"class": "builtins:ValueError"},
        {"enum": ["optimizer.tasks.batches:Batch", "id"]},
        {"nothing": 1},
        {"bytes": 3},
        {},
    ],
)
def test_what_nobody_has_sent_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, LookupError, ImportError)):
        decode(json.dumps(plain).encode(), [])


def test_objects_of_one_class_name_it_and_its_fields_once() -> None:
    words = tuple(Word(f" w{number}", number / 7, number / 3, 0.25) for number in range(500))
    segments = [Segment(0, 0, 0.0, 1.0, "", (1, 2), 0.0, -0.5, 1.5, 0.1, said) for said in (words, None, words[:1])]
    text, _ = sent = encode(segments)
    assert decode(*sent) == segments
    assert text.count(b"probability") == 2  # of the many, and of the one
    mixed = [words[0], segments[0], words[1]]
    assert there_and_back(mixed) == mixed


def test_floats_and_words_are_exact() -> None:
    word = Word(" a", 0.1 + 0.2, 1e300, 5e-324)
    assert there_and_back(word) == word
