"""What a profiler sees of a run, and what it leaves behind: the last part, in a process that measures nothing else.

torch.profiler leaves its tracing attached when it has ended (TEARDOWN_CUPTI=1 would detach it), which slows every
launch of the process from then on. So 32 tasks run before and after an empty session.
"""

from __future__ import annotations

from collections import defaultdict

from torch.profiler import DeviceType, ProfilerActivity, profile

from benchmarks.gpu_models import new_engine, random_one
from benchmarks.gpu_part import Part
from benchmarks.gpu_speed import WINDOW_S, noises
from benchmarks.gpu_timeline import DirectLaunch, launched_by, wait_for_device
from benchmarks.random_model import OPTIONS, loaded_from_memory
from benchmarks.run_engine import BATCH_ENGINE, measure
from whisper_core.engine.decoding.cuda_graphs import new_launch

TASKS, WINDOWS = 32, 4
TRIAL_TASKS, TRIAL_WINDOWS = 2, 1
PROFILED_TASKS = 16
KERNELS = 20  # that take the most time


def measure_profile(part: Part) -> None:
    name = part.models[0]
    tasks, windows = (TRIAL_TASKS, TRIAL_WINDOWS) if part.is_trial else (TASKS, WINDOWS)
    activity = ProfilerActivity.CPU if part.is_trial else ProfilerActivity.CUDA
    with launched_by(DirectLaunch if part.is_trial else new_launch, part.is_trial):
        engine = new_engine(part)
        with loaded_from_memory(BATCH_ENGINE, {name: random_one(part, name)}):
            engine.load(name, part.scratch)
        sounds = noises(part.scratch, tasks, windows)
        measure(engine, name, sounds, OPTIONS)
        for when in ("before", "after"):
            run = measure(engine, name, sounds, OPTIONS)
            speed = tasks * windows * WINDOW_S / run.seconds
            part.report.row(f"An empty profiler session, {tasks} tasks", {"": f"{name}, {when}", "× real time": speed})
            if when == "before":
                with profile(activities=[activity]):
                    wait_for_device(part.is_trial)
        if not part.budget.allows(15):
            part.report.left_out("the kernels of a run")
            return
        with profile(activities=[activity]) as profiler:
            measure(engine, name, noises(part.scratch, min(PROFILED_TASKS, tasks), 1), OPTIONS)
            wait_for_device(part.is_trial)
        engine.close()
        _report_kernels(part, profiler, name)


def _report_kernels(part: Part, profiler: profile, name: str) -> None:
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in profiler.events() or ():
        if not part.is_trial and event.device_type != DeviceType.CUDA:
            continue
        seconds[event.name] += (event.time_range.end - event.time_range.start) / 1e6
        calls[event.name] += 1
    total = sum(seconds.values())
    for kernel in sorted(seconds, key=lambda each: -seconds[each])[:KERNELS]:
        part.report.row(
            f"Kernels of {min(PROFILED_TASKS, TASKS)} tasks of one window, {name}, by torch.profiler",
            {
                "": kernel[:60].replace("|", "/"),
                "calls": calls[kernel],
                "ms": 1e3 * seconds[kernel],
                "of all, %": 100 * seconds[kernel] / total,
            },
        )
