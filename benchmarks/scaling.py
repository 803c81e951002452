"""Do two jobs on two cores get in each other's way, and does a long clip cost more a frame than a short one?

    python -m benchmarks.scaling processes [--size 1280x720] [--seconds 10] [--rounds 3]
    python -m benchmarks.scaling length [--size 640x360] [--short 10] [--long 600]

`processes`: one process and then two at once do the same whole job, or decode the clip and encode it; what two get done
in a second over what one does is how well it scales. Cores that share a cache and a memory bus never reach 2, so the
job is held against decode and encode in the same run.
`length`: CPU and wall-clock milliseconds a frame by stage of a job on a short and on a long clip.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.material import portrait, scene


def child(what: str, target: Path, source: Path, folder: Path) -> dict[str, Any]:
    """Runs a job, or decode and encode; milliseconds a frame by stage, on the clock and of CPU."""
    from benchmarks.stages import run_floor, run_job

    if what == "job":
        spent, frames, _ = run_job(target, source, folder)
    else:
        spent, frames = run_floor(target, folder)
    return {
        "frames": frames,
        "begun": spent.begun,
        "ended": time.time(),
        "cpu_ms": {name: 1000 * seconds / frames for name, seconds in spent.cpu_s.items()},
        "wall_ms": {name: 1000 * seconds / frames for name, seconds in spent.wall_s.items()},
    }


@contextmanager
def on_core(number: int | None) -> Iterator[None]:
    """Processes that are started in the block have one of this process's cores alone; `None`: all of them."""
    before = os.sched_getaffinity(0)
    if number is not None:
        os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def started(what: str, target: Path, source: Path, folder: Path) -> subprocess.Popen[str]:
    """A process that does it in a folder of its own."""
    command = [sys.executable, "-m", "benchmarks.scaling", "child", what, *map(str, (target, source, folder))]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the command line sets it
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def answers(processes: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """What the processes found, once all have ended."""
    found = []
    for process in processes:
        text, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a measurement failed with status {process.returncode}")
        found.append(json.loads(text.splitlines()[-1]))
    return found


def frames_a_second(
    what: str, count: int, target: Path, source: Path, folder: Path, *, a_core_each: bool = False
) -> float:
    """How many frames `count` processes get done in a second, from the first one's start to the last one's end."""
    processes = []
    for number in range(count):
        with on_core(number if a_core_each else None):
            processes.append(started(what, target, source, folder / f"{what}{number}"))
    found = answers(processes)
    seconds = max(row["ended"] for row in found) - min(row["begun"] for row in found)
    return float(sum(row["frames"] for row in found) / seconds)


def processes(size: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Frames a second of one and of two processes, of the job and of decode and encode, round by round."""
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = portrait(folder), scene(folder / "clip.mp4", size=size, seconds=seconds)
        for _ in range(rounds):
            row = {
                f"{what}_{count}": frames_a_second(what, count, target, source, folder)
                for what in ("floor", "job")
                for count in (1, 2)
            }
            row["floor_scales"] = row["floor_2"] / row["floor_1"]
            row["job_scales"] = row["job_2"] / row["job_1"]
            row["job_over_floor"] = row["job_scales"] / row["floor_scales"]
            rows.append({figure: round(value, 3) for figure, value in row.items()})
            print(rows[-1], flush=True)
    median = {figure: round(statistics.median(row[figure] for row in rows), 3) for figure in rows[0]}
    print(f"{size}, medians of {rounds} rounds; frames a second of 1 and 2 processes, and how well each scales")
    for figure, value in median.items():
        print(f"  {figure:20}{value:10.3f}")
    return {"size": size, "seconds": seconds, "median": median, "rounds": rows}


def length(size: str, short_s: float, long_s: float) -> dict[str, Any]:
    """Milliseconds a frame by stage of a short and a long clip."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = portrait(folder)
        for seconds in (short_s, long_s):
            target = scene(folder / f"{seconds:g}.mp4", size=size, seconds=seconds)
            (rows[f"{seconds:g} s"],) = answers([started("job", target, source, folder / f"job{seconds:g}")])
    for kind in ("cpu_ms", "wall_ms"):
        print(f"\n{size}, {kind} a frame\n{'':16}" + "".join(f"{name:>12}" for name in rows))
        for row in rows.values():
            row[kind] = {**row[kind], "all": sum(row[kind].values())}
        for stage in next(iter(rows.values()))[kind]:
            print(f"{stage:16}" + "".join(f"{row[kind][stage]:12.2f}" for row in rows.values()))
    first, last = rows.values()
    ratio = last["cpu_ms"]["all"] / first["cpu_ms"]["all"]
    print(f"CPU a frame, long / short: {ratio:.3f}")
    return {"size": size, "rows": rows, "cpu_ratio": round(ratio, 3)}


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("processes", "length", "child"))
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--size")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", type=float, default=10)
    parser.add_argument("--long", type=float, default=600)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "child":
        what, *paths = options.rest
        target, source, folder = map(Path, paths)
        print(json.dumps(child(what, target, source, folder)))
        return
    if options.what == "processes":
        report = processes(options.size or "1280x720", options.seconds, options.rounds)
    else:
        report = length(options.size or "640x360", options.short, options.long)
    path = options.json or Path(f"out/scaling_{options.what}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
