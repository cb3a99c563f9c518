"""Segments that another model does again: they take the place of the old ones, unless somebody changed those."""

from __future__ import annotations

import pytest

from errors import InvalidOptionError
from optimizer.editing.retranscriptions import Retranscriptions, changes_for
from optimizer.tasks.segments_key import SegmentsAgain, segments_key, segments_of_key
from optimizer.tasks.task import Task, TaskOptions
from tests.optimizer.editing.conftest import Desk
from tests.optimizer.queue.helpers import new_task
from tests.whisper_core.editing.texts import segment
from whisper_core.editing.edits import SetSpeaker, SetText, SetTimes, Shift, Split
from whisper_core.text.transcript import Transcript

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

HEARD = Transcript(" How are you all? Well?", "en", (segment(0, 4, 6, " How are you all?"), segment(1, 6, 8, " Well?")))


@pytest.fixture
def again(desk: Desk) -> Retranscriptions:
    desk.add_completed()
    return Retranscriptions(desk.queue.store, desk.files, desk.editor, lambda id_, _: desk.queue.manager.delete(id_))


def done_again(desk: Desk, segments: tuple[int, ...], version: int, heard: Transcript = HEARD) -> Task:
    return desk.add_completed(
        "again",
        heard,
        idempotency_key=segments_key("a", version, segments, "large-v3"),
        options=TaskOptions(model="large-v3"),
    )


def test_what_was_heard_takes_their_place_and_its_task_goes(desk: Desk, again: Retranscriptions) -> None:
    desk.editor.edit("a", 0, [SetSpeaker((1,), "S1")], "alice")
    again.on_completed(done_again(desk, (1,), 1))
    history = desk.editor.history("a")
    assert [(each.id, each.text, each.speaker) for each in history.text.segments] == [
        (0, " Hello teh world.", None),
        (3, " How are you all?", "S1"),
        (4, " Well?", "S1"),
        (2, " I am fine.", None),
    ]
    (step,) = desk.editor.steps("a", 1)
    assert (step.author, step.kind, step.data["model"]) == ("", "retranscribe", "large-v3")
    assert desk.queue.store.ids() == {"a"}
    assert desk.editor.undo("a", 2, "").after.text.segments[1].text == " How are you?"


def test_what_somebody_changed_meanwhile_stays_and_so_does_what_was_heard(desk: Desk, again: Retranscriptions) -> None:
    desk.editor.edit("a", 0, [SetText(1, "How do you do?")], "alice")
    for heard_of in ((1,), (1, 2)):
        again.on_completed(done_again(desk, heard_of, 0))
        assert desk.text() == " Hello teh world. How do you do? I am fine."
        assert desk.queue.store.ids() == {"a", "again"}
        desk.queue.manager.delete("again")


def test_nothing_is_replaced_by_silence(desk: Desk, again: Retranscriptions) -> None:
    again.on_completed(done_again(desk, (1,), 0, Transcript("", "en", ())))
    assert (desk.text(), desk.queue.store.ids()) == ("", {"a", "again"})


@pytest.mark.parametrize("heard", [HEARD, Transcript("", "en", ())])
def test_what_was_done_of_a_deleted_transcript_goes(desk: Desk, again: Retranscriptions, heard: Transcript) -> None:
    task = done_again(desk, (1,), 0, heard)
    desk.queue.manager.delete("a")
    again.on_completed(task)
    assert desk.queue.store.ids() == set()


def test_what_a_kill_came_before_is_done_at_the_next_start(desk: Desk, again: Retranscriptions) -> None:
    done_again(desk, (1,), 0)
    again.resume()
    assert desk.text() == " Hello teh world. How are you all? Well? I am fine."
    assert desk.queue.store.ids() == {"a"}
    again.resume()
    assert desk.editor.history("a").version == 1


def test_a_kill_after_they_were_replaced_leaves_no_task_behind(desk: Desk, again: Retranscriptions) -> None:
    killed = Retranscriptions(desk.queue.store, desk.files, desk.editor, lambda *_: None)
    killed.on_completed(done_again(desk, (1,), 0))
    assert desk.queue.store.ids() == {"a", "again"}
    again.resume()
    assert desk.queue.store.ids() == {"a"}
    assert desk.editor.history("a").version == 1


def test_no_other_task_is_taken_for_one(desk: Desk, again: Retranscriptions) -> None:
    again.on_completed(desk.add_completed("other", HEARD, idempotency_key="segments-a-0-1"))
    assert desk.queue.store.ids() == {"a", "other"}


def test_only_the_time_of_the_segments_is_transcribed(desk: Desk, again: Retranscriptions) -> None:
    first, history = (
        desk.queue.manager.get("a"),
        desk.editor.edit("a", 0, [Split(1, 4), SetTimes(2, 11, 12.5)], "").after,
    )
    changes = changes_for(first, history, (2, 0, 1), "large-v3")
    assert (changes["clip_timestamps"], changes["language"], changes["model"]) == (
        "0.00,5.23,11.00,12.50", "en", "large-v3",
    )  # fmt: skip
    assert {changes[name] for name in ("speakers", "num_speakers", "vad_filter")} == {""}
    for wrong in ((9,), (0,)):
        still = desk.editor.edit("a", history.version, [Shift(-5)], "").after if wrong == (0,) else history
        with pytest.raises(InvalidOptionError) as refused:
            changes_for(first, still, wrong, "large-v3")
        assert refused.value.field == "segments"


def test_the_key_tells_what_it_is_about() -> None:
    key = segments_key("01M8", 7, (3, 1), "my model v2")
    assert segments_of_key(key) == SegmentsAgain("01M8", 7, (3, 1))
    assert segments_of_key(None) is segments_of_key("key of a client") is None
    assert " " in key
    assert new_task("x", idempotency_key=key).idempotency_key == key
