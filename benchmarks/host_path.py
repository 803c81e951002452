"""CPU a frame by stage, beside the floor: what decoding the same clip twice and encoding it once costs in the same run.

    python -m benchmarks.host_path [--sizes 1280x720 1920x1080] [--seconds 4] [--rounds 3] [--json FILE]

Each measurement is a process of its own, so CPU time is that of all its threads. Rounds alternate between floor and
job, and the ratio is taken round by round, because machines are noisy. The clip is the packaged talking man enlarged
(his face is 40% of the picture's height); output libx264 veryfast CRF 18 in the native pixel format, like the job's
default.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.material import face_clip, portrait


def floor(target: Path, folder: Path) -> dict[str, float]:
    """Decode, decode again, encode: nothing else."""
    from faceflow.job import OutputOptions
    from faceflow.media.index import index_frames
    from faceflow.media.probe import probe
    from faceflow.media.reader import FrameReader
    from faceflow.media.writer import PartWriter
    from faceflow.settings import EncodeSettings, LimitSettings

    limits = LimitSettings()
    media = probe(target, limits)
    spent = Stopwatch()
    index = spent("decode", lambda: index_frames(target, media, limits))

    def encode() -> None:
        with (
            FrameReader(target, media, index) as reader,
            PartWriter(folder / "floor.mp4", media, index, OutputOptions(), EncodeSettings()) as writer,
        ):
            for frame in reader.read(0, index.frames):
                writer.write(frame)

    spent("decode and encode", encode)
    return spent.a_frame(index.frames)


def job(target: Path, folder: Path, swap: dict[str, Any]) -> dict[str, float]:
    """All stages of a job, without the orchestrator; `swap` are its swap options."""
    from faceflow.job import Consent, Source, SwapJob, SwapOptions
    from faceflow.progress import SILENT
    from faceflow.settings import PathSettings, Settings
    from faceflow.stages.compose import run_compose
    from faceflow.stages.identity import identify
    from faceflow.stages.join import run_join
    from faceflow.stages.restore import run_restore
    from faceflow.stages.segment import run_segment
    from faceflow.stages.swap import run_swap
    from faceflow.stages.transcode import run_transcode
    from faceflow.stages.validate import run_validate

    settings = Settings(paths=PathSettings(state=folder, scratch=folder))
    request = SwapJob(
        sources=(Source(portraits=(str(folder / "portrait.png"),)),),
        target=str(target),
        output=str(folder / "out.mp4"),
        swap=SwapOptions(**swap),
        consent=Consent(subject="NASA portrait", scope="benchmark", declared_by="benchmark"),
    )
    spent = Stopwatch()
    identity = identify(request)
    validated = spent("validate", lambda: run_validate(identity, request, settings, folder, SILENT))
    mezzanine = spent("transcode", lambda: run_transcode(request, validated, settings, folder, SILENT))
    plan = run_segment(request, validated, mezzanine, settings)
    parts = []
    for segment in plan.segments:
        swapped = spent(
            "swap", lambda s=segment: run_swap(request, validated, mezzanine, plan, s, settings, folder, SILENT)
        )
        restored = spent("restore", lambda f=swapped: run_restore(request, f, settings, folder, SILENT))
        parts.append(
            spent(
                "compose",
                lambda f=restored: run_compose(request, validated, mezzanine, f, settings, folder, SILENT),
            )
        )
    spent("join", lambda: run_join(request, validated, mezzanine, parts, settings, folder, SILENT))
    return spent.a_frame(validated.frames)


class Stopwatch:
    """CPU seconds of this process by name."""

    def __init__(self) -> None:
        self._spent_s: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Runs `work` and adds its CPU time to `name`."""
        begun = time.process_time()
        result = work()
        self._spent_s[name] = self._spent_s.get(name, 0.0) + time.process_time() - begun
        return result

    def a_frame(self, frames: int) -> dict[str, float]:
        """Milliseconds a frame by name, their sum, and the process's peak memory in MiB."""
        rows = {name: 1000 * seconds / frames for name, seconds in self._spent_s.items()}
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {**rows, "all": sum(rows.values()), "peak_memory_mib": peak_mib}


def measured(what: str, target: Path, folder: Path, swap: dict[str, Any] | None = None) -> dict[str, float]:
    """Runs `floor` or `job` in a process of its own."""
    arguments = [what, str(target), str(folder), json.dumps(swap or {})]
    command = [sys.executable, "-m", "benchmarks.host_path", "--child", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1280x720", "1920x1080"])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("out/host_path.json"))
    parser.add_argument("--child", nargs=4, metavar=("WHAT", "TARGET", "FOLDER", "SWAP"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, target, folder, swap = options.child
        made = (
            floor(Path(target), Path(folder)) if what == "floor" else job(Path(target), Path(folder), json.loads(swap))
        )
        print(json.dumps(made))
        return
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        portrait(folder)
        for size in options.sizes:
            target = face_clip(folder / f"{size}.mp4", seconds=options.seconds, size=size)
            rounds = [
                (measured("floor", target, folder), measured("job", target, folder)) for _ in range(options.rounds)
            ]
            report[size] = summary(rounds)
            show(size, report[size])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=2))


def summary(rounds: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, Any]:
    """Medians of both, and the ratio of each round."""
    floors, jobs = ([pair[part] for pair in rounds] for part in (0, 1))
    return {
        "floor_ms": {name: statistics.median(row[name] for row in floors) for name in floors[0]},
        "job_ms": {name: statistics.median(row[name] for row in jobs) for name in jobs[0]},
        "ratios": [job_row["all"] / floor_row["all"] for floor_row, job_row in rounds],
    }


def show(size: str, result: dict[str, Any]) -> None:
    """A table for people."""
    print(f"\n{size}: CPU ms a frame, libx264 veryfast CRF 18, medians of {len(result['ratios'])} rounds")
    for part in ("floor", "job"):
        for name, value in result[f"{part}_ms"].items():
            print(f"  {part:6}{name:20}{value:9.1f}")
    ratios = result["ratios"]
    print(f"  job / floor: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
