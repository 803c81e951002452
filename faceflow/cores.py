"""How many cores this process may keep busy: what its affinity and the limits of its container leave it.

A container with a limit of 3 cores on a machine of 64 sees 64: threads for all of them would wait most of the time,
because the kernel stops all of them once the 3 are used up. Python (3.11) tells of the affinity alone.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Cores that this process may keep busy, at least 1; a limit of 2.5 cores counts as 3.

    Args:
        cgroups: where control groups are mounted.
        membership: which groups this process belongs to, as cgroups(7) describes `/proc/PID/cgroup`.
    """
    affinity = len(os.sched_getaffinity(0))
    return max(1, min([affinity, *(math.ceil(limit) for limit in _limits(cgroups, membership))]))


def _limits(cgroups: Path, membership: Path) -> list[float]:
    """The limits in cores of the process's own group and of all above it, of both versions of control groups."""
    limits = []
    for group in _groups(cgroups, membership):
        with suppress(OSError, ValueError, ZeroDivisionError):  # the root has no such file; "max" is no limit
            quota_us, period_us = (int(word) for word in (group / "cpu.max").read_text().split())
            limits.append(quota_us / period_us)
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota_us = int((group / "cpu.cfs_quota_us").read_text())
            if quota_us > 0:
                limits.append(quota_us / int((group / "cpu.cfs_period_us").read_text()))
    return limits


def _groups(cgroups: Path, membership: Path) -> list[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, separator, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not separator or (controllers and "cpu" not in controllers.split(",")):
            continue
        root = cgroups / "cpu" if controllers else cgroups  # version 1 links the name of each controller
        inner = root / path.lstrip("/")
        # In a container that does not see its own place, the path names nothing here, and the root is the group.
        found += [group for group in (inner, *inner.parents) if group.is_relative_to(root) and group.is_dir()]
    return found
