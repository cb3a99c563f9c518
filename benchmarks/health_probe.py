"""How long `/healthz` takes while the server works: asked every 100 ms from a process of its own.

    python -m benchmarks.health_probe http://127.0.0.1:5552

Ends with its input and prints the times in ms as a JSON list. An answer other than 200 counts as infinitely late.
"""

from __future__ import annotations

import http.client
import json
import math
import sys
import threading
import time
from urllib.parse import urlsplit

EVERY_S = 0.1
LIMIT_S = 10.0


def probe(address: str, until: threading.Event) -> list[float]:
    """Each time from connecting to the whole answer."""
    place = urlsplit(address).netloc
    times = []
    while not until.wait(EVERY_S):
        began = time.perf_counter()
        try:
            is_well = _ask(place)
        except OSError:
            is_well = False
        times.append((time.perf_counter() - began) * 1000 if is_well else math.inf)
    return times


def _ask(place: str) -> bool:
    connection = http.client.HTTPConnection(place, timeout=LIMIT_S)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        return answer.status == http.HTTPStatus.OK
    finally:
        connection.close()


def main() -> None:
    is_over = threading.Event()
    times: list[float] = []
    prober = threading.Thread(target=lambda: times.extend(probe(sys.argv[1], is_over)))
    prober.start()
    sys.stdin.read()
    is_over.set()
    prober.join()
    print(json.dumps(times))


if __name__ == "__main__":
    main()
