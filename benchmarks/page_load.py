"""How soon the page shows its first task over a slow line, at a first and at a second visit.

    python -m benchmarks.page_load http://127.0.0.1:5552 --visits 5

The server must have at least one task. Chromium is told to delay every request by LATENCY_MS and to receive no more
than MEGABITS a second; each first visit has an empty cache. Times count from the start of the navigation.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, BrowserContext, sync_playwright

LATENCY_MS = 100
MEGABITS = 8
LIMIT_MS = 60_000

# When the first task was first drawn: two frames after it is in the document, it is on the screen.
OBSERVE = """
new MutationObserver((_, observer) => {
  if (!document.querySelector('[data-testid="task"]')) return
  observer.disconnect()
  requestAnimationFrame(() => requestAnimationFrame(() => (globalThis.firstTaskMs = performance.now())))
}).observe(document, { childList: true, subtree: true })
"""


@dataclass(frozen=True, slots=True)
class Visit:
    first_task_ms: float
    requests: int
    kilobytes: float  # as they went over the line, compressed


def visit(context: BrowserContext, address: str) -> Visit:
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    rate = MEGABITS * 1e6 / 8
    conditions = {"offline": False, "latency": LATENCY_MS, "downloadThroughput": rate, "uploadThroughput": rate}
    session.send("Network.emulateNetworkConditions", conditions)
    sizes: list[float] = []

    def on_loaded(event: dict[str, Any]) -> None:
        if event["encodedDataLength"] > 0:  # 0: from the browser's cache
            sizes.append(event["encodedDataLength"])

    session.on("Network.loadingFinished", on_loaded)
    page.add_init_script(OBSERVE)
    page.goto(address)
    page.get_by_test_id("task").first.wait_for(timeout=LIMIT_MS)
    page.wait_for_load_state("networkidle")
    first_task_ms = page.evaluate("globalThis.firstTaskMs")
    page.close()
    return Visit(first_task_ms, len(sizes), sum(sizes) / 1000)


def measure(browser: Browser, address: str, visits: int) -> tuple[list[Visit], list[Visit]]:
    """First visits, and the second visit after each."""
    first, second = [], []
    for _ in range(visits):
        context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
        first.append(visit(context, address))
        second.append(visit(context, address))
        context.close()
    return first, second


def line(name: str, visits: list[Visit]) -> str:
    times = [visit.first_task_ms for visit in visits]
    return (
        f"| {name} | {statistics.median(times):.0f} | {max(times):.0f} | {visits[0].requests} | "
        f"{statistics.median(visit.kilobytes for visit in visits):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:5552")
    parser.add_argument("--visits", type=int, default=5)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        first, second = measure(browser, options.address, options.visits)
        browser.close()
    print(f"{LATENCY_MS} ms, {MEGABITS} Mbit/s, {options.visits} visits of each kind")
    print("| visit | first task, ms (median) | largest | requests | kB |\n| --- | ---: | ---: | ---: | ---: |")
    print(line("first", first) + "\n" + line("second", second))


if __name__ == "__main__":
    main()
