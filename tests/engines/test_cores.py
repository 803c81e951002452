"""How many threads networks get: what the affinity and the container's limits leave, whichever is less."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceflow.cores import usable_cores

CORES = 64


@pytest.fixture(autouse=True)
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(CORES)))


def cores(tmp_path: Path, membership: str, files: dict[str, str]) -> int:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "membership").write_text(membership)
    return usable_cores(tmp_path / "cgroup", tmp_path / "membership")


V1 = "12:cpuset:/elsewhere\n4:cpu,cpuacct:{path}\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, CORES),
        ("0::/\n", {"cpu.max": "9000000 100000\n"}, CORES),
        ("0::/pods/one\n", {"pods/one/cpu.max": "max 100000\n", "pods/cpu.max": "400000 100000\n"}, 4),
        ("0::/pods/one\n", {"pods/one/cpu.max": "200000 100000\n", "pods/cpu.max": "400000 100000\n"}, 2),
        ("0::/pods/not-seen-from-inside\n", {"cpu.max": "500000 100000\n"}, 5),
        (V1.format(path="/"), {"cpu/cpu.cfs_quota_us": "600000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),
        (V1.format(path="/pod"), {"cpu/pod/cpu.cfs_quota_us": "50000", "cpu/pod/cpu.cfs_period_us": "50000"}, 1),
        (V1.format(path="/"), {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, CORES),
        ("", {}, CORES),
        ("nothing that is known\n\n0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "300000 0\n"}, CORES),
        ("0::/\n", {"cpu.max": "300000\n"}, CORES),
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, membership: str, files: dict[str, str], expected: int) -> None:
    assert cores(tmp_path, membership, files) == expected


def test_where_nothing_tells_of_limits_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "nothing", tmp_path / "nothing") == CORES
