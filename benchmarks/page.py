"""How large the page is with a long queue, and how soon a click shows: nodes, and milliseconds to the next frame.

    python -m benchmarks.page http://127.0.0.1:5552 --tasks 2000 --slowdown 4

The server may be any that runs, with whatever page it has; the browser is given made-up tasks in place of its own.
All of them are loaded before anything is measured, and the processor is then slowed down by Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import statistics

from playwright.sync_api import Page, sync_playwright

from tests.browser.fake_queue import FakeQueue

RUNNING = 4
NODES = """() => {
    const walker = document.createTreeWalker(document, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT)
    let count = 0
    while (walker.nextNode()) count += 1
    return count
}"""
ELEMENTS = "document.getElementsByTagName('*').length"
# Resolves when the frame after the click has been painted: a message is handled only after it.
CLICK = """(selector) => new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    const start = performance.now()
    port1.onmessage = () => resolve(performance.now() - start)
    document.querySelector(selector).click()
    requestAnimationFrame(() => port2.postMessage(null))
})"""
SELECT, OPEN, FILTER = '[data-testid="select"]', '[data-testid="open"]', '[data-testid="filter-failed"]'
SETTLED_MS = 1000


def load_all(page: Page) -> None:
    """Scrolls to the end until no more comes."""
    more = page.get_by_test_id("load-more")
    while more.count() > 0:
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.evaluate("document.querySelector('[data-testid=load-more]')?.click()")
        page.wait_for_timeout(50)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)


def measure(page: Page, slowdown: float, runs: int) -> dict[str, float]:
    """{what: milliseconds}, of several runs the median. The filter ends the long list, so it is chosen once."""
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    times: dict[str, list[float]] = {"select a task": [], "open a task": []}
    for _ in range(runs):
        for name, selector in (("select a task", SELECT), ("open a task", OPEN)):
            times[name].append(click(page, selector))
        page.keyboard.press("Escape")
        page.wait_for_timeout(SETTLED_MS)
    return {name: statistics.median(each) for name, each in times.items()} | {"show failed ones": click(page, FILTER)}


def click(page: Page, selector: str) -> float:
    milliseconds: float = page.evaluate(CLICK, selector)
    page.wait_for_timeout(SETTLED_MS)
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:5552")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--waiting", type=int, default=450)
    parser.add_argument("--slowdown", type=float, default=4)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    queue = FakeQueue.of(running=RUNNING, waiting=options.waiting, finished=options.tasks - options.waiting - RUNNING)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        queue.attach(page)
        page.goto(options.address)
        page.wait_for_selector('[data-testid="task"]')
        load_all(page)
        print(f"elements {page.evaluate(ELEMENTS)}, with texts {page.evaluate(NODES)}")
        for name, milliseconds in measure(page, options.slowdown, options.runs).items():
            print(f"{name}: {milliseconds:.0f} ms")
        browser.close()


if __name__ == "__main__":
    main()
