"""The made-up answers have the shapes of the real ones, so the view is tested on what it will get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from config import Settings
from tests.browser import fake_load
from tests.web.fake_system import FakeSystem
from web.http.answer_schemas import TimelineAnswer
from web.http.system_schemas import HistoryAnswer, LogAnswer, SystemAnswer, SystemEventsAnswer

NOW = 1_795_694_820.0


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (HistoryAnswer, fake_load.history(NOW, 1)),
        (SystemEventsAnswer, fake_load.events(NOW, None, 100, None)),
        (LogAnswer, fake_load.log_lines(NOW, 50)),
        (TimelineAnswer, fake_load.timeline(NOW)),
    ],
)
def test_the_fake_answers_as_the_server_does(shape: type[BaseModel], body: dict[str, Any]) -> None:
    assert shape.model_validate(body).model_dump() == body


def test_the_fakes_system_is_whole(make_settings: Callable[..., Settings]) -> None:
    limits = {"max_concurrent_tasks": 11, "max_batch_size": 6}
    body = {**FakeSystem(make_settings()).status(), **fake_load.system({}, limits)}
    assert SystemAnswer.model_validate(body).model_dump() == body
