"""When a job moves from spot to on-demand capacity: as soon as it is behind the straight line to its deadline.

After "Uniform Progress" of Wu et al., *Can't Be Late: Optimizing Spot Instance Savings under Deadlines* (NSDI 2024):
work should be done in proportion to the time that has passed. A job behind that line takes on-demand capacity; it goes
back to spot only when it is ahead by two changeovers, so that it does not swing to and fro. A safety net takes
on-demand capacity at the last moment at which it still brings the job home in time.
"""

from __future__ import annotations

import math
from datetime import datetime

from faceflow.infrastructure.routing.snapshot import JobProgress


def why_on_demand(
    progress: JobProgress, now: datetime, deadline: datetime, run_s: float | None, changeover_s: float
) -> str | None:
    """Why the job needs on-demand capacity now; None while spot will do.

    Args:
        progress: how far it came, and since when it runs.
        now: the moment of the decision.
        deadline: when the result is needed.
        run_s: seconds of work that are left on on-demand capacity; None where not known.
        changeover_s: seconds that moving costs.
    """
    left_s = (deadline - now).total_seconds()
    # After the deadline dearer capacity brings nothing back.
    if not (math.isfinite(progress.done) and 0 <= progress.done < 1) or left_s <= 0:
        return None
    if run_s is not None and left_s <= run_s + 2 * changeover_s:
        return f"only {left_s:.0f} s are left for {run_s:.0f} s of work"
    whole_s = (deadline - progress.started_at).total_seconds()
    passed_s = whole_s - left_s
    if whole_s <= 0 or passed_s < 0:
        return None
    expected = passed_s / whole_s
    if progress.done < expected:
        return f"{progress.done:.0%} of the work is done when {expected:.0%} of the time has passed"
    if progress.on_demand and progress.done < expected + 2 * changeover_s / whole_s:
        return "it is not yet far enough ahead of schedule to go back to spot"
    return None
