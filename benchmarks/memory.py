"""Peak memory of the job process and peak scratch, for a short and a long clip of the same picture.

    python -m benchmarks.memory [--size 1920x1080] [--short 10] [--long 60] [--json FILE]

Both must stay bounded: the long clip may not cost more than the short one. The job runs as a user runs it; the
process is read from the kernel's own account when it ends (ru_maxrss), scratch is looked at ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.material import face_clip, portrait


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def measure(source: Path, target: Path, folder: Path) -> dict[str, float]:
    """Runs one job; MiB of peak memory and scratch, seconds and frames."""
    scratch = folder / "scratch"
    environment = {
        **os.environ,
        "FACEFLOW_PATHS__SCRATCH": str(scratch),
        "FACEFLOW_PATHS__STATE": str(folder / "state"),
        "FACEFLOW_SERVER__IDLE_S": "60",
    }
    command = [sys.executable, "-m", "faceflow.gateway.program", "swap", str(source), str(target), "--json"]
    peak_scratch = {"faces": 0, "all": 0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            peak_scratch["all"] = max(peak_scratch["all"], folder_bytes(scratch))
            faces = sum(path.stat().st_size for path in scratch.rglob("*.faces") if path.exists())
            peak_scratch["faces"] = max(peak_scratch["faces"], faces)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.monotonic()
    process = subprocess.Popen(
        [*command, "-o", str(folder / f"out-{target.stem}.mp4")], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    answer = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    watcher.join()
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"the job failed: {answer}")
    return {
        "seconds": round(time.monotonic() - begun, 1),
        "frames": answer["frames"],
        "faces": answer["faces"],
        "peak_memory_mib": usage.ru_maxrss // 1024,
        "peak_faces_files_mib": round(peak_scratch["faces"] / 2**20, 1),
        "peak_scratch_mib": round(peak_scratch["all"] / 2**20, 1),
        "output_mib": round(answer["size_bytes"] / 2**20, 1),
    }


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--short", type=float, default=10)
    parser.add_argument("--long", type=float, default=60)
    parser.add_argument("--json", type=Path, default=Path("out/memory.json"))
    options = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = portrait(folder)
        for seconds in (options.short, options.long):
            target = face_clip(folder / f"{seconds:g}s.mp4", seconds=seconds, size=options.size)
            rows[f"{seconds:g} s"] = measure(source, target, folder)
    print(f"{options.size}\n{'':24}" + "".join(f"{name:>12}" for name in rows))
    for figure in next(iter(rows.values())):
        print(f"{figure:24}" + "".join(f"{row[figure]:>12}" for row in rows.values()))
    first, last = rows.values()
    ratio = last["peak_memory_mib"] / first["peak_memory_mib"]
    print(f"peak memory, long / short: {ratio:.3f}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"size": options.size, "rows": rows, "memory_ratio": ratio}, indent=2))


if __name__ == "__main__":
    main()
