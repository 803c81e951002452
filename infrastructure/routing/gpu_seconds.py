"""How much work a job is: GPU-seconds from frames x faces x engine x GPU type.

The figures lie in `data/gpu_seconds.json`, which says of each whether it was measured or assumed. They are a start:
finished jobs correct them by a factor for every pair of engine and GPU, which comes in from outside.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from importlib.resources import files
from typing import Any

from faceflow.infrastructure.routing.snapshot import JobFacts

CORRECTION_LIMITS = (0.1, 10.0)
"""A correction outside these comes from a fault (a stopped clock, a job of another kind) and is not used."""


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files(__package__).joinpath("data/gpu_seconds.json").read_text())
    return table


def known_gpus() -> frozenset[str]:
    """GPU types in the table."""
    return frozenset(_table()["gpu_speed"])


def correction_range(factor: float) -> tuple[float, float]:
    """Least and most that a correction may be: itself, or everything that is possible where it cannot be believed."""
    low, high = CORRECTION_LIMITS
    return (factor, factor) if math.isfinite(factor) and low <= factor <= high else CORRECTION_LIMITS


def frames_of(job: JobFacts) -> float | None:
    """Frames of one job, from its duration where nobody counted; None where neither is known."""
    if job.frames is not None:
        return float(job.frames)
    return None if job.duration_s is None else job.duration_s * float(_table()["assumed_frames_per_second"])


def duration_of(job: JobFacts) -> float | None:
    """Seconds of one job's clip, from its frames where nobody said; None where neither is known."""
    if job.duration_s is not None:
        return job.duration_s
    return None if job.frames is None else job.frames / float(_table()["assumed_frames_per_second"])


def _megapixels(job: JobFacts) -> float:
    if job.width is None or job.height is None:
        return float(_table()["assumed_megapixels"])
    return job.width * job.height / 1e6


def reference_seconds(job: JobFacts) -> float | None:
    """Seconds that all `count` jobs take on the reference GPU; None where the length of the clip is not known."""
    frames = frames_of(job)
    if frames is None:
        return None
    table = _table()
    kind = job.engine if job.engine in table["engine_ms_per_face"] else "onnx"
    restorer = job.restorer if job.restorer in table["restorer_ms_per_face"] else "onnx"
    faces = table["assumed_faces"] if job.faces is None else job.faces
    face_ms = table["engine_ms_per_face"][kind] + table["restorer_ms_per_face"][restorer]
    milliseconds = _megapixels(job) * table["picture_ms_per_megapixel"][kind] + faces * face_ms
    return float(frames * milliseconds / 1000 * job.count)


def speed(engine: str, gpu: str) -> float:
    """How many times faster than the reference a GPU is at an engine's work."""
    table = _table()
    return float(table["cpu_speed" if engine in table["runs_on_cpu"] else "gpu_speed"][gpu])


def result_gigabytes(job: JobFacts) -> float | None:
    """Size of all `count` results in gigabytes (10^9 bytes); None where it cannot be told."""
    if job.output_bytes is not None:
        return job.output_bytes * job.count / 1e9
    duration = duration_of(job)
    if duration is None:
        return None
    mbit = duration * _megapixels(job) * float(_table()["result_mbit_per_second_per_megapixel"])
    return mbit / 8e3 * job.count
