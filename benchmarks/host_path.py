"""CPU a frame by stage, beside the floor: what decoding the same clip twice and encoding it once costs in the same run.

    python -m benchmarks.host_path [--cases 1280x720:1 1920x1080:1 1280x720:5@0.2] [--all] [--seconds 10] [--rounds 3]

Each measurement is a process of its own, and CPU time is that of all its threads and children, system time too. Rounds
alternate between floor and job, and the ratio is taken round by round, because machines are noisy. A case is a size, a
number of faces and the height of each as a share of the picture's; the clip is `material.scene`. Both sides encode
alike: libx264 in the job's default preset and CRF, one thread, the clip's own pixel format. What a process needs to
start and to import is not in the figures, since it does not grow with the clip; what a job does once, such as
preparing the source, is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, draw_bars
from benchmarks.material import FACE_SHARE, portrait, scene

DEFAULT = ("1280x720:1", "1920x1080:1", "1280x720:5@0.2", "1920x1080:5@0.2")
EVERYTHING = (
    "1280x720:1", "1280x720:2", "1280x720:5@0.2", "1280x720:5",
    "1920x1080:1", "1920x1080:2", "1920x1080:5@0.2", "1920x1080:5",
    "3840x2160:1", "3840x2160:2", "3840x2160:5@0.2",
)  # fmt: skip
_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Case:
    """What to measure: picture size, number of faces, and the height of each as a share of the picture's."""

    size: str
    faces: int
    share: float

    @classmethod
    def of(cls, text: str) -> Case:
        """Reads `1280x720:5@0.2`; the share may be missing."""
        size, _, rest = text.partition(":")
        faces, _, share = (rest or "1").partition("@")
        return cls(size, int(faces), float(share or FACE_SHARE))

    def __str__(self) -> str:
        plural = "face" if self.faces == 1 else "faces"
        return f"{self.size}, {self.faces} {plural} of {self.share:.0%}"


def floor(target: Path, folder: Path) -> dict[str, float]:
    """Milliseconds of CPU a frame of the floor."""
    from benchmarks.stages import run_floor

    spent, frames = run_floor(target, folder)
    return _a_frame(spent.cpu_s, frames)


def job(target: Path, folder: Path, swap: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of CPU a frame of a whole job with these swap options, by stage."""
    from benchmarks.stages import peak_memory_mib, run_job

    spent, frames, faces = run_job(target, folder / "portrait.png", folder / "job", swap)
    return {**_a_frame(spent.cpu_s, frames), "faces": faces / frames, "peak_memory_mib": peak_memory_mib()}


def _a_frame(spent_s: dict[str, float], frames: int) -> dict[str, float]:
    rows = {name: 1000 * seconds / frames for name, seconds in spent_s.items()}
    return {**rows, "all": sum(rows.values())}


def measured(what: str, target: Path, folder: Path, swap: dict[str, Any] | None = None) -> dict[str, float]:
    """Runs `floor` or `job` in a process of its own."""
    arguments = [what, str(target), str(folder), json.dumps(swap or {})]
    command = [sys.executable, "-m", "benchmarks.host_path", "--child", *arguments]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the command line sets it
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(case: Case, seconds: float, rounds: int, folder: Path) -> dict[str, Any]:
    """Medians of floor and job, and the ratio of each round."""
    target = scene(folder / "clip.mp4", faces=case.faces, share=case.share, size=case.size, seconds=seconds)
    pairs = [(measured("floor", target, folder), measured("job", target, folder)) for _ in range(rounds)]
    return {"clip_kbit_s": round(target.stat().st_size * 8 / seconds / 1000), **summary(pairs)}


def summary(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, Any]:
    """Medians of floors and jobs, and the ratio of each round."""
    floors, jobs = ([pair[part] for pair in pairs] for part in (0, 1))
    return {
        "floor_ms": {name: round(statistics.median(row[name] for row in floors), _DIGITS) for name in floors[0]},
        "job_ms": {
            name: round(statistics.median(row[name] for row in jobs), _DIGITS)
            for name in jobs[0]
            if name not in ("faces", "peak_memory_mib")
        },
        "faces_a_frame": round(jobs[0]["faces"], _DIGITS),
        "peak_memory_mib": round(max(row["peak_memory_mib"] for row in jobs)),
        "ratios": [round(job_row["all"] / floor_row["all"], 3) for floor_row, job_row in pairs],
    }


def show(case: Case | str, result: dict[str, Any], coding: str = "libx264 veryfast CRF 18") -> None:
    """A table for people."""
    ratios = result["ratios"]
    print(f"\n{case}: CPU ms a frame, {coding}, medians of {len(ratios)} rounds")
    for part in ("floor", "job"):
        for name, value in result[f"{part}_ms"].items():
            print(f"  {part:6}{name:20}{value:9.1f}")
    print(f"  job / floor: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def plot(path: Path, report: dict[str, Any]) -> None:
    """Floor and job of every case, one under the other."""
    bars: list[Bar] = []
    for name, result in report["cases"].items():
        parts = {stage: value for stage, value in result["job_ms"].items() if stage != "all" and value >= 0.05}
        floors = {stage: value for stage, value in result["floor_ms"].items() if stage != "all"}
        bars.append((name, floors, f"{result['floor_ms']['all']:.0f} floor"))
        ratio = statistics.median(result["ratios"])
        bars.append(("job", parts, f"{result['job_ms']['all']:.0f} = {ratio:.2f} x"))
    draw_bars(path, f"CPU a frame, {report['coding']}", "ms", bars)


def main() -> None:
    """Measures, prints tables, writes JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=DEFAULT, metavar="SIZE:FACES[@SHARE]")
    parser.add_argument("--all", action="store_true", help="every size and number of faces, 4K too; takes half an hour")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("out/host_path.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/host_path.svg"))
    parser.add_argument("--child", nargs=4, metavar=("WHAT", "TARGET", "FOLDER", "SWAP"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, *paths, swap = options.child
        target, folder = map(Path, paths)
        print(json.dumps(floor(target, folder) if what == "floor" else job(target, folder, json.loads(swap))))
        return
    from faceflow.job import OutputOptions

    encoding = OutputOptions()
    coding = f"libx264 {encoding.preset} CRF {encoding.crf:g}, one thread"
    report: dict[str, Any] = {"coding": coding, "machine": machine(), "seconds": options.seconds, "cases": {}}
    for text in EVERYTHING if options.all else options.cases:
        case = Case.of(text)
        with tempfile.TemporaryDirectory() as name:
            portrait(Path(name))
            result = measure(case, options.seconds, options.rounds, Path(name))
        report["cases"][str(case)] = result
        show(case, result, coding)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=2) + "\n")
    plot(options.plot, report)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import av
    import cv2
    import numpy as np

    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    except OSError:
        pass
    versions = {"python": platform.python_version(), "av": av.__version__, "numpy": np.__version__}
    return {"processor": processor, "cores": os.cpu_count(), **versions, "opencv": cv2.__version__}


if __name__ == "__main__":
    main()
