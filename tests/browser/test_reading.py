"""Reading an open task and listening to it: the text, the player's place in it, the search in it.

The tests share one server with a fake engine and one completed task of a minute, whose text each test replaces by its
own.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import watch_for_faults
from tests.server.client import Client
from tests.server.conftest import noise, server_in
from tests.web.running_server import RunningServer
from whisper_core.audio.decode import find_ffmpeg

pytestmark = pytest.mark.browser

TEXTS = ("The old clock struck", "and the cat left the mat", "for another mat, a warm one", "by the old stove.")
SECONDS_EACH = 4.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with server_in(tmp_path_factory.mktemp("reading")) as server, server.outliving_tests():
        yield server


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(
        tmp_path_factory.mktemp("sound") / "a-long-name-of-an-interview-with-the-ending-that-matters-0042.wav", 1
    )


@pytest.fixture(scope="module")
def task_id(server: RunningServer, minute: Path) -> str:
    client = Client(server)
    uploaded: str = client.upload(minute)["id"]
    client.wait_for(uploaded, "completed")
    return uploaded


@pytest.fixture(scope="module")
def shared_page(browser: Browser, server: RunningServer, task_id: str) -> Iterator[Page]:
    """With the task open and TEXTS as its text, a word and a segment of which are doubtful."""
    with fresh_page(browser, server) as page:
        segments = plain()
        segments[1]["words"][2]["probability"] = 0.2
        segments[3]["no_speech_prob"] = 0.9
        open_text(page, task_id, segments)
        yield page


@pytest.fixture
def opened(shared_page: Page) -> Locator:
    """The segments of the shared page, with the player at its start and nothing searched for."""
    shared_page.get_by_test_id("transcript-search").fill("")
    shared_page.get_by_test_id("media").evaluate("video => { video.pause(); video.currentTime = 0 }")
    wait_for_position(shared_page, 0)
    return shared_page.get_by_test_id("segment")


@pytest.fixture
def page(browser: Browser, server: RunningServer) -> Iterator[Page]:
    with fresh_page(browser, server) as page:
        yield page


@contextmanager
def fresh_page(browser: Browser, server: RunningServer) -> Iterator[Page]:
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(server.address)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


def segment(number: int, text: str, **more: Any) -> dict[str, Any]:
    """As the server gives it, with the words evenly spread over its time."""
    start = number * SECONDS_EACH
    each = SECONDS_EACH / len(text.split())
    words = [
        {"word": f" {word}", "start": start + at * each, "end": start + (at + 0.9) * each, "probability": 0.9}
        for at, word in enumerate(text.split())
    ]
    known = {"avg_logprob": -0.2, "no_speech_prob": 0.01, "compression_ratio": 1.5, "temperature": 0.0, "seek": 0}
    return {"id": number, "start": start, "end": start + SECONDS_EACH, "text": f" {text}", "tokens": [], **known,
            "words": words, **more}  # fmt: skip


def open_text(page: Page, task_id: str, segments: list[dict[str, Any]], place: str = "") -> Locator:
    """Opens the task with this text. Returns its segments."""
    answer = {"text": "".join(each["text"] for each in segments), "language": "en", "segments": segments}
    page.route("**/api/tasks/*/transcript?format=json", lambda route: route.fulfill(json=answer))
    page.evaluate("(place) => { location.hash = place }", f"#task={task_id}{place}")
    rows = page.get_by_test_id("segment")
    expect(rows.first).to_be_visible()
    expect(page.get_by_test_id("player")).to_have_attribute("data-kind", "audio")
    expect(page.get_by_test_id("waveform")).to_be_visible()  # it is above the text, which then stays where it is
    return rows


def plain(texts: tuple[str, ...] = TEXTS) -> list[dict[str, Any]]:
    return [segment(number, text) for number, text in enumerate(texts)]


def position(page: Page) -> float:
    seconds: float = page.evaluate("document.querySelector('video').currentTime")
    return seconds


def wait_for_position(page: Page, seconds: float, within: float = 0.3) -> None:
    page.wait_for_function(
        "([at, within]) => Math.abs(document.querySelector('video').currentTime - at) <= within", arg=[seconds, within]
    )


def drag(page: Page, first: Locator, last: Locator) -> None:
    begin, end = first.bounding_box(), last.bounding_box()
    assert begin is not None
    assert end is not None
    page.mouse.move(begin["x"] + 1, begin["y"] + begin["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] - 1, end["y"] + end["height"] / 2, steps=4)
    page.mouse.up()


def test_text_is_selected_over_several_segments_without_their_times_and_moves_nothing(opened: Locator) -> None:
    page, rows = opened.page, opened
    drag(page, rows.nth(0).locator(".word").nth(1), rows.nth(1).locator(".word").nth(2))
    selected = page.evaluate("getSelection().toString()").split()
    assert " ".join(selected) == "old clock struck and the cat"
    assert position(page) == 0


def test_a_click_on_a_word_moves_there_and_the_button_plays_from_its_segment(opened: Locator) -> None:
    page, rows = opened.page, opened
    rows.nth(1).get_by_text("cat", exact=True).click()
    wait_for_position(page, SECONDS_EACH + 2 * SECONDS_EACH / 6)
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    expect(page.locator(".word.is-spoken")).to_have_text("cat")
    assert page.evaluate("document.querySelector('video').paused")

    play = rows.nth(2).get_by_test_id("segment-play")
    play.click()
    page.wait_for_function("() => !document.querySelector('video').paused")
    expect(rows.nth(2)).to_have_attribute("aria-current", "true")
    expect(page.locator(".word.is-spoken")).to_have_text("another")  # the second word, a moment later

    play.press(" ")
    page.wait_for_function("() => document.querySelector('video').paused")
    here = position(page)
    assert here > 2 * SECONDS_EACH
    play.press(" ")
    page.wait_for_function("(here) => document.querySelector('video').currentTime > here", arg=here)
    play.press("ArrowDown")
    expect(rows.nth(3).get_by_test_id("segment-play")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.wait_for_function("(limit) => document.querySelector('video').currentTime < limit", arg=SECONDS_EACH)


def test_hits_are_counted_and_walked_through_and_escape_leaves_the_panel_open(opened: Locator) -> None:
    page, rows = opened.page, opened
    search, status = page.get_by_test_id("transcript-search"), page.get_by_test_id("matches")
    search.fill("the")
    expect(status).to_have_text("5 hits in 4 segments")
    search.fill("mat")
    expect(status).to_have_text("2 hits")
    expect(rows).to_have_count(2)
    page.get_by_test_id("only-hits").uncheck()
    expect(rows).to_have_count(len(TEXTS))

    here = page.locator("mark.is-here")
    search.press("Enter")
    expect(status).to_have_text("1 of 2 hits")
    expect(rows.nth(1).locator(here)).to_have_text("mat")
    search.press("Shift+Enter")
    expect(rows.nth(2).locator(here)).to_have_text("mat")
    search.fill("stove clock")
    expect(page.get_by_test_id("hit")).to_have_text(["clock", "stove"])

    search.press("Escape")
    expect(search).to_have_value("")
    search.press("Escape")
    expect(page.get_by_test_id("transcript")).to_be_visible()
    expect(search).not_to_be_focused()


def test_a_hit_of_the_queue_s_search_opens_with_its_words_at_its_moment(page: Page, task_id: str) -> None:
    rows = open_text(page, task_id, plain(), f"&q=warm%20mat&at={2 * SECONDS_EACH}")
    expect(page.get_by_test_id("transcript-search")).to_have_value("warm mat")
    expect(page.get_by_test_id("hit")).to_have_text(["mat", "mat", "warm"])
    expect(rows).to_have_count(len(TEXTS))
    expect(rows.nth(2)).to_have_attribute("aria-current", "true")
    wait_for_position(page, 2 * SECONDS_EACH)


@pytest.mark.slow
def test_five_thousand_segments_can_all_be_found_and_only_those_near_have_elements_for_words(
    page: Page, task_id: str
) -> None:
    rows = open_text(page, task_id, plain(tuple(f"this is number{number}" for number in range(5000))))
    expect(rows).to_have_count(5000)
    assert page.locator(".word").count() < 1000
    assert page.evaluate("window.find('number4999')")  # what Ctrl+F does

    page.get_by_test_id("transcript-search").fill("number4321")
    page.get_by_test_id("only-hits").uncheck()
    page.get_by_test_id("transcript-search").press("Enter")
    expect(rows.nth(4321)).to_be_in_viewport()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(844, 390), (640, 450), (390, 844)])
def test_a_low_window_shows_a_readable_part_of_the_text(page: Page, task_id: str, width: int, height: int) -> None:
    """A phone held sideways, a window of 1280 × 900 at 200 %, and a phone."""
    page.set_viewport_size({"width": width, "height": height})
    rows = open_text(page, task_id, plain(TEXTS * 10))
    expect(rows.first).to_be_in_viewport()
    expect(page.get_by_test_id("close-transcript")).to_be_in_viewport()
    rows.nth(20).get_by_test_id("segment-play").click()
    expect(rows.nth(20)).to_be_in_viewport()
    inside = """rows => rows.filter((row) => {
        const { top, bottom, left } = row.getBoundingClientRect()
        const at = (y) => row.contains(document.elementFromPoint(left + 40, y))
        return at(top + 2) && at(bottom - 2)
    }).length"""
    page.wait_for_function(f"() => ({inside})([...document.querySelectorAll('.segment')]) >= 5")
    expect(page.get_by_test_id("play")).to_be_in_viewport()


def test_a_task_that_is_deleted_elsewhere_says_so(page: Page, server: RunningServer, minute: Path) -> None:
    client = Client(server)
    doomed = client.upload(minute)["id"]
    client.wait_for(doomed, "completed")
    page.evaluate("(id) => { location.hash = `#task=${id}` }", doomed)
    expect(page.get_by_test_id("transcript").locator("h2")).to_have_text(re.compile("0042.wav"))
    client.delete(doomed)
    expect(page.get_by_test_id("transcript-missing")).to_have_text("This task has been deleted.")


def test_doubtful_places_are_marked_and_walked_through_when_they_are_wanted(opened: Locator) -> None:
    page, rows = opened.page, opened
    doubt = rows.nth(3).get_by_test_id("doubt")
    expect(doubt).to_be_hidden()
    page.get_by_test_id("doubts-switch").check()
    expect(page.get_by_test_id("doubt-count")).to_have_text("2 places")
    expect(doubt).to_be_visible()
    word = page.locator(".word.is-doubtful")
    expect(word).to_have_text("cat")
    assert "wavy" in word.evaluate(
        "word => getComputedStyle(word).textDecorationLine + getComputedStyle(word).textDecorationStyle"
    )

    page.get_by_test_id("next-doubt").click()
    wait_for_position(page, SECONDS_EACH + 2 * SECONDS_EACH / 6)
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    page.get_by_test_id("next-doubt").click()
    wait_for_position(page, 3 * SECONDS_EACH)
    page.get_by_test_id("doubts-switch").uncheck()
    expect(doubt).to_be_hidden()


@pytest.mark.slow
def test_a_segment_is_repeated_the_speed_is_kept_and_keys_move_the_player(page: Page, task_id: str) -> None:
    rows = open_text(page, task_id, plain())
    seek = page.get_by_test_id("seek")
    seek.press("ArrowRight")
    wait_for_position(page, 5)
    seek.press("PageUp")
    wait_for_position(page, 35)
    seek.press("Shift+ArrowLeft")
    wait_for_position(page, 33)
    page.get_by_test_id("back").click()
    wait_for_position(page, 31)

    page.get_by_test_id("speed").select_option("3")
    page.reload()
    expect(page.get_by_test_id("speed")).to_have_value("3")
    rows.nth(1).get_by_text("left", exact=True).click()
    page.get_by_test_id("loop").click()
    expect(page.get_by_test_id("loop")).to_have_attribute("aria-pressed", "true")
    page.evaluate("""() => { window.jumps = 0; let last = 0
        document.querySelector('video').addEventListener('timeupdate', ({ target }) => {
            if (target.currentTime < last - 1) window.jumps += 1
            last = target.currentTime }) }""")
    page.get_by_test_id("play").click()
    page.wait_for_function("() => window.jumps >= 2")
    assert page.evaluate(
        "[document.querySelector('video').playbackRate, document.querySelector('video').preservesPitch]"
    ) == [3, True]
    page.get_by_test_id("play").click()
    assert SECONDS_EACH - 0.3 <= position(page) <= 2 * SECONDS_EACH + 0.3
    rows.nth(3).get_by_test_id("segment-play").click()
    expect(page.get_by_test_id("loop")).to_have_attribute("aria-pressed", "false")
    page.get_by_test_id("play").click()
    page.get_by_test_id("speed").select_option("1")


def test_the_waveform_shows_the_whole_recording_and_its_segments_when_it_is_enlarged(opened: Locator) -> None:
    page = opened.page
    wave = page.get_by_test_id("waveform")
    expect(wave.locator("canvas").first).to_be_visible()
    box = wave.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    wait_for_position(page, 30, within=1)
    regions = "document.querySelector('.wave').firstElementChild.shadowRoot.querySelectorAll('[part~=region]').length"
    assert page.evaluate(regions) == 0
    page.get_by_test_id("zoom-in").click()
    page.get_by_test_id("zoom-in").click()
    page.get_by_text("clock", exact=True).click()
    page.wait_for_function(f"() => {regions} > 0")


@pytest.mark.slow
def test_what_could_not_be_reached_is_loaded_once_there_is_a_connection_again(page: Page, task_id: str) -> None:
    page.route("**/api/tasks/*/transcript?format=json", lambda route: route.abort())
    page.route("**/api/tasks/*/media", lambda route: route.abort())
    page.evaluate("(id) => { location.hash = `#task=${id}` }", task_id)
    expect(page.get_by_test_id("player")).to_have_attribute("data-kind", "unreachable")
    expect(page.get_by_test_id("no-media")).to_have_text(re.compile("keeps trying"))
    expect(page.get_by_test_id("text-error")).to_be_visible()
    expect(page.get_by_test_id("no-text")).to_have_count(0)

    page.unroute("**/api/tasks/*/transcript?format=json")
    page.unroute("**/api/tasks/*/media")
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.get_by_test_id("player")).to_have_attribute("data-kind", "audio")
    expect(page.get_by_test_id("segment").first).to_be_visible()


@pytest.mark.slow
def test_a_long_name_shows_its_ending_in_the_queue_and_whole_above_its_text(page: Page, task_id: str) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    name = page.locator(f'[data-testid="task"][data-task-id="{task_id}"]').get_by_test_id("open")
    box, end = name.bounding_box(), name.locator(".file-name > span").nth(1).bounding_box()
    assert box is not None
    assert end is not None
    assert end["x"] + end["width"] <= box["x"] + box["width"] + 1
    expect(name).to_contain_text("matters-0042.wav")
    open_text(page, task_id, plain())
    assert page.get_by_test_id("transcript").locator("h2").evaluate("h2 => h2.scrollWidth <= h2.clientWidth")


def test_the_same_recording_is_transcribed_again_with_other_options(page: Page, task_id: str) -> None:
    open_text(page, task_id, plain())
    page.get_by_test_id("again-open").click()
    page.get_by_test_id("again-initial_prompt").fill("patience=9")
    page.get_by_test_id("again-word_timestamps").check()
    with page.expect_request("**/again") as sent:
        page.get_by_test_id("again-start").click()
    assert sent.value.post_data_json == {"options": {"initial_prompt": "patience=9", "word_timestamps": True}}
    page.wait_for_function("(first) => location.hash !== `#task=${first}`", arg=task_id)
    expect(page.get_by_test_id("again")).to_have_count(0)


@pytest.mark.slow
def test_the_translation_is_shown_beside_the_original(page: Page, task_id: str) -> None:
    translation = {"text": "", "language": "en", "segments": [segment(2, "pour un autre tapis")]}
    page.route(
        "**/api/tasks?same_recording_as=*",
        lambda route: route.fulfill(json={"tasks": [{"id": "other", "options": {"task": "translate"}}]}),
    )
    rows = open_text(page, task_id, plain())
    page.route("**/api/tasks/other/transcript?format=json", lambda route: route.fulfill(json=translation))
    page.get_by_test_id("beside-switch").check()
    expect(rows.nth(2).get_by_test_id("beside")).to_have_text("pour un autre tapis")
    expect(page.get_by_test_id("beside")).to_have_count(1)
    page.get_by_test_id("beside-switch").uncheck()
    expect(page.get_by_test_id("beside")).to_have_count(0)


@pytest.fixture(scope="module")
def film(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The task of ten seconds of a moving picture with a tone."""
    path = tmp_path_factory.mktemp("film") / "film.webm"
    sources = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=10", "-f", "lavfi", "-i", "sine=duration=10"]
    coding = ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"]
    subprocess.run([find_ffmpeg(), "-v", "error", *sources, *coding, path], check=True, timeout=60)
    client = Client(server)
    words = quote("a line of a film that is far too long for one line of a subtitle")
    task: str = client.upload(path, initial_prompt=f"text={words}")["id"]
    client.wait_for(task, "completed")
    return task


@pytest.mark.slow
def test_a_video_has_its_subtitles_over_it_cut_as_the_person_is_about_to_have_them(page: Page, film: str) -> None:
    page.evaluate("(id) => { location.hash = `#task=${id}` }", film)
    expect(page.get_by_test_id("player")).to_have_attribute("data-kind", "video")
    expect(page.get_by_test_id("media")).to_be_visible()
    cue = "(document.querySelector('video').textTracks[0]?.cues?.[0]?.text ?? '')"
    page.wait_for_function(f"() => {cue}.includes('a film that is far too long')")
    assert page.evaluate("document.querySelector('video').textTracks[0].mode") == "showing"

    page.get_by_test_id("transcript").get_by_test_id("download").click()
    page.get_by_test_id("subtitle-options").click()
    page.get_by_test_id("subtitles-max_line_width").fill("20")
    preview = page.get_by_test_id("cue-preview").locator("p").first
    expect(preview).to_contain_text("\n")
    page.wait_for_function(f"() => {cue}.split('\\n').every((line) => line.length <= 20)")
    page.get_by_test_id("subtitles-cancel").click()
    page.wait_for_function(f"() => !{cue}.includes('\\n')")

    page.get_by_test_id("subtitles-switch").click()
    page.wait_for_function("() => document.querySelector('video').textTracks[0].mode === 'hidden'")
    page.get_by_test_id("subtitles-switch").click()
    page.get_by_test_id("full-screen").click()
    page.wait_for_function("() => document.fullscreenElement?.controls === true")
    page.evaluate("document.exitFullscreen()")


def test_another_model_is_asked_to_do_the_selected_segments_again(opened: Locator) -> None:
    page, rows = opened.page, opened
    page.route("**/edits/retranscribe", lambda route: route.fulfill(status=202, json={"task": {}}))
    drag(page, rows.nth(1).locator(".word").first, rows.nth(2).locator(".word").first)
    page.get_by_test_id("redo-open").click()
    expect(page.get_by_test_id("redo-selected")).to_be_checked()
    expect(page.get_by_test_id("redo-dialog")).to_contain_text("The 2 selected segments")
    page.get_by_test_id("redo-model").select_option("tiny")
    with page.expect_request("**/edits/retranscribe") as sent:
        page.get_by_test_id("redo-start").click()
    assert sent.value.post_data_json == {"base": 0, "segments": [1, 2], "model": "tiny"}

    rows.nth(0).get_by_test_id("segment-text").click(click_count=3)
    page.get_by_test_id("redo-open").click()
    expect(page.get_by_test_id("redo-dialog")).to_contain_text("The selected segment")
    page.get_by_test_id("redo-doubtful").check()
    with page.expect_request("**/edits/retranscribe") as sent:
        page.get_by_test_id("redo-start").click()
    assert (sent.value.post_data_json or {})["segments"] == [1, 3]
    page.unroute("**/edits/retranscribe")
