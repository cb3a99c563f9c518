"""The page for people who use it by keyboard, by ear, enlarged, or in the colours of their system.

Each test leads one page through its states, which tests/browser/states.py has.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.axe import violations
from tests.browser.conftest import watch_for_faults
from tests.browser.states import SOUND, held, states
from tests.browser.uploading import task, upload
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.browser

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAYS: tuple[dict[str, Any], ...] = (
    {"viewport": NARROW, "color_scheme": "dark"},
    {"viewport": WIDE, "color_scheme": "dark"},
    {"viewport": NARROW, "color_scheme": "light", "locale": "zh-CN"},
    {"viewport": WIDE, "forced_colors": "active"},
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server with an empty queue, where what arrives is dealt with at once."""
    with RunningServer(tmp_path, "settled") as server:
        yield server.address


@pytest.fixture
def ways() -> dict[str, Any]:
    return {"viewport": WIDE}


@pytest.fixture
def page(browser: Browser, server: str, ways: dict[str, Any]) -> Iterator[Page]:
    # axe writes styles of its own, which the page's policy forbids; the other tests see that the page keeps to it.
    context = browser.new_context(bypass_csp=True, **{"locale": "en-US", "reduced_motion": "reduce", **ways})
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(server)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


def in_every_state(page: Page) -> dict[str, list[str]]:
    found = {state: violations(page) for state in states(page)}
    return {state: each for state, each in found.items() if each}


def test_axe_finds_nothing_in_any_state(page: Page) -> None:
    assert in_every_state(page) == {}


@pytest.mark.slow
@pytest.mark.parametrize("ways", WAYS)
def test_axe_finds_nothing_in_any_state_in_other_windows_and_colours(page: Page) -> None:
    assert in_every_state(page) == {}


# Texts and labels with three English words in a row, apart from what the server has in English only and says so.
ENGLISH = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    const texts = []
    while (walker.nextNode()) {
        const {data, parentElement} = walker.currentNode
        if (!parentElement.closest('[lang=en], script, noscript')) texts.push(data)
    }
    for (const each of document.querySelectorAll('[aria-label], [title], [placeholder]'))
        texts.push(each.getAttribute('aria-label'), each.title, each.getAttribute('placeholder'))
    return texts.filter((text) => /[a-z]{2,} [a-z]{2,} [a-z]{2,}/i.test(text ?? ''))
}"""
SPOKEN = ("old clock struck", "cat left", "by the old", "spoken so far", "Somebody else was here")


@pytest.mark.slow
@pytest.mark.parametrize("ways", [{"viewport": WIDE, "locale": "zh-CN"}])
def test_nothing_is_left_in_english_on_a_chinese_page(page: Page) -> None:
    found = {text for _ in states(page) for text in page.evaluate(ENGLISH)}
    assert [text for text in found if not any(words.lower() in text.lower() for words in SPOKEN)] == []


# --- on one page of a server with one text, which no test changes ---------------------------------------------------

GERMAN = {"language.name": "Deutsch", "queue.title": "Warteschlange", "queue.all": "Alle"}
# The elements of a selector that are seen, as their own words.
SEEN = """selector => [...document.querySelectorAll(selector)].filter((each) => each.checkVisibility()
    && getComputedStyle(each).opacity !== '0').map((each) => each.innerText.trim() || each.outerHTML.slice(0, 80))"""
# Whatever is pressed or filled in; a time and a speaker are printed as the words that they are.
CONTROLS = "button:not(.segment-play, .speaker-change), input, select, audio, video, canvas, [role=slider]"


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RunningServer(tmp_path_factory.mktemp("settled"), "settled") as server, server.outliving_tests():
        answer = requests.post(f"{server.address}/api/tasks", files={"file": ("talk.flac", SOUND)}, timeout=30)
        task_id = answer.json()["task"]["id"]
        named = [
            {"kind": "set_speaker", "segments": [0, 1], "speaker": "S1"},
            {"kind": "name_speaker", "speaker": "S1", "name": "Ann"},
        ]
        edits: dict[str, Any] = {"base": 0, "edits": named}
        requests.post(f"{server.address}/api/tasks/{task_id}/edits", json=edits, timeout=30).raise_for_status()
        yield server.address


@pytest.fixture(scope="module")
def shared_context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900}, color_scheme="dark")
    yield context
    context.close()


@pytest.fixture
def text(shared_context: BrowserContext, settled: str) -> Iterator[Page]:
    """With the text open."""
    page = shared_context.new_page()
    faults = watch_for_faults(page)
    page.goto(settled)
    task(page, "talk.flac").get_by_test_id("open").click()
    expect(page.get_by_test_id("segment")).to_have_count(3)
    yield page
    page.close()
    assert faults == []


def test_an_open_text_is_printed_with_times_and_speakers_and_nothing_to_press(text: Page) -> None:
    text.emulate_media(media="print")
    assert text.evaluate(SEEN, CONTROLS) == []
    seen = text.locator("body").inner_text().split("\n")
    words = [line.strip() for line in seen if line.strip()]
    assert words == [
        *("talk.flac", "Ann", "0:00", "The old clock struck", "0:02", "and the cat left the mat"),
        *("0:04", "by the old stove."),
    ]
    assert text.locator("body").evaluate("body => getComputedStyle(body).color") == "rgb(0, 0, 0)"


def test_a_shared_text_is_printed_in_the_same_way_and_axe_finds_nothing(browser: Browser, settled: str) -> None:
    (first,) = requests.get(f"{settled}/api/tasks", timeout=30).json()["tasks"]
    made = requests.post(f"{settled}/api/tasks/{first['id']}/shares", json={"media": True}, timeout=30).json()
    context = browser.new_context(locale="zh-CN", bypass_csp=True)
    page = context.new_page()
    page.goto(f"{settled}/{made['path']}")
    expect(page.get_by_text("下载：")).to_be_visible()
    expect(page.get_by_text("Download:")).to_be_hidden()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        assert violations(page) == []
    page.emulate_media(media="print")
    assert page.evaluate(SEEN, CONTROLS) == []
    seen = " ".join(page.locator("body").inner_text().split())
    assert seen == "talk Ann 0:00 The old clock struck 0:02 and the cat left the mat 0:04 by the old stove."
    context.close()


def test_a_language_is_one_file_and_what_it_lacks_is_english(text: Page, settled: str) -> None:
    def add_german(route: Route) -> None:
        response = route.fetch()
        known = re.search('data-languages="([^"]+)"', response.text())
        assert known is not None
        languages = json.loads(html.unescape(known[1]))
        languages["de"] = {"name": "Deutsch", "short": "DE", "locale": "de", "direction": "rtl"}
        more = html.escape(json.dumps(languages), quote=True)
        route.fulfill(response=response, body=response.text().replace(known[1], more))

    text.route(f"{settled}/", add_german)
    text.route("**/static/text/de.json", lambda route: route.fulfill(json=GERMAN))
    text.goto(settled)
    text.get_by_test_id("language").get_by_text("DE").click()
    expect(text.get_by_role("heading", name="Warteschlange")).to_be_visible()
    expect(text.get_by_test_id("choose-files")).to_have_text("Choose files")
    expect(text.locator("html")).to_have_attribute("lang", "de")
    expect(text.locator("html")).to_have_attribute("dir", "rtl")
    text.reload()
    expect(text.get_by_role("heading", name="Warteschlange")).to_be_visible()
    text.get_by_test_id("language-en").check(force=True)
    expect(text.locator("html")).to_have_attribute("dir", "ltr")


# Whether the focused element, or the label that stands for it, shows that it is.
FOCUSED = """() => {
    const here = document.activeElement
    const shown = [here, here.closest('label')].filter(Boolean).map((each) => getComputedStyle(each))
    const hasRing = ({outlineStyle, outlineWidth}) => outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2
    return {key: here.tabStop, name: here.outerHTML.slice(0, 100), isMarked: shown.some(hasRing)}
}"""
# Numbers everything that the tab key should reach: of radio buttons the chosen one.
NUMBER_STOPS = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter((each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility()
        && (each.type !== 'radio' || each.checked))
    .map((each, index) => { each.tabStop = index; return each.outerHTML.slice(0, 100) })"""


def test_every_control_is_reached_by_the_tab_key_and_shows_it(text: Page) -> None:
    text.get_by_test_id("filter").click()
    text.get_by_test_id("select").check()
    text.get_by_test_id("edit").click()
    stops = text.evaluate(NUMBER_STOPS)
    text.locator(".skip").focus()
    text.keyboard.press("Tab")  # from now on the focus is moved by keys
    text.keyboard.press("Shift+Tab")
    reached, unmarked = {}, set()
    for _ in range(3 * len(stops)):  # a date is several stops
        here = text.evaluate(FOCUSED)
        if "key" in here:
            reached[here["key"]] = here["name"]
        if not here["isMarked"] and "segment-field" not in here["name"]:
            unmarked.add(here["name"])
        if len(reached) == len(stops):
            break
        text.keyboard.press("Tab")
    assert [name for index, name in enumerate(stops) if index not in reached] == []
    assert unmarked == set()


CHOSEN = {
    ".views a": "[aria-current]",
    ".tab": "[aria-pressed=true]",
    "[data-testid=language] label": ":has(:checked)",
    "[data-testid=edit-bar] button.small": "[aria-pressed=true]",
}


def test_what_is_chosen_is_seen_in_forced_colours(text: Page) -> None:
    text.emulate_media(forced_colors="active")
    text.get_by_test_id("edit").click()
    text.get_by_test_id("filter-completed").click()
    highlight = text.evaluate(
        "() => { const each = document.createElement('p'); each.style.forcedColorAdjust = 'none';"
        " each.style.background = 'Highlight'; document.body.append(each);"
        " const colour = getComputedStyle(each).backgroundColor; each.remove(); return colour }"
    )
    for kind, chosen in CHOSEN.items():
        expect(text.locator(f"{kind}{chosen}").first).to_have_css("background-color", highlight)
        if text.locator(f"{kind}:not({chosen})").count():
            expect(text.locator(f"{kind}:not({chosen})").first).not_to_have_css("background-color", highlight)
    assert text.locator(".task.is-open").evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    for box in (text.get_by_test_id("doubts-switch"), text.get_by_test_id("select")):
        assert box.evaluate("each => getComputedStyle(each).appearance") == "auto"


def test_nothing_moves_for_whoever_wants_less_motion(text: Page) -> None:
    text.emulate_media(reduced_motion="reduce")
    longest = """() => Math.max(...[...document.querySelectorAll('*')].flatMap((each) => {
        const {transitionDuration, animationDuration} = getComputedStyle(each)
        return [transitionDuration, animationDuration].flatMap((all) => all.split(',')).map(parseFloat) }))"""
    assert text.evaluate(longest) <= 0.001  # seconds
    text.emulate_media(reduced_motion="no-preference")
    assert text.evaluate(longest) > 0.1


def test_uploads_and_what_a_search_finds_are_said_aloud(text: Page) -> None:
    text.get_by_test_id("search").fill("nowhere")
    expect(text.get_by_test_id("found-count")).to_have_text("No matches")
    text.get_by_test_id("search").fill("stove")
    expect(text.get_by_test_id("found-count")).to_have_text("1 match")
    with held(text, re.compile("/api/uploads")):
        upload(text, ("later.flac", SOUND))
        expect(text.get_by_test_id("announcement")).to_have_text("Uploading 1 file.")
        text.get_by_test_id("upload-remove").click()
    expect(text.get_by_test_id("announcement")).to_have_text("Uploads have ended.")


def test_at_200_percent_the_text_is_read_without_scrolling_sideways(text: Page) -> None:
    text.set_viewport_size({"width": 640, "height": 450})  # what 1280 by 900 leaves
    assert text.evaluate("document.documentElement.scrollWidth <= innerWidth")
    first = text.get_by_test_id("segment-text").first
    expect(first).to_be_in_viewport()
    text.get_by_test_id("segment-play").first.press("Escape")
    expect(text.get_by_test_id("transcript")).to_have_count(0)
    assert text.evaluate("document.documentElement.scrollWidth <= innerWidth")
