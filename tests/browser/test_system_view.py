"""The System view of a busy server in a real Chromium: a real web package whose answers about the system are made up.

That the real server answers in these shapes is seen in test_page.py, where the view is opened on the real program.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browser import fake_load
from tests.browser.axe import violations
from tests.browser.conftest import watch_for_faults
from tests.browser.uploading import task, upload
from version import PRODUCT_NAME

pytestmark = pytest.mark.browser

PLOTS = (
    "plot-memory-cuda:0",
    "plot-memory-cuda:1",
    "plot-queue",
    "plot-throughput",
    "plot-waits",
    "plot-speeds",
)
MOST_TASKS = 14
# How many pixels of a plot's canvas have a colour.
PAINTED = """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    .filter((value, index) => index % 4 === 3 && value > 0).length"""
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class BusyServer:
    """Answers for the system in the server's place."""

    def __init__(self) -> None:
        self.limits = {"max_concurrent_tasks": 11, "max_batch_size": 6}
        self.has_samples = True

    def attach(self, page: Page) -> None:
        page.route(re.compile(r"/api/system$"), self._system)
        page.route(re.compile(r"/api/system/\w+(\?|$)"), self._part)
        page.route(re.compile(r"/api/tasks\?"), self._list)
        page.route(re.compile(r"/api/tasks/\w+/timeline$"), self._timeline)

    def _system(self, route: Route, request: Request) -> None:
        if request.method == "PATCH":
            wanted: dict[str, int] = request.post_data_json or {}
            if wanted.get("max_concurrent_tasks", 1) > MOST_TASKS:
                message = f"At most {MOST_TASKS} tasks may run at the same time."
                error = {"code": "invalid_option", "message": message, "field": None, "request_id": "r"}
                route.fulfill(status=422, json={"error": error})
                return
            self.limits |= wanted
        route.fulfill(json={**route.fetch(method="GET").json(), **fake_load.system({}, self.limits)})

    def _list(self, route: Route) -> None:
        """The page takes the number of tasks from whichever answer comes last, a list's too."""
        counts = fake_load.system({}, self.limits)["counts"]
        route.fulfill(json={**route.fetch().json(), "counts": counts})

    def _part(self, route: Route, request: Request) -> None:
        address = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        route.fulfill(json=self._answer(address.path.rsplit("/", 1)[1], query, time.time()))

    def _answer(self, part: str, query: dict[str, str], now: float) -> dict[str, Any]:
        if part == "history":
            return fake_load.history(now, float(query["hours"])) if self.has_samples else {"samples": [], "changes": []}
        if part == "storage":
            return fake_load.storage()
        if part == "log":
            return fake_load.log_lines(now, int(query["limit"]))
        before = int(query["before"]) if "before" in query else None
        return fake_load.events(now, query.get("kind"), int(query["limit"]), before)

    def _timeline(self, route: Route) -> None:
        route.fulfill(json=fake_load.timeline(time.time()))


@pytest.fixture
def server() -> BusyServer:
    return BusyServer()


@pytest.fixture
def page(browser: Browser, quiet_server: str, server: BusyServer) -> Iterator[Page]:
    """The queue of an English page; script errors and blocked contents fail the test."""
    context = browser.new_context(locale="en-US", viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    faults = watch_for_faults(page)
    server.attach(page)
    page.goto(quiet_server)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    page.unroute_all(behavior="wait")  # an answer that is being made up would find its page gone
    context.close()
    assert faults == []


def open_view(page: Page) -> None:
    page.get_by_test_id("view-system").click()
    expect(page.locator('[data-testid="plot-speeds"] canvas')).to_be_visible()


def test_the_view_opens_by_keyboard_and_going_back_leaves_it(page: Page) -> None:
    page.get_by_test_id("view-system").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("system")).to_be_visible()
    expect(page.get_by_role("heading", name="System", exact=True)).to_be_focused()
    expect(page.get_by_test_id("view-system")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title(f"(22) System · {PRODUCT_NAME}")  # 9 run, 13 wait
    expect(page.get_by_test_id("intake")).to_be_hidden()

    page.reload()
    expect(page.get_by_test_id("system")).to_be_visible()
    page.go_back()
    expect(page.get_by_test_id("system")).to_have_count(0)
    expect(page.get_by_test_id("intake")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_plot_is_drawn_in_the_theme(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    open_view(page)
    for name in PLOTS:
        canvas = page.locator(f'[data-testid="{name}"] canvas')
        expect(canvas).to_be_visible()
        assert canvas.evaluate(PAINTED) > 1000, name
    expect(page.get_by_test_id("changes-key")).to_contain_text("4 adaptive changes")


def test_plots_are_drawn_anew_when_the_theme_changes(page: Page) -> None:
    page.get_by_test_id("theme-light").check(force=True)
    open_view(page)
    colours = """canvas => String(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"""
    canvas = page.locator('[data-testid="plot-queue"] canvas')
    before = canvas.evaluate(colours)
    page.get_by_test_id("theme-dark").check(force=True)
    page.wait_for_function(
        f"""before => ({colours})(document.querySelector('[data-testid="plot-queue"] canvas')) !== before""", arg=before
    )
    assert canvas.evaluate(colours) != before


def test_pointing_at_one_plot_tells_the_figures_of_that_moment_in_all_of_them(page: Page) -> None:
    open_view(page)
    throughput = page.get_by_test_id("plot-throughput").locator(".plot-legend")
    now = throughput.inner_text()
    box = page.get_by_test_id("plot-queue").locator(".u-over").bounding_box()
    assert box is not None
    # The second change lies there, so its words are shown with the moment.
    page.mouse.move(box["x"] + 0.36 * box["width"], box["y"] + box["height"] / 2)
    expect(page.get_by_test_id("plot-queue").locator(".plot-tip")).to_contain_text("throughput rose by 9 %")
    expect(page.get_by_test_id("plot-throughput").locator(".plot-tip")).to_have_count(0)
    expect(throughput).not_to_have_text(now)
    page.mouse.move(0, 0)
    expect(page.get_by_test_id("plot-queue").locator(".plot-tip")).to_have_count(0)


def test_arrow_keys_move_through_time_and_are_read_aloud(page: Page) -> None:
    open_view(page)
    plot = page.get_by_test_id("plot-queue")
    plot.get_by_role("img").press("ArrowLeft")
    plot.get_by_role("img").press("ArrowLeft")
    expect(plot.get_by_role("status")).to_have_text(
        re.compile(r"^\d\d:\d\d:\d\d, Running \d+, Waiting \d+, Retrying \d$")
    )
    expect(plot.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile(r"Running: now \d+, between \d+ and \d+\.")
    )


def test_another_time_range_is_asked_for(page: Page) -> None:
    open_view(page)
    with page.expect_request(re.compile(r"history\?hours=168$")):
        page.get_by_test_id("range-168").check(force=True)
    expect(page.get_by_test_id("plots")).to_have_attribute("data-hours", "168")


def test_without_samples_the_view_says_so(page: Page, server: BusyServer) -> None:
    server.has_samples = False
    page.get_by_test_id("view-system").click()
    expect(page.get_by_test_id("no-samples")).to_contain_text("No measurements yet")


def test_the_running_batch_is_shown_place_by_place(page: Page) -> None:
    open_view(page)
    first = page.locator('[data-testid="slots"][data-device="cuda:0"]')
    expect(first.get_by_test_id("slot")).to_have_count(6)
    expect(first.get_by_test_id("slot-free")).to_have_count(2)
    slot = first.get_by_test_id("slot").first
    for words in ("board-meeting-2026-11-24.m4a", "large-v3", "12%", "700 MB reserved", "14 sec left"):
        expect(slot).to_contain_text(words)
    expect(page.get_by_test_id("model-chip")).to_have_count(5)


def test_every_model_is_listed_with_its_speed_and_errors_in_a_table_of_bounded_height(page: Page) -> None:
    open_view(page)
    card = page.get_by_test_id("models")
    rows = card.get_by_test_id("model-row")
    expect(rows).to_have_count(24)
    expect(rows.nth(0)).to_have_text("tiny.en–12.3%not downloadedfp32 or fp1676 MB")
    expect(rows.nth(7)).to_have_text("base-int8–9.8%readyint8, CPUs only145 MB")
    box = card.bounding_box()
    assert box is not None
    assert box["height"] < 560
    assert page.evaluate(OVERHANG) <= 0


def test_a_limit_holds_at_once_and_a_refused_one_says_why(page: Page, server: BusyServer) -> None:
    open_view(page)
    stepper = page.get_by_test_id("limit-max_concurrent_tasks")
    stepper.get_by_test_id("more").click()
    expect(stepper.get_by_test_id("value")).to_have_value("12")
    expect(page.get_by_test_id("figures")).to_contain_text("9 of 12")
    assert server.limits["max_concurrent_tasks"] == 12

    stepper.get_by_test_id("value").fill("40")
    stepper.get_by_test_id("value").press("Enter")
    expect(stepper.get_by_test_id("limit-error")).to_have_text("At most 14 tasks may run at the same time.")
    expect(stepper.get_by_test_id("value")).to_have_value("12")


def test_decisions_read_as_sentences_and_lead_to_their_task(page: Page) -> None:
    open_view(page)
    event = page.get_by_test_id("event").filter(has_text="lecture-07-thermodynamics.mp4").first
    expect(event).to_contain_text(re.compile(r"started on cuda:[01] with [\w-]+ after .+: .+"))
    page.get_by_test_id("kind-tuning").click()
    expect(page.locator('[data-testid="event"]:not([data-kind="tuning"])')).to_have_count(0)
    expect(page.get_by_test_id("event").first).to_contain_text("stays")
    page.get_by_test_id("kind-all").click()
    expect(page.get_by_test_id("event")).to_have_count(50)
    page.get_by_test_id("older").click()
    expect(page.get_by_test_id("event")).to_have_count(100)

    page.get_by_test_id("kind-decision").click()
    event.get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"#system&task=01JDFAKE"))
    expect(page.get_by_test_id("transcript-missing")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("#system$"))


def test_the_log_can_be_narrowed_to_warnings(page: Page) -> None:
    open_view(page)
    expect(page.get_by_test_id("log-lines")).to_contain_text("INFO")
    page.get_by_test_id("log-level").select_option("WARNING")
    expect(page.get_by_test_id("log-lines")).not_to_contain_text("INFO")
    expect(page.get_by_test_id("log-line").first).to_be_visible()


def test_a_task_tells_its_own_life_step_by_step(page: Page) -> None:
    upload(page, ("eventful.flac", b"fLaC sound"))
    task(page, "eventful.flac").get_by_test_id("open").click()
    page.get_by_test_id("timeline").locator("summary").click()
    steps = page.get_by_test_id("step")
    expect(steps).to_have_count(10)
    assert [step.get_attribute("data-code") for step in steps.all()][:3] == ["uploaded", "decoded", "started"]
    expect(steps.nth(3)).to_contain_text("Stepped aside at 20%")
    expect(steps.last).to_contain_text("Done after 3 min")


def test_the_view_is_there_in_chinese(page: Page) -> None:
    open_view(page)
    page.get_by_test_id("language-zh").check(force=True)
    expect(page.get_by_role("heading", name="系统", exact=True)).to_be_visible()
    expect(page.get_by_test_id("plot-queue").locator(".plot-legend")).to_contain_text("等待中")
    expect(page.get_by_test_id("event").first).to_contain_text("开始")
    expect(page.get_by_test_id("limits")).to_contain_text("同时运行的任务数")


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    open_view(page)
    assert page.evaluate(OVERHANG) <= 0
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_function(f"{OVERHANG} <= 0 && document.querySelector('.plot canvas').clientWidth < 360")


def test_the_view_falls_silent_when_it_is_left(page: Page) -> None:
    open_view(page)
    page.get_by_test_id("view-queue").click()
    expect(page.get_by_test_id("system")).to_have_count(0)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6000)  # more than the shortest time between two readings
    assert [url for url in asked if "/api/system/" in url] == []


@pytest.mark.slow
def test_axe_finds_nothing_on_the_busy_view(browser: Browser, quiet_server: str, server: BusyServer) -> None:
    context = browser.new_context(bypass_csp=True)  # axe writes styles of its own
    page = context.new_page()
    server.attach(page)
    page.goto(quiet_server)
    schemes: tuple[Any, ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        open_view(page)
        found = violations(page)
        assert found == [], found[0]
    page.unroute_all(behavior="wait")
    context.close()
