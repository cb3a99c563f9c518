from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.common.filenames import MemberNames, display_name, transcript_name

ANY_TEXT = st.text(st.characters(codec=None), max_size=400)


@given(ANY_TEXT)
def test_shown_name_is_short_visible_and_no_path(raw: str) -> None:
    name = display_name(raw)
    assert 0 < len(name.encode()) <= 255
    shown = name.replace("\u200c", "").replace("\u200d", "")
    assert shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not set("/\\") & set(name)
    assert unicodedata.normalize("NFC", name) == name


@given(ANY_TEXT)
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    assert display_name(display_name(raw)) == display_name(raw)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("interview.mp3", "interview.mp3"),
        ("C:\\Users\\ada\\talk.wav", "talk.wav"),
        ("folder/talk.wav", "talk.wav"),
        ("e\u0301.wav", "\u00e9.wav"),
        ("a\u202eb\u200bc.mp3", "abc.mp3"),
        ("", "recording"),
        ("\n\t", "recording"),
        ("x" * 300 + ".flac", "x" * 250 + ".flac"),
        ("می\u200cخواهم.mp3", "می\u200cخواهم.mp3"),
        ("क्\u200dष.mp3", "क्\u200dष.mp3"),
        ("👩\u200d🚀.mp4", "👩\u200d🚀.mp4"),
        ("a\u200db\u200c.mp3", "ab.mp3"),
        ("می\u200c\u200c\u200dخواهم\u200c.mp3", "می\u200cخواهم.mp3"),
        ("\u200d", "recording"),
    ],
)
def test_shown_name(raw: str, shown: str) -> None:
    assert display_name(raw) == shown


def test_transcript_is_named_after_its_recording() -> None:
    assert transcript_name("interview.final.mp3", "srt") == "interview.final.srt"
    assert len(transcript_name("é" * 200 + ".mp3", "json").encode()) <= 255


@pytest.mark.parametrize(
    ("filename", "transcript"),
    [
        ("Meeting 12.30", "Meeting 12.30.srt"),
        ("notes.v2", "notes.v2.srt"),
        ("Film.MKV", "Film.srt"),
        ("board.mp3.opus", "board.mp3.srt"),
        (".mp3", ".mp3.srt"),
    ],
)
def test_only_the_ending_of_a_recording_is_replaced(filename: str, transcript: str) -> None:
    assert transcript_name(filename, "srt") == transcript


def test_a_member_of_an_archive_keeps_what_is_no_ending() -> None:
    names = MemberNames()
    assert [names.unique_name(raw, "srt") for raw in ("Meeting 12.30", "Meeting 12.45")] == [
        "Meeting 12.30.srt",
        "Meeting 12.45.srt",
    ]


@given(st.lists(ANY_TEXT, max_size=20))
def test_members_of_an_archive_are_safe_and_differ(raw_names: list[str]) -> None:
    names = MemberNames()
    members = [names.unique_name(raw, "txt") for raw in raw_names]
    assert len({member.casefold() for member in members}) == len(members)
    for member in members:
        assert not set('/\\:*?"<>|') & set(member)
        assert not member.startswith((".", " "))
        assert len(member.encode()) <= 255


@pytest.mark.parametrize(("raw", "member"), [("CON.mp3", "_CON.txt"), ("nul", "_nul.txt"), ("..", "recording.txt")])
def test_names_that_a_system_reserves(raw: str, member: str) -> None:
    assert MemberNames().unique_name(raw, "txt") == member


def test_same_names_are_numbered() -> None:
    names = MemberNames()
    assert [names.unique_name(raw, "txt") for raw in ("a.mp3", "A.wav", "a.mp3")] == ["a.txt", "A (2).txt", "a (3).txt"]
