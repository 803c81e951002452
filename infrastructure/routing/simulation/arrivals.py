"""From classes of jobs to units: the micro-batches that are decided one by one, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceflow.infrastructure.routing.gpu_seconds import reference_seconds
from faceflow.infrastructure.routing.simulation.scenario import Curve, JobClass, Scenario
from faceflow.infrastructure.routing.snapshot import JobFacts

_STEPS = 24 * 60


@dataclass(frozen=True, slots=True)
class Unit:
    """Jobs that are decided together."""

    first: int
    """Number of its first job; its jobs are numbered without gaps."""
    arrivals: NDArray[np.float64]
    """Seconds since the beginning, shape (count,), ascending."""
    facts: JobFacts
    """Of one job; deadline and count are set when it is decided."""
    deadline_s: float | None
    """From arrival to deadline."""
    kind: int
    """Number of its class."""

    @property
    def decided_at(self) -> float:
        """When its last job has arrived, seconds since the beginning."""
        return float(self.arrivals[-1])

    @property
    def reference_s(self) -> float:
        """Work of one job on the reference GPU, seconds."""
        return reference_seconds(self.facts) or 0.0


def generate(scenario: Scenario) -> list[Unit]:
    """The units of all classes, by time of decision. The same scenario gives the same units."""
    units: list[Unit] = []
    first = 0
    for kind, job_class in enumerate(scenario.classes):
        generator = np.random.default_rng([scenario.seed, kind])
        arrivals = _arrivals(job_class, scenario.hours * 3600, generator)
        for chosen in _batches(arrivals, job_class):
            units.append(_unit(job_class, kind, first, chosen, generator))
            first += len(chosen)
    return sorted(units, key=lambda unit: (unit.decided_at, unit.first))


def _unit(
    job_class: JobClass, kind: int, first: int, arrivals: NDArray[np.float64], generator: np.random.Generator
) -> Unit:
    factor = generator.lognormal(0.0, job_class.frames_spread) if job_class.frames_spread else 1.0
    facts = JobFacts(
        id=f"{job_class.name}-{first}",
        project=job_class.project,
        sensitivity=job_class.sensitivity,
        priority=job_class.priority,
        labels=job_class.labels,
        frames=max(1, round(job_class.frames * factor)),
        width=job_class.width,
        height=job_class.height,
        faces=job_class.faces,
        engine=job_class.engine,
        restorer=job_class.restorer,
    )
    return Unit(first, arrivals, facts, job_class.deadline_s, kind)


def _arrivals(job_class: JobClass, length_s: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Times of arrival, ascending: as many as there are jobs, spread as the curve says."""
    hours = (np.arange(_STEPS) + 0.5) * length_s / _STEPS / 3600
    weights = curve_weights(job_class.curve, hours)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    drawn = np.sort(generator.random(job_class.jobs)) * total[-1]
    return np.asarray(np.interp(drawn, total, np.linspace(0.0, length_s, _STEPS + 1)), np.float64)


def curve_weights(curve: Curve, hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many jobs come at each hour since midnight, relative to one another."""
    hour = hours % 24
    day = 1 + 0.8 * np.cos((hour - 20) / 24 * 2 * np.pi) if curve is not Curve.FLAT else np.ones_like(hour)
    if curve is Curve.CAMPAIGN:
        launch = np.where(hour >= 9, np.exp(-(hour - 9) / 3.0), 0.0)
        return np.asarray(0.5 * day + 4.0 * launch, np.float64)
    return np.asarray(day, np.float64)


def _batches(arrivals: NDArray[np.float64], job_class: JobClass) -> Iterator[NDArray[np.float64]]:
    if job_class.batch == 1:
        yield from arrivals.reshape(-1, 1)
        return
    windows = np.flatnonzero(np.diff(np.floor(arrivals / job_class.batch_window_s))) + 1
    for together in np.split(arrivals, windows):
        for begin in range(0, len(together), job_class.batch):
            yield together[begin : begin + job_class.batch]


def jobs_in(units: Sequence[Unit]) -> int:
    """How many jobs all units hold."""
    return sum(len(unit.arrivals) for unit in units)
