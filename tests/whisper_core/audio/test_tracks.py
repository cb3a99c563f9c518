"""A file's sound tracks, read from what ffmpeg says, and which of them a task means."""

from __future__ import annotations

import pytest

from errors import TrackNotFoundError
from whisper_core.audio.tracks import SoundTrack, choose_track, sound_tracks, track_name

FILM = """[info] Input #0, mpegts, from 'fd:':
[info]   Duration: 01:30:00.00, start: 0.000000, bitrate: 85 kb/s
[info]   Program 1
[info]     Metadata:
[info]       title           : of the programme
[info]   Stream #0:0[0x100]: Video: h264 (High), yuv420p, 64x64, 5 fps (default)
[info]   Stream #0:2[0x102](ger,deu): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, stereo, fltp, 128 kb/s
[info]     Metadata:
[info]       title           : Kommentar\x1b[31m der Regie
[info]                       : [info]   Stream #0:9: Audio: mp3, 1 Hz, mono
[info]   Stream #0:1[0x101](eng): Audio: ac3, 48000 Hz, 5.1(side), fltp, 384 kb/s (default) (comment)
[info]   Program 2
[info]   Stream #0:2[0x102](ger): Audio: aac, 44100 Hz, stereo, fltp
[info]   Stream #0:3[0x103](../../etc): Audio: pcm_s16le, 16000 Hz, 9 channels, s16
[info]   Stream #0:4(zxx): Audio: none
[info]   Stream #0:5(fre): Subtitle: subrip
[info]     Metadata:
[info]       title           : of the subtitles
[info] Stream mapping:
[info]   Stream #0:2 -> #0:0 (aac (native) -> pcm_s16le (native))
[info]   Stream #0:0: Audio: pcm_s16le, 16000 Hz, mono, s16, 256 kb/s
"""

ENGLISH = SoundTrack(1, 1, "ac3", 6, "eng", is_default=True)
GERMAN = SoundTrack(2, 2, "aac", 2, "ger", title="Kommentar[31m der Regie", is_chosen=True)
NINE = SoundTrack(3, 3, "pcm_s16le", 9)
SILENT = SoundTrack(4, 4, "none", language="zxx")


def test_the_tracks_are_read_in_the_files_order_each_once() -> None:
    assert sound_tracks(FILM) == (ENGLISH, GERMAN, NINE, SILENT)


def test_no_tracks_are_read_from_nonsense() -> None:
    assert sound_tracks("[error] Invalid data found\n[info]   Stream #0:x: Audio: mp3") == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *[("1", "1"), ("007", "7"), ("64", "64"), ("de", "de"), ("ger", "de"), ("German", "de"), ("de-CH", "de")],
        *[("nds", "nds"), ("NDS_nl", "nds-nl"), ("0", None), ("65", None), ("-1", None), ("1.5", None), ("²", None)],
        *[("../x", None), ("a sentence", None)],
    ],
)
def test_a_track_is_named_by_number_or_language(text: str, name: str | None) -> None:
    assert track_name(text) == name


@pytest.mark.parametrize(("name", "chosen"), [("1", ENGLISH), ("3", NINE), ("de", GERMAN), ("en", ENGLISH)])
def test_the_named_track_is_chosen(name: str, chosen: SoundTrack) -> None:
    assert choose_track((ENGLISH, GERMAN, NINE), name) == chosen


def test_of_several_in_a_language_the_default_one_is_chosen_else_the_first() -> None:
    commentary = SoundTrack(1, 0, "aac", 2, "en")
    assert choose_track((commentary, ENGLISH), "en") == ENGLISH
    assert choose_track((commentary, NINE), "en") == commentary


def test_a_track_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(TrackNotFoundError) as refused:
        choose_track((ENGLISH, GERMAN, NINE), "fr")
    assert refused.value.field == "track"
    assert refused.value.message == (
        "The file has no sound track in the language fr. "
        "There are 3: 1 (language eng, the default), 2 (language ger), 3."
    )
    with pytest.raises(TrackNotFoundError, match=r"no sound track 2\. There is one: 1"):
        choose_track((ENGLISH,), "2")
