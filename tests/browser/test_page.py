"""The page in a real Chromium against a running server, as a person uses it.

`live_server` (conftest) is the server's address. Files get a name of their own in every test, so that tests can share
one server.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.uploading import LONGER, MINUTE, SHORT, expect_status, recording, task, upload, upload_and_wait
from version import PRODUCT_NAME
from whisper_core.text.formats import FORMATS

pytestmark = pytest.mark.browser

# Takes note of every line of live text, however soon it is followed by the next one.
NOTE_LIVE_TEXT = """() => {
    window.seenLines = new Set()
    new MutationObserver(() => document.querySelectorAll('[data-testid=live-text]:not(.is-empty)')
        .forEach((line) => window.seenLines.add(line.textContent)))
        .observe(document.body, {childList: true, subtree: true, characterData: true, attributes: true})
}"""


# Stands in for the browser's notifications, which a headless one does not show, and for a tab in the background.
NOTE_NOTIFICATIONS = """
    window.told = []
    window.Notification = class {
        static permission = 'granted'
        static requestPermission = async () => 'granted'
        constructor(text) { window.told.push(text) }
    }
    Object.defineProperty(Document.prototype, 'hidden', {get: () => window.isAway === true})
"""


def test_three_recordings_show_their_text_while_it_comes_and_end_completed(page: Page) -> None:
    page.evaluate(NOTE_LIVE_TEXT)
    upload(
        page,
        ("three-minute.flac", recording(MINUTE)),
        ("three-longer.flac", recording(LONGER)),
        ("three-short.flac", recording(SHORT)),
    )
    for filename in ("three-minute.flac", "three-longer.flac", "three-short.flac"):
        expect_status(page, filename, "completed")

    assert page.evaluate("window.seenLines.size") > 0
    expect(page.get_by_test_id("upload")).to_have_count(0)


def test_a_click_and_enter_on_a_segment_s_button_move_the_player(page: Page) -> None:
    upload_and_wait(page, "player.flac", MINUTE)
    task(page, "player.flac").get_by_test_id("open").click()
    segments = page.get_by_test_id("segment")
    expect(segments.nth(2)).to_be_visible()
    expect(page.get_by_test_id("player")).to_have_attribute("data-kind", "audio")
    expect(page.get_by_test_id("memory")).to_have_text(re.compile(r"Memory: [\d.]+ MB reserved, [\d.]+ MB used"))

    segments.nth(2).get_by_test_id("segment-play").click()
    start = float(segments.nth(2).get_attribute("data-start") or "0")
    page.wait_for_function("(start) => Math.abs(document.querySelector('video').currentTime - start) < 3", arg=start)
    expect(segments.nth(2)).to_have_attribute("aria-current", "true")

    segments.nth(2).get_by_test_id("segment-play").press("ArrowUp")
    expect(segments.nth(1).get_by_test_id("segment-play")).to_be_focused()
    page.keyboard.press("Enter")
    start = float(segments.nth(1).get_attribute("data-start") or "0")
    page.wait_for_function("(start) => Math.abs(document.querySelector('video').currentTime - start) < 3", arg=start)

    page.keyboard.press("Escape")
    expect(page.get_by_test_id("transcript")).to_have_count(0)


def test_every_format_is_offered_and_downloads_under_the_recordings_name(page: Page, tmp_path: Path) -> None:
    upload_and_wait(page, "formats.flac")
    for transcript_format in ("txt", "srt", "vtt", "tsv", "json"):
        task(page, "formats.flac").get_by_test_id("download").click()
        expect(page.locator("[data-testid^=download-]:is(a)")).to_have_count(len(FORMATS))
        with page.expect_download() as download:
            page.get_by_test_id(f"download-{transcript_format}").click()
        assert download.value.suggested_filename == f"formats.{transcript_format}"
        target = tmp_path / transcript_format
        download.value.save_as(target)
        assert target.stat().st_size > 0


def test_the_keyboard_chooses_how_subtitles_are_cut_and_the_browser_remembers_it(page: Page, tmp_path: Path) -> None:
    upload_and_wait(page, "cut.flac")
    task(page, "cut.flac").get_by_test_id("download").press("Enter")
    expect(page.get_by_test_id("download-txt")).to_be_focused()
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("subtitles-max_line_width")).to_be_focused()
    page.keyboard.type("10")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("subtitles")).to_have_count(0)
    expect(task(page, "cut.flac").get_by_test_id("download")).to_be_focused()

    page.reload()
    translation = {"tasks": [{"id": "other", "options": {"task": "translate"}}]}
    page.route("**/api/tasks?same_recording_as=*", lambda route: route.fulfill(json=translation))
    task(page, "cut.flac").get_by_test_id("download").click()
    address = page.get_by_test_id("bilingual-srt").get_attribute("href") or ""
    assert address.endswith("transcript?format=srt&max_line_width=10&bilingual=other&download=true")
    with page.expect_download() as download:
        page.get_by_test_id("download-srt").click()
    download.value.save_as(tmp_path / "cut.srt")
    words = (tmp_path / "cut.srt").read_text().splitlines()[2:]
    assert len(words) > 2
    assert all(len(line) <= 10 or " " not in line for line in words if "-->" not in line)


def test_a_selection_downloads_as_one_zip(page: Page, tmp_path: Path) -> None:
    upload(page, ("zip-a.flac", recording(SHORT)), ("zip-b.flac", recording(SHORT)))
    for filename in ("zip-a.flac", "zip-b.flac"):
        expect_status(page, filename, "completed")
        task(page, filename).get_by_test_id("select").check()
    expect(page.get_by_test_id("selection-count")).to_have_text("2 selected")

    page.get_by_test_id("zip").click()
    with page.expect_download() as download:
        page.get_by_test_id("zip-srt").click()
    archive = tmp_path / "transcripts.zip"
    download.value.save_as(archive)
    with zipfile.ZipFile(archive) as members:
        assert len(members.namelist()) == 2
        assert all(name.endswith(".srt") for name in members.namelist())


def test_a_task_can_be_cancelled_begun_anew_and_deleted(page: Page) -> None:
    upload(page, *((f"stop-{number}.flac", recording(MINUTE)) for number in range(6)))
    last = task(page, "stop-5.flac")
    last.get_by_test_id("cancel").click(timeout=30_000)
    expect_status(page, "stop-5.flac", "cancelled")

    last.get_by_test_id("retry").click()
    expect(last).to_have_attribute("data-status", re.compile("pending|processing|completed"))

    for number in range(6):
        task(page, f"stop-{number}.flac").get_by_test_id("select").check()
    page.get_by_test_id("delete-selected").click()
    page.get_by_test_id("confirm-yes").click()
    expect(page.locator('[data-testid="task"][data-filename^="stop-"]')).to_have_count(0, timeout=30_000)


def test_deleting_asks_first_and_keeps_the_task_when_told_so(page: Page) -> None:
    upload_and_wait(page, "kept.flac")
    task(page, "kept.flac").get_by_test_id("delete").click()
    page.get_by_test_id("confirm-no").click()
    expect(page.get_by_test_id("confirm")).to_have_count(0)
    expect(task(page, "kept.flac")).to_be_visible()


def test_a_refused_file_says_why_and_the_others_go_on(page: Page) -> None:
    upload(page, ("refused.txt", b"This is no sound. " * 50), ("empty.mp3", b""), ("beside.flac", recording(SHORT)))
    refused = page.locator('[data-testid="upload"][data-filename="refused.txt"]')
    expect(refused).to_have_attribute("data-phase", "refused", timeout=30_000)
    expect(refused.get_by_test_id("refusal")).to_contain_text("not an audio or video file")
    expect(page.locator('[data-filename="empty.mp3"]').get_by_test_id("refusal")).to_have_text("The file is empty.")
    expect(page.get_by_test_id("toast").first).to_contain_text("was rejected")
    expect_status(page, "beside.flac", "completed")

    refused.get_by_test_id("upload-remove").click()
    expect(refused).to_have_count(0)


def test_an_upload_whose_connection_stood_still_goes_on_by_itself(page: Page) -> None:
    """Such as of a laptop that was closed for a while: the server has answered 408 meanwhile."""
    timed_out: list[str] = []

    def time_out_once(route: Route) -> None:
        if timed_out or route.request.method != "PATCH":
            return route.continue_()
        timed_out.append(route.request.url)
        return route.fulfill(status=408, json={"error": {"code": "timeout", "message": "It took too long."}})

    page.route("**/api/uploads/*", time_out_once)
    upload(page, ("lid.flac", recording(SHORT)))
    expect_status(page, "lid.flac", "completed")
    assert len(timed_out) == 1
    expect(page.get_by_test_id("upload")).to_have_count(0)


def test_a_recording_that_is_cut_off_says_so_in_both_languages(page: Page) -> None:
    data = recording(SHORT)
    upload(page, ("cut.flac", data[: len(data) * 2 // 3]))
    expect_status(page, "cut.flac", "completed")
    warning = task(page, "cut.flac").get_by_test_id("task-warning")
    expect(warning).to_have_text("Damaged: 0:01 of 0:02 readable")
    page.get_by_test_id("language-zh").check(force=True)
    expect(warning).to_have_text("已损坏：0:02 中可读取 0:01")


def test_words_in_the_reader_s_language_are_kept_over_a_reload(page: Page) -> None:
    page.get_by_test_id("language-zh").check(force=True)
    expect(page.get_by_role("heading", name="队列")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    upload(page, ("chinese.txt", b"This is no sound. " * 50))
    expect(page.get_by_test_id("refusal").first).to_contain_text("这不是能读取的音频或视频文件")
    page.get_by_test_id("upload-remove").first.click()

    page.reload()
    expect(page.get_by_role("heading", name="队列")).to_be_visible()


def test_the_browsers_language_decides_first(browser: Browser, live_server: str) -> None:
    context = browser.new_context(locale="zh-CN")
    chinese = context.new_page()
    chinese.goto(live_server)
    expect(chinese.get_by_test_id("choose-files")).to_have_text("选择文件")
    context.close()


def test_dark_and_light_follow_the_system_until_one_is_chosen(page: Page) -> None:
    root = page.locator("html")
    page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_test_id("theme-light").check(force=True)
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_nothing_is_wider_than_the_window(page: Page) -> None:
    filename = f"{'a rather long name without end ' * 4}.flac"
    upload_and_wait(page, filename)
    overhang = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width in (360, 768, 1440, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(overhang) <= 0, width
        task(page, filename).get_by_test_id("open").click()
        expect(page.get_by_test_id("segment").first).to_be_visible()
        assert page.evaluate(overhang) <= 0, width
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("transcript")).to_have_count(0)


def test_a_second_tab_shows_the_same(page: Page, live_server: str) -> None:
    other = page.context.new_page()
    other.goto(live_server)
    expect(other.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    upload(page, ("tabs.flac", recording(SHORT)))
    expect_status(other, "tabs.flac", "completed")

    task(other, "tabs.flac").get_by_test_id("delete").click()
    other.get_by_test_id("confirm-yes").click()
    expect(task(page, "tabs.flac")).to_have_count(0)


def test_what_is_done_is_told_to_whoever_looks_elsewhere(page: Page) -> None:
    page.add_init_script(NOTE_NOTIFICATIONS)
    page.reload()
    page.get_by_test_id("notify").click()
    expect(page.get_by_test_id("notify")).to_have_attribute("aria-pressed", "true")
    page.evaluate("window.isAway = true")
    upload_and_wait(page, "told.flac")
    expect(page.get_by_test_id("announcement")).to_contain_text("told.flac is done.")
    page.wait_for_function("window.told.length > 0")
    assert page.evaluate("window.told[0]").startswith("told.flac is done.")
    expect(page).to_have_title(re.compile("^✓ 1 "))
    page.evaluate("window.isAway = false, document.dispatchEvent(new Event('visibilitychange'))")
    expect(page).to_have_title(re.compile("^[^✓]"))


def test_a_reload_shows_the_open_transcript_again(page: Page) -> None:
    upload_and_wait(page, "reload.flac")
    task(page, "reload.flac").get_by_test_id("open").click()
    text = page.get_by_test_id("segments").inner_text()
    assert text.strip() != ""

    page.reload()
    expect(page.get_by_test_id("segments")).to_have_text(text, use_inner_text=True)
    expect_status(page, "reload.flac", "completed")


def test_what_happened_without_a_connection_is_there_after_it_returns(
    page: Page, browser: Browser, live_server: str
) -> None:
    page.context.set_offline(True)
    expect(page.get_by_test_id("lost")).to_be_visible(timeout=60_000)
    elsewhere = browser.new_context(locale="en-US")
    other = elsewhere.new_page()
    other.goto(live_server)
    upload_and_wait(other, "missed.flac")
    elsewhere.close()

    page.context.set_offline(False)
    expect_status(page, "missed.flac", "completed", timeout=30_000)
    expect(page.get_by_test_id("lost")).to_have_count(0)


def test_behind_a_proxy_that_changes_the_host_the_page_polls_and_says_why(browser: Browser, live_server: str) -> None:
    context = browser.new_context(locale="en-US")
    page = context.new_page()

    def with_another_host(route: Route) -> None:
        answer = route.fetch()
        seen = live_server.removeprefix("http://")
        route.fulfill(response=answer, body=answer.text().replace(f'data-host="{seen}"', 'data-host="inside:5552"'))

    page.route(f"{live_server}/", with_another_host)
    sockets: list[object] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.goto(live_server)
    expect(page.get_by_test_id("no-host")).to_contain_text("does not pass the Host header on")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "polled")
    expect(page.get_by_test_id("option-model")).to_be_enabled()  # the models were read
    assert sockets == []
    context.close()


def test_the_list_can_be_narrowed_by_state_and_by_words(page: Page) -> None:
    upload_and_wait(page, "needle-in-a-haystack.flac")
    page.get_by_test_id("search").fill("needle-in")
    expect(page.get_by_test_id("task")).to_have_count(1)
    page.get_by_test_id("filter-failed").click()
    expect(page.get_by_test_id("no-match")).to_be_visible()
    page.get_by_test_id("show-all").click()
    expect(task(page, "needle-in-a-haystack.flac")).to_be_visible()
    expect(page.get_by_test_id("search")).to_have_value("")


def test_a_file_name_is_only_ever_text(page: Page) -> None:
    """Markup in a name is shown, never run."""
    filename = "<img src=x onerror=document.title='run'>.flac"
    upload(page, (filename, recording(SHORT)))
    expect(page.get_by_text(filename).first).to_be_visible()
    assert page.title().endswith(PRODUCT_NAME)


def test_beside_a_queue_the_intake_is_narrow_and_what_was_dropped_is_in_view(page: Page) -> None:
    upload_and_wait(page, "slim.flac")
    intake = page.get_by_test_id("intake")
    expect(intake).to_have_class(re.compile("is-slim"))
    box = intake.bounding_box()
    assert box is not None
    assert box["height"] < 170
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    upload_and_wait(page, "slim-too.flac")
    expect(task(page, "slim-too.flac")).to_be_in_viewport()
    assert page.evaluate("document.activeElement === document.body")


def test_on_a_narrow_window_the_options_unfold(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_test_id("option-model")).to_have_count(0)
    page.get_by_test_id("options-summary").click()
    expect(page.get_by_test_id("option-model")).to_be_visible()
    page.get_by_test_id("option-more").click()
    expect(page.get_by_test_id("option-prompt")).to_be_visible()


def test_the_mode_is_chosen_with_its_cost_and_shown_with_the_task_and_its_text(page: Page) -> None:
    page.get_by_test_id("option-more").click()
    page.get_by_test_id("option-mode").select_option("vad")
    expect(page.get_by_test_id("model-hint")).to_contain_text("not exactly openai-whisper")
    upload_and_wait(page, "fast.flac")
    expect(task(page, "fast.flac").get_by_test_id("task-mode")).to_have_text("Fast")
    task(page, "fast.flac").get_by_test_id("open").click()
    expect(page.get_by_test_id("transcript").get_by_test_id("task-mode")).to_have_text("Fast")


def test_advanced_options_are_folded_away_and_sent_with_the_upload(page: Page) -> None:
    page.get_by_test_id("option-more").click()
    expect(page.get_by_test_id("option-hotwords")).to_be_hidden()
    page.get_by_test_id("option-advanced").click()
    page.get_by_test_id("option-hotwords").fill("Ångström")
    page.get_by_test_id("option-beam_size").fill("5")
    page.get_by_test_id("option-condition_on_previous_text").check()
    page.get_by_test_id("option-vad_filter").check()
    expect(page.get_by_test_id("option-changed")).to_have_text("4 changed")
    page.get_by_test_id("option-no_speech_threshold").fill("2")
    upload(page, ("advanced.flac", recording(SHORT)))
    at_field = page.get_by_test_id("error-no_speech_threshold")
    expect(at_field).to_have_text("Must be a number from 0 to 1, or none.")
    page.get_by_test_id("option-no_speech_threshold").fill("none")
    expect(at_field).to_have_count(0)
    page.get_by_test_id("upload-again").click()
    expect_status(page, "advanced.flac", "completed")
    sent = page.evaluate(
        "async () => (await (await fetch('/api/tasks')).json()).tasks.find((each) => each.filename === 'advanced.flac')"
    )
    usual = ("model", "language", "task", "initial_prompt", "word_timestamps", "temperature", "mode")
    assert {name: value for name, value in sent["options"].items() if name not in usual} == {
        "hotwords": "Ångström", "beam_size": 5, "condition_on_previous_text": False, "vad_filter": True,
        "no_speech_threshold": None,
    }  # fmt: skip
    page.get_by_test_id("option-reset").click()
    expect(page.get_by_test_id("option-vad_filter")).not_to_be_checked()
    page.get_by_test_id("option-mode").select_option("vad")
    expect(page.get_by_test_id("option-vad_filter")).to_be_disabled()


def test_models_are_offered_by_precision_and_an_int8_one_says_what_it_costs(page: Page) -> None:
    model, device = page.get_by_test_id("option-model"), page.get_by_test_id("option-device")
    groups = model.locator("optgroup")
    expect(groups).to_have_count(2)
    expect(groups.nth(1).locator("option").first).to_have_text(re.compile(r"^tiny\.en-int8 · 76 MB · ready"))
    expect(groups.nth(0).locator('option[value="base"]')).to_contain_text("4.1% word error rate")
    model.select_option("tiny.en-int8")
    expect(page.get_by_test_id("model-hint")).to_contain_text("can differ from openai-whisper")
    expect(device.locator("option")).to_have_count(2)
    model.select_option("large-v1-int8")
    expect(page.get_by_test_id("model-hint")).to_contain_text("large-v1 (3.1 GB) is not downloaded yet")


def test_a_model_that_was_brought_in_vain_is_listed_with_its_fault_in_both_languages(page: Page) -> None:
    def with_broken(route: Route) -> None:
        reason = "It cannot be used: mine.pt is cut off."
        body = route.fetch().json() | {"broken_models": [{"name": "mine", "fault": "damaged", "reason": reason}]}
        route.fulfill(json=body)

    page.route("**/api/models", with_broken)
    page.reload()
    page.get_by_test_id("option-more").click()
    broken = page.get_by_test_id("broken-models").locator("li")
    expect(broken).to_have_text(
        "mine in MODELS_DIR is not offered (damaged or incomplete). It cannot be used: mine.pt is cut off."
    )
    page.get_by_test_id("language-zh").check(force=True)
    expect(broken).to_contain_text("mine 不能作为模型使用：文件已损坏或不完整。")


def test_a_finished_text_says_in_which_precision_it_was_computed(page: Page) -> None:
    precision = page.get_by_test_id("transcript").get_by_test_id("task-precision")
    for model, name, expected in (("tiny.en", "precise.flac", "fp32"), ("tiny.en-int8", "packed.flac", "int8")):
        page.get_by_test_id("option-model").select_option(model)
        upload_and_wait(page, name)
        task(page, name).get_by_test_id("open").click()
        expect(precision).to_have_text(expected)
        expect(task(page, name).get_by_test_id("task-precision")).to_have_count(0)
        page.get_by_test_id("close-transcript").click()

    page.get_by_test_id("view-system").click()
    row = page.locator('[data-testid="model-row"][data-model="tiny.en"]')
    expect(row).to_have_text(re.compile(r"^tiny\.en.+12\.3%readyfp32 or fp1676 MB$"))
    expect(page.get_by_test_id("model-row")).to_have_count(24)


def test_the_focus_goes_along_when_a_task_moves_to_another_group(page: Page) -> None:
    upload(page, ("moves.flac", recording(SHORT)))
    task(page, "moves.flac").get_by_test_id("open").focus()
    expect_status(page, "moves.flac", "completed")
    expect(task(page, "moves.flac").get_by_test_id("open")).to_be_focused()

    page.keyboard.press("Enter")
    expect(page.get_by_test_id("transcript")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("transcript")).to_have_count(0)
    expect(task(page, "moves.flac").get_by_test_id("open")).to_be_focused()


def test_the_system_view_tells_what_the_machine_and_a_task_did(page: Page) -> None:
    upload_and_wait(page, "measured.flac")
    page.get_by_test_id("view-system").click()
    for name in ("plot-memory-cpu", "plot-queue", "plot-throughput", "plot-waits", "plot-speeds"):
        expect(page.locator(f'[data-testid="{name}"] canvas')).to_be_visible(timeout=30_000)
    expect(page.locator('[data-testid="slots"][data-device="cpu"]')).to_be_visible()
    expect(page.get_by_test_id("log-line").first).to_be_visible()
    decision = page.get_by_test_id("event").filter(has_text="measured.flac").first
    expect(decision).to_contain_text("started on cpu with tiny.en", timeout=30_000)
    expect(page.get_by_test_id("system-error")).to_have_count(0)

    decision.get_by_role("link").click()
    page.get_by_test_id("timeline").locator("summary").click()
    codes = page.get_by_test_id("steps").locator("[data-code]")
    expect(codes.first).to_have_attribute("data-code", "uploaded")
    expect(codes.last).to_have_attribute("data-code", "completed")
    assert {"decoded", "started"} <= {each.get_attribute("data-code") for each in codes.all()}


def test_a_limit_is_changed_on_the_system_view(page: Page, live_server: str) -> None:
    page.get_by_test_id("view-system").click()
    stepper = page.get_by_test_id("limit-max_batch_size")
    before = int(stepper.get_by_test_id("value").input_value())
    with page.expect_response(f"{live_server}/api/system") as answer:
        stepper.get_by_test_id("less" if before > 1 else "more").click()
    after = before - 1 if before > 1 else before + 1
    assert answer.value.json()["limits"]["max_batch_size"] == after
    expect(stepper.get_by_test_id("value")).to_have_value(str(after))
