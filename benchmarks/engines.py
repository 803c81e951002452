"""Networks: faces a second and CPU time at batch 1, 2, 4 and 8, and what a job costs around networks of no compute.

    python -m benchmarks.engines [--provider cpu|cuda|tensorrt] [--threads 0] [--batches 1 2 4 8] [--faces 8]
                                 [--size 1920x1080] [--rounds 3] [--only network|host] [--json FILE]

The network is one of inswapper_128's true shape with random weights; its time, peak memory and load time are those of
the published file. The job swaps and restores one face at 512 pixels with stand-ins, beside the floor of decoding twice
and encoding once (`host_path`).
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
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.host_path import measured, show, summary
from benchmarks.material import portrait, scene
from benchmarks.networks import inswapper, still_models


def network(path: Path, provider: str, threads: int, batch: int, faces: int) -> dict[str, float | bool]:
    """Runs `faces` faces in batches: seconds to load, milliseconds and CPU milliseconds a face, peak memory in MiB."""
    from faceflow.infrastructure.settings import Settings
    from faceflow.settings import EngineSettings
    from faceflow.vision.runtime.networks import open_network

    settings = Settings(
        engine=EngineSettings.model_validate({"provider": provider, "threads": threads, "batch": batch})
    )
    begun = time.monotonic()
    opened = open_network(path, "measured", settings)
    loaded_s = time.monotonic() - begun
    generator = np.random.default_rng(3)
    feeds = {
        "target": generator.random((faces, 3, 128, 128), np.float32),
        "source": generator.standard_normal((faces, 512)).astype(np.float32) / np.float32(22),
    }
    opened.run({name: array[:batch] for name, array in feeds.items()})
    spent_s, begun = time.process_time(), time.monotonic()
    opened.run(feeds)
    return {
        "batched": opened.batched,
        "load_s": loaded_s,
        "ms_a_face": 1000 * (time.monotonic() - begun) / faces,
        "cpu_ms_a_face": 1000 * (time.process_time() - spent_s) / faces,
        "peak_memory_mib": peak_memory_mib(),
    }


def peak_memory_mib() -> float:
    """Of this process since it was started; getrusage would count what its parent had when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def networks(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """`network` for every batch, each in a process of its own, in rounds that alternate."""
    path = inswapper(folder / "inswapper.onnx")
    rows: dict[int, list[dict[str, float]]] = {batch: [] for batch in options.batches}
    for _ in range(options.rounds):
        for batch in options.batches:
            arguments = [str(path), options.provider, str(options.threads), str(batch), str(options.faces)]
            command = [sys.executable, "-m", "benchmarks.engines", "--child", *arguments]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows[batch].append(json.loads(done.stdout.splitlines()[-1]))
    path.unlink()
    result = {
        str(batch): {name: statistics.median(row[name] for row in measured_rows) for name in measured_rows[0]}
        for batch, measured_rows in rows.items()
    }
    print(f"\ninswapper_128's shape on {options.provider}, medians of {options.rounds} rounds")
    for batch_name, row in result.items():
        print(f"  batch {batch_name}: " + ", ".join(f"{name} {value:.1f}" for name, value in row.items()))
    return result


def host(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A job through networks of no compute, beside the floor."""
    os.environ.update(still_models(folder / "models"))
    portrait(folder)
    target = scene(folder / "target.mp4", seconds=6, size=options.size)
    swap = {"engine": "simswap_unofficial_512", "restorer": "gfpgan_1.4"}
    rounds = [(measured("floor", target, folder), measured("job", target, folder, swap)) for _ in range(options.rounds)]
    result = summary(rounds)
    show(options.size, result)
    return result


def main() -> None:
    """Measures, prints and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", default="cpu", choices=["cpu", "cuda", "tensorrt"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--faces", type=int, default=8)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["network", "host"])
    parser.add_argument("--json", type=Path, default=Path("out/engines.json"))
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        path, provider, *numbers = options.child
        print(json.dumps(network(Path(path), provider, *map(int, numbers))))
        return
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        if options.only != "host":
            report["network"] = networks(Path(name), options)
        if options.only != "network":
            report["host"] = host(Path(name), options)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
