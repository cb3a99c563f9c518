"""The diarization error rate by pyannote.metrics, in an environment that has it.

Reads a JSON list of {"name", "reference", "found"} from standard input, each a list of [start, end, speaker], and
writes for each name and each collar the seconds of speech and of each kind of error. Its two packages are imported
late, because the server's environment has neither.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

# What pyannote.metrics calls the collar is the whole of what is left out around a border, half of it on either side;
# NIST's, which most papers give, is what is left out on one side.
COLLARS = {"0.25 on either side": 0.5, "0.25 in all": 0.25, "none": 0.0}


def annotation(turns: list[tuple[float, float, Any]]) -> Any:
    from pyannote.core import Annotation, Segment

    made = Annotation()
    for number, (start, end, speaker) in enumerate(turns):
        made[Segment(start, end), number] = str(speaker)
    return made


def main() -> None:
    from pyannote.metrics.diarization import DiarizationErrorRate

    warnings.simplefilter("ignore")
    scores = {}
    for mix in json.load(sys.stdin):
        reference, found = annotation(mix["reference"]), annotation(mix["found"])
        scores[mix["name"]] = {
            title: dict(DiarizationErrorRate(collar=collar).compute_components(reference, found))
            for title, collar in COLLARS.items()
        }
    json.dump(scores, sys.stdout)


if __name__ == "__main__":
    main()
