"""The search of the list: what it finds, whose, with which sentence; and that the index keeps nothing deleted."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path

import pytest

from optimizer.queue.changes import Complete, RequestedChange
from optimizer.storage import search_check, search_erasure, search_index
from optimizer.storage.backup import restore_backup, write_backup
from optimizer.storage.search_filler import SearchFiller
from optimizer.storage.search_words import spaced
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.search_hit import HitField, Sentence
from optimizer.tasks.task import Task, TaskFilter, TaskMemory, TaskStatus
from tests.databases import Databases
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, at_once, running_queue
from tests.optimizer.storage.helpers import edit
from tests.optimizer.storage.test_pages import ids
from tests.optimizer.storage.test_store import wait_for

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

FOX = ("The quick brown fox jumps.", " Over the lazy dog.", " Nobody saw it.")


def complete(queue: Queue, task_id: str, *sentences: str, **more: object) -> Task:
    """A task with this text, each sentence of which is two seconds long."""
    queue.submit(task_id, **more)
    token = queue.claim(task_id).lease_token or ""
    spoken = tuple(Sentence(number, 2.0 * number, text) for number, text in enumerate(sentences))
    change = Complete("en", "".join(sentences), "f" * 64, TaskMemory(800, 1000, 900), spoken)
    (task,) = queue.manager.record([RequestedChange.of_attempt(task_id, token, change)])
    assert task is not None
    return task


def hit(queue: Queue, query: str) -> tuple[str, int | None, float | None]:
    """Of the only task that is found: the snippet with its marks in brackets, and where it is."""
    (found,) = queue.manager.page(TaskFilter(query=query)).hits.values()
    snippet = "".join(f"[{part.text}]" if part.is_match else part.text for part in found.snippet)
    return snippet, found.segment, found.start


def agrees(store: TaskStore) -> bool:
    with store.database.reading() as connection:
        return search_check.agrees(connection)


# What is found

LATIN = [
    ("fox quick", True), ("dog fo", True), ("fo dog", False), ('"brown fox"', True), ('"fox brown"', False),
    ('"quick brown fox"', True), ('"the quick brown fox jumps"', True), ('"the quick fox"', False), ('"brown fo', True),
    ('"fox jumps over"', True), ("fox-jumps", True), ("absent", False), ("fox absent", False), ("THE", True),
    ("interview fox", True), ('"wav nobody"', False), ("1.wav", True), ("it", True), ("i", True), ('"i"', False),
]  # fmt: skip


@pytest.mark.parametrize(("query", "is_found"), LATIN)
def test_words_in_any_order_phrases_and_beginnings(queue: Queue, query: str, is_found: bool) -> None:
    complete(queue, "a", *FOX, filename="Interview_1.wav")
    assert ids(queue, query=query) == ["a"] * is_found


@pytest.mark.parametrize(
    ("text", "query", "is_found"),
    [
        ("我们今天讨论转写服务。", "转", True),
        ("我们今天讨论转写服务。", "转写", True),
        ("我们今天讨论转写服务。", "服务 今天", True),
        ("我们今天讨论转写服务。", "讨论转写服务", True),
        ("我们今天讨论转写服务。", "写转", False),
        ("大学的学生", "大学生", False),
        ("用GPU显存吗", "gpu显存", True),
        ("カラーテレビを買いました。", "テレビ", True),
        ("カラーテレビを買いました。", "ﾃﾚﾋﾞ", True),
        ("カラーテレビを買いました。", "買", True),
        ("학교에서 만나요", "학교", True),
        ("고등학교에서", "학교", True),
        ("ภาษาไทยไม่มีวรรค", "ไทย", True),
        ("ภาษาไทยไม่มีวรรค", "ไ", True),
        ("ខ្មែរភាសា", "ភាសា", True),
        ("יש שָׁלוֹם", "שָׁלוֹם", True),
    ],
)
def test_writing_without_spaces_is_found_by_any_part_of_it(queue: Queue, text: str, query: str, is_found: bool) -> None:
    complete(queue, "a", text)
    complete(queue, "b", "nothing of it")
    assert ids(queue, query=query) == ["a"] * is_found


def test_everybody_finds_their_own_and_the_counts_follow(queue: Queue) -> None:
    complete(queue, "a", *FOX, owner="alice")
    complete(queue, "b", *FOX, owner="bob")
    queue.submit("c", filename="fox.wav", owner="bob")
    queue.submit("d", filename="other.wav", owner="bob")

    of_bob = queue.manager.page(TaskFilter(query="fox", owner="bob"))
    assert [task.id for task in of_bob.tasks] == ["c", "b"]
    assert {status: count for status, count in of_bob.counts.items() if count} == {
        TaskStatus.COMPLETED: 1,
        TaskStatus.PENDING: 1,
    }
    assert ids(queue, query="fox", owner="al") == []
    assert ids(queue, query="alice") == []
    assert ids(queue, query=b"alice".hex()) == []
    of_all = queue.manager.page(TaskFilter(query="fox", status=TaskStatus.PENDING))
    assert ([task.id for task in of_all.tasks], of_all.counts[TaskStatus.COMPLETED]) == (["c"], 2)


def test_a_task_with_another_place_in_the_queue_is_found(queue: Queue) -> None:
    queue.submit("a", filename="fox.wav")
    queue.submit("b", filename="other.wav")
    queue.manager.cancel("a")
    assert queue.manager.retry("a").seq == 3
    assert (ids(queue, query="fox"), ids(queue, query="other")) == (["a"], ["b"])
    assert agrees(queue.store)


# Hits


def test_a_hit_is_the_sentence_with_most_of_the_words(queue: Queue) -> None:
    complete(queue, "a", " A quick start.", " The quick, brown fox.", " Another fox.")
    assert hit(queue, "fox quick") == ("The [quick], brown [fox].", 1, 2.0)
    assert hit(queue, '"quick brown" an') == ("The [quick, brown] fox.", 1, 2.0)
    assert hit(queue, "ano") == ("[Ano]ther fox.", 2, 4.0)
    assert hit(queue, "interview.mp3")[1:] == (None, None)


def test_a_hit_in_a_name_has_no_time(queue: Queue) -> None:
    complete(queue, "a", *FOX, filename="Straßen & <b>Wege</b>.wav")
    assert hit(queue, "STRASSEN wege") == ("[Straßen] & <b>[Wege]</b>.wav", None, None)
    (found,) = queue.manager.page(TaskFilter(query="wege")).hits.values()
    assert found.field is HitField.FILENAME


@pytest.mark.parametrize(
    ("text", "query", "snippet"),
    [
        ("Die Ärzte A\u0308rzte", "ärzte ", "Die [Ärzte] [A\u0308rzte]"),
        ("ein ﬁnger", "finger", "ein [ﬁnger]"),
        ("我们讨论转写服务", "转写", "我们讨论[转写]服务"),
        ("ｶﾞｽ です", "ガス", "[ｶﾞｽ] です"),
        ("two\tspaces  here", "here", "two spaces [here]"),
        ("x " * 200 + "needle " + "y " * 200, "needle", "…" + "x " * 39 + "[needle] " + "y " * 75 + "y…"),
        ("长" * 300 + "针" + "长" * 300, "针", "…" + "长" * 80 + "[针]" + "长" * 159 + "…"),
    ],
)
def test_the_words_are_marked_as_they_are_written(queue: Queue, text: str, query: str, snippet: str) -> None:
    complete(queue, "a", text)
    assert hit(queue, query)[0] == snippet


def test_a_text_that_is_written_anew_is_found_by_its_new_words_only(queue: Queue) -> None:
    task = complete(queue, "a", *FOX)
    with queue.store.writing() as rows:
        rows.set_text(task, "A slow wolf.", [Sentence(7, 1.5, "A slow wolf.")])
    assert (ids(queue, query="fox"), ids(queue, query="wolf a")) == ([], ["a"])
    assert hit(queue, "wolf") == ("A slow [wolf].", 7, 1.5)
    with queue.store.writing() as rows:
        rows.set_name(task.with_(filename="renamed.wav"))
    assert (ids(queue, query="renamed wolf"), ids(queue, query="mp3")) == (["a"], [])
    assert agrees(queue.store)


# Nothing deleted stays


def words_left(data_dir: Path, words: list[str]) -> list[str]:
    contents = b"".join(path.read_bytes().lower() for path in data_dir.glob("tasks.db*"))
    return [word for word in words if word.encode() in contents]


def text_of(seed: int, count: int = 300) -> tuple[list[str], str]:
    """Words that nothing else has: letters of two scripts, in no language."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("bcdfghjklmnpqrstvwxzäöü", k=9)) for _ in range(count)]
    return words, " ".join(words) + "。鑫淼焱垚"


@pytest.mark.sqlite
def test_no_word_of_a_deleted_or_edited_text_stays_in_the_database(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        for number in range(8):
            complete(queue, f"keep{number}", text_of(number)[1])
        words, text = text_of(100)
        task = complete(queue, "edited", text)
        complete(queue, "deleted", text)
        assert len(words_left(tmp_path, words)) == len(words)

        with queue.store.writing() as rows:
            rows.set_text(task, "new", [Sentence(0, 0.0, "new")])
        queue.manager.delete("deleted")

        assert words_left(tmp_path, [*words, *(word[:6] for word in words), "鑫淼", "垚"][: 2 * len(words)]) == []
        assert ids(queue, query=words[0]) == []
        assert len(words_left(tmp_path, text_of(3)[0])) == 300
        assert agrees(queue.store)


@pytest.mark.sqlite
def test_what_a_killed_server_had_not_removed_from_the_index_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, later = tmp_path / "killed", tmp_path / "later"
    killed.mkdir()
    words, text = text_of(1)
    with monkeypatch.context() as patch, running_queue(killed, FakeClock()) as queue:
        complete(queue, "keep", text_of(2)[1])
        complete(queue, "a", text)
        patch.setattr(queue.store, "erase_deleted", lambda: None)
        queue.manager.delete("a")
        shutil.copytree(killed, later)
    assert words_left(later, words) != []
    with running_queue(later, FakeClock()) as queue:
        assert words_left(later, words) == []
        assert agrees(queue.store)


@pytest.mark.sqlite
def test_a_long_merge_goes_on_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_erasure, "STEP_PAGES", 1)
    monkeypatch.setattr(search_erasure, "STEPS", 1)
    words, text = text_of(1)
    with running_queue(tmp_path, FakeClock()) as queue:
        for number in range(4):
            complete(queue, f"keep{number}", text_of(number + 10)[1])
        complete(queue, "a", text)
        monkeypatch.setattr(queue.store, "erase_deleted", lambda: None)
        queue.manager.delete("a")
        erasure, steps = search_erasure.SearchErasure(queue.store.database), 0
        while not erasure.erase():
            steps += 1
            assert ids(queue, query=text_of(10)[0][0]) == ["keep0"]
        assert steps > 3
        assert queue.store.database.empty_log()
        assert words_left(tmp_path, words) == []


@pytest.mark.sqlite
def test_tasks_that_are_deleted_at_the_same_time_all_leave_the_index(tmp_path: Path) -> None:
    words = {f"t{number}": text_of(number, 60) for number in range(6)}
    with running_queue(tmp_path, FakeClock()) as queue:
        complete(queue, "keep", *FOX)
        for task_id, (_, text) in words.items():
            complete(queue, task_id, text)
        at_once(*(partial(queue.manager.delete, task_id) for task_id in words))
        assert wait_for(lambda: not queue.store.is_erasing)
        assert words_left(tmp_path, [word for each, _ in words.values() for word in each]) == []
        assert (ids(queue, query="fox"), agrees(queue.store)) == (["keep"], True)


@pytest.mark.sqlite
def test_a_backup_has_no_words_that_are_still_to_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, text = text_of(1)
    data, restored, backup = tmp_path / "data", tmp_path / "restored", tmp_path / "backup.tar"
    data.mkdir()
    with running_queue(data, FakeClock()) as queue:
        TaskFiles(data).make_folders()
        TaskFiles(data).transcript_path("keep").write_text("{}")
        complete(queue, "keep", *FOX)
        complete(queue, "a", text)
        monkeypatch.setattr(queue.store, "erase_deleted", lambda: None)
        queue.manager.delete("a")
        write_backup(TaskFiles(data), data / "tasks.db", backup, with_media=False, version="1")
    assert [word for word in words if word.encode() in backup.read_bytes()] == []
    files = TaskFiles(restored)
    files.make_folders()
    restore_backup(files, restored / "tasks.db", backup)
    with running_queue(restored, FakeClock()) as queue:
        assert ids(queue, query='"quick brown"') == ["keep"]
        SearchFiller(queue.store.database, files).fill()
        assert (ids(queue, query="fox quick"), agrees(queue.store)) == (["keep"], True)


# The index and what it is made of


def as_before_the_index(each_database: Databases, data_dir: Path, task_id: str, text: str) -> None:
    """The row of a release that had none."""
    update = "UPDATE task_texts SET folded_text = ?, index_form = 0, sentences = NULL WHERE task_id = ?"
    each_database.execute(data_dir, update, text, task_id)


def test_texts_of_an_earlier_release_are_found_before_and_after_they_are_in_the_index(
    tmp_path: Path, each_database: Databases
) -> None:
    files = TaskFiles(tmp_path)
    with running_queue(tmp_path, FakeClock()) as queue:
        complete(queue, "a", *FOX)
        queue.submit("b", filename="new fox.wav")
    each_database.execute(tmp_path, "DROP TABLE search_index")
    as_before_the_index(each_database, tmp_path, "a", "interview.mp3\nthe quick brown fox jumps.")
    with running_queue(tmp_path, FakeClock()) as queue:
        filler = SearchFiller(queue.store.database, files)
        assert filler.count_left() == 2
        assert ids(queue, query="fox") == ["b", "a"]
        assert ids(queue, query="brown quick") == ["a"]
        assert not filler.fill()
        assert (filler.count_left(), agrees(queue.store)) == (0, True)
        assert ids(queue, query="fox") == ["b", "a"]
        assert ids(queue, query='"quick brown fox" interview.mp3') == ["a"]


def test_the_filler_ends_by_itself_and_can_be_stopped(tmp_path: Path) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        for number in range(120):
            queue.submit(f"t{number}", filename=f"fox {number}.wav")
        with queue.store.database.writing() as connection:
            search_index.rebuild(connection)
        stopped = SearchFiller(queue.store.database, TaskFiles(tmp_path))
        stopped.start()
        stopped.stop()
        filler = SearchFiller(queue.store.database, TaskFiles(tmp_path))
        filler.start()
        assert filler._thread is not None
        filler._thread.join(20)
        assert (filler.count_left(), agrees(queue.store)) == (0, True)
        assert ids(queue, query="fox 119") == ["t119"]


def test_a_text_may_become_shorter_any_number_of_times(queue: Queue) -> None:
    task = complete(queue, "a", *FOX)
    for length in reversed(range(8)):
        with queue.store.writing() as rows:
            rows.set_text(task, " ".join(["one", "two", "three", "four", "five", "six", "seven", "eight"][:length]))
    assert (ids(queue, query="one"), ids(queue, query="interview.mp3"), agrees(queue.store)) == ([], ["a"], True)


@pytest.mark.parametrize("query", [" ".join(f"w{number}" for number in range(130)), "转写服务" * 125, '"' * 499])
def test_a_query_may_have_as_many_words_as_fit(queue: Queue, query: str) -> None:
    complete(queue, "a", "转写服务" * 130, " " + " ".join(f"w{number}" for number in range(130)))
    assert ids(queue, query=query[:500]) == ["a"] * ('"' not in query)


@pytest.mark.sqlite
def test_without_fts5_the_texts_are_searched(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    complete(queue, "a", *FOX)
    monkeypatch.setattr(search_index, "has_fts5", lambda: False)
    with queue.store.database.writing() as connection:
        search_index.prepare(connection)
    complete(queue, "b", "Another fox.")
    assert ids(queue, query="fox") == ["b", "a"]
    assert ids(queue, query='"quick brown fox" dog') == ["a"]
    assert hit(queue, "anoth") == ("[Anoth]er fox.", 0, 0.0)
    queue.manager.delete("b")
    monkeypatch.undo()
    with queue.store.database.writing() as connection:
        search_index.prepare(connection)
    SearchFiller(queue.store.database, TaskFiles(Path("nowhere"))).fill()
    assert (ids(queue, query="fox"), agrees(queue.store)) == (["a"], True)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE search_index_config SET v = 5 WHERE k = 'version'",  # as later versions of SQLite may write it
        "DROP TABLE search_index",
        "DELETE FROM search_index_data",
    ],
)
def test_an_index_that_cannot_be_read_is_made_anew_at_the_start(tmp_path: Path, damage: str) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        complete(queue, "a", *FOX)
    edit(tmp_path, damage)
    with running_queue(tmp_path, FakeClock()) as queue:
        assert ids(queue, query="quick fox") == ["a"]
        SearchFiller(queue.store.database, TaskFiles(tmp_path)).fill()
        assert (ids(queue, query="quick fox"), agrees(queue.store)) == (["a"], True)


def test_the_index_follows_whatever_is_done(queue: Queue) -> None:
    chance = random.Random(5)
    vocabulary = ["fox", "foxes", "dog", "the", "转写", "服", "it's", "ไทย"]
    texts: dict[str, str] = {}
    for number in range(50):
        text = " ".join(chance.choices(vocabulary, k=chance.randrange(8)))
        if len(texts) > 6:
            gone = chance.choice(sorted(texts))
            del texts[gone]
            queue.manager.delete(gone)
        elif chance.random() < 0.4 and texts:
            again = chance.choice(sorted(texts))
            with queue.store.writing() as rows:
                rows.set_text(queue.manager.get(again), text)
            texts[again] = text
        else:
            complete(queue, f"t{number}", text, filename="x")
            texts[f"t{number}"] = text
        word = chance.choice(vocabulary)
        assert set(ids(queue, query=f'"{word}"')) == {
            task_id for task_id, text in texts.items() if spaced([word]) in spaced([text])
        }
    assert agrees(queue.store)


def test_a_long_phrase_in_very_many_texts_is_listed_exactly_and_counted_by_its_pairs(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(queue, "a", "one two three")
    complete(queue, "b", "two three one two")
    complete(queue, "c", "one two one two three")
    of_phrase = TaskFilter(query='"one two three"')
    assert queue.manager.page(of_phrase).counts[TaskStatus.COMPLETED] == 2
    monkeypatch.setattr(search_index, "MOST_COMPARED", 2)
    page = queue.manager.page(of_phrase)
    assert ([task.id for task in page.tasks], page.counts[TaskStatus.COMPLETED]) == (["c", "a"], 3)
