"""A process that tries cases, one line of JSON in and one out, and dies of those that take too much.

`python -m tests.fuzz.worker MODULE BASES CPU_SECONDS` runs under a limit of address space. Before each case the limit
of CPU time is set to what was used so far and the bound of a case: a loop that does not end is ended by the system
(SIGXCPU), on an idle machine and on a busy one alike.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

MEMORY_BOUND = 700 * 2**20
"""Bytes that a case may take beyond what the process had before its first one."""
_SPACE_BOUND = 3 * 2**30
"""Bytes of address space beyond what the process had."""


def main() -> None:
    trial, bases, cpu_bound_s = importlib.import_module(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    space = _status_kib("VmSize") * 1024 + _SPACE_BOUND
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    ground = _status_kib("VmRSS") * 1024
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            name, seed, number = json.loads(line)
            _forget_peak()
            begun = time.process_time()
            resource.setrlimit(resource.RLIMIT_CPU, (int(begun) + 1 + cpu_bound_s, resource.RLIM_INFINITY))
            suffix, data = trial.made(bases, name, seed, number)
            path = Path(folder) / f"case{suffix}"
            path.write_bytes(data)
            outcome, fault = "", ""
            try:
                outcome = trial.attempt(path, number)
            except Exception:  # noqa: BLE001 - that is what is looked for
                fault = traceback.format_exc()
            used, peak = time.process_time() - begun, _status_kib("VmHWM") * 1024 - ground
            if not fault and peak > MEMORY_BOUND:
                outcome, fault = "", f"took {peak / 2**20:.0f} MiB of memory"
            print(json.dumps({"outcome": outcome, "fault": fault, "cpu_s": used, "peak": peak}), flush=True)


def _status_kib(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith(name + ":")).split()[1])


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    main()
