"""Who speaks: the diarization error rate, time and memory of whisper_core/speakers, on mixes with known borders.

    make bench-speakers

Mixes are made of the recordings in Debian's packages (speaker_voices.py), downloaded into --folder. The scores are
pyannote.metrics', in the environment of the other projects. Results go between the markers of docs/speakers.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.child_process import forget_peak, peak_bytes
from benchmarks.diarization_scores import COLLARS
from benchmarks.document import replace_between_markers, require_markers, table
from benchmarks.machine import describe_machine
from benchmarks.speaker_mixes import Mix, Speech, make_mixes
from benchmarks.speaker_voices import VOICES, fetch_voices, read_voice
from whisper_core.models.speaker_weights import fetch_speaker_weights
from whisper_core.speakers.networks import SpeakerNetworks, load_speaker_networks
from whisper_core.speakers.pipeline import find_turns
from whisper_core.text.turns import Turn

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "speakers.md"
MARKER = "speakers"
SETS = {"the fourteen": (1, 0.0), "fourteen others": (2, 0.0), "with interruptions": (3, 0.4)}  # seed, overlap
PAUSE_S = 0.3  # a shorter silence belongs to the speech around it


@dataclass(frozen=True)
class Result:
    """cpu_s: of all threads. peak_bytes: what the process grew by while it looked for the speakers."""

    mix: Mix
    turns: tuple[Turn, ...]
    cpu_s: float
    peak_bytes: int

    @property
    def found(self) -> int:
        return len({turn.speaker for turn in self.turns})


def run(mix: Mix, networks: SpeakerNetworks, *, knows_number: bool = False) -> Result:
    before = psutil.Process().memory_info().rss
    forget_peak()
    began = time.process_time()
    turns = find_turns(mix.samples, networks, num_speakers=mix.speakers if knows_number else None)
    return Result(mix, turns, time.process_time() - began, peak_bytes() - before)


def reference_of(speech: Sequence[Speech]) -> list[tuple[float, float, str]]:
    """Without the pauses that are too short to count."""
    merged: list[tuple[float, float, str]] = []
    ends: dict[str, int] = {}  # where each speaker's last stretch is in `merged`
    for each in speech:
        place = ends.get(each.speaker)
        if place is not None and each.start - merged[place][1] < PAUSE_S:
            merged[place] = (merged[place][0], max(each.end, merged[place][1]), each.speaker)
        else:
            ends[each.speaker] = len(merged)
            merged.append((each.start, each.end, each.speaker))
    return merged


def scores_of(results: Sequence[Result], python: str) -> dict[str, Any]:
    """For each mix and collar, what pyannote.metrics counts."""
    request = [
        {
            "name": result.mix.name,
            "reference": reference_of(result.mix.speech),
            "found": [(turn.start, turn.end, turn.speaker) for turn in result.turns],
        }
        for result in results
    ]
    command = [python, "-m", "benchmarks.diarization_scores"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(request), capture_output=True, text=True, check=True)
    scores: dict[str, Any] = json.loads(done.stdout)
    return scores


def error_rate(components: Sequence[dict[str, float]], kind: str | None = None) -> float:
    """Of all speech, in percent: one kind of error, or all together."""
    kinds = [kind] if kind else ["missed detection", "false alarm", "confusion"]
    total = sum(each["total"] for each in components)
    return 100 * sum(each[kind] for each in components for kind in kinds) / total


def set_row(title: str, results: Sequence[Result], scores: dict[str, Any]) -> list[str]:
    rates = [error_rate([scores[result.mix.name][collar] for result in results]) for collar in COLLARS]
    widest = [scores[result.mix.name][next(iter(COLLARS))] for result in results]
    kinds = [error_rate(widest, kind) for kind in ("missed detection", "false alarm", "confusion")]
    right = sum(result.found == result.mix.speakers for result in results)
    minutes = sum(result.mix.seconds for result in results) / 60
    cpu_s = sum(result.cpu_s for result in results) / minutes
    peak = max(result.peak_bytes for result in results) / 2**20
    return [
        title,
        f"{minutes:.0f}",
        *(f"{rate:.1f} %" for rate in rates),
        " / ".join(f"{kind:.1f}" for kind in kinds),
        f"{right} of {len(results)}",
        f"{cpu_s:.1f}",
        f"{peak:.0f}",
    ]


def mix_row(result: Result, scores: dict[str, Any]) -> str:
    rates = " ".join(f"{error_rate([scores[result.mix.name][collar]]):5.1f}" for collar in COLLARS)
    return f"{result.mix.name}: {result.mix.seconds:5.0f} s, {result.mix.speakers} speak, {result.found} found, {rates}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "voices")
    parser.add_argument("--scorer", default=str(ROOT / ".venv-bench" / "bin" / "python"), help="has pyannote.metrics")
    parser.add_argument("--models-dir", type=Path, default=ROOT / "data" / "models")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--number-given", action="store_true", help="tell how many people speak")
    parser.add_argument("--publish", action="store_true", help="write the table into docs/speakers.md")
    options = parser.parse_args()
    if options.publish:
        require_markers(DOCUMENT, [MARKER])
    torch.set_num_threads(1)
    fetch_voices(options.folder)
    fetch_speaker_weights(options.models_dir)
    voices = {voice.name: read_voice(voice, options.folder) for voice in VOICES}
    networks = load_speaker_networks(options.models_dir)
    rows = []
    for title in options.sets:
        seed, overlap = SETS[title]
        mixes = make_mixes(voices, seed, overlap=overlap)
        results = [run(mix, networks, knows_number=options.number_given) for mix in mixes]
        scores = scores_of(results, options.scorer)
        print("\n".join(mix_row(result, scores) for result in results), flush=True)
        rows.append(set_row(title, results, scores))
    heads = ["mixes", "minutes", *(f"DER, collar {collar}" for collar in COLLARS)]
    heads += ["missed / false / confused", "number right", "CPU s a minute", "MiB"]
    text = f"{describe_machine()}; one thread.\n\n{table(heads, rows)}"
    print(text)
    if options.publish:
        replace_between_markers(DOCUMENT, MARKER, text)


if __name__ == "__main__":
    main()
