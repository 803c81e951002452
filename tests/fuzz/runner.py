"""Hands cases to worker processes and collects what became of each.

A worker that dies took its case with it: that is the fault, and a new worker goes on with the next case. No clock
judges a case; a worker is called stuck only where it sleeps and its CPU time does not grow for minutes.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CPU_BOUND_S = 20
"""CPU time of one case, seconds; ordinary ones take a tenth of one."""
_STUCK_S = 120.0
_LOOK_S = 1.0

Case = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case: a result or a code, or a fault."""

    case: Case
    outcome: str
    fault: str
    cpu_s: float = 0.0
    peak: int = 0

    def __str__(self) -> str:
        name, seed, number = self.case
        again = f"python -m tests.fuzz --only {name} --seed {seed} --number {number}"
        return f"{name} seed {seed} number {number}: {self.fault.strip() or self.outcome}\n    again: {again}"


class Worker:
    """One worker process and the case that it has in hand."""

    def __init__(self, module: str, bases: Path, cpu_bound_s: int = CPU_BOUND_S) -> None:
        self._command = [sys.executable, "-m", "tests.fuzz.worker", module, str(bases), str(cpu_bound_s)]
        self._process: subprocess.Popen[str] | None = None
        self._errors: list[str] = []

    def tried(self, case: Case) -> Verdict:
        process = self._process or self._started()
        assert process.stdin is not None and process.stdout is not None
        del self._errors[:]
        try:
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            line = self._answer(process)
        except BrokenPipeError:
            line = ""
        if line:
            told = json.loads(line)
            return Verdict(case, told["outcome"], told["fault"], told["cpu_s"], told["peak"])
        status = process.wait()
        self._process = None
        return Verdict(case, "", _death(status) + "\n" + "".join(self._errors[-20:]))

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(process, self._lines), daemon=True).start()
        threading.Thread(target=self._listen_to_errors, args=(process, self._errors), daemon=True).start()
        return process

    @staticmethod
    def _listen(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    @staticmethod
    def _listen_to_errors(process: subprocess.Popen[str], errors: list[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            errors.append(line)

    def _answer(self, process: subprocess.Popen[str]) -> str:
        used, since = -1.0, time.monotonic()
        while True:
            try:
                return self._lines.get(timeout=_LOOK_S)
            except queue.Empty:
                now, sleeps = _cpu_of(process.pid)
                if now != used or not sleeps:
                    used, since = now, time.monotonic()
                elif time.monotonic() - since > _STUCK_S:
                    process.kill()


def tried(
    module: str, bases: Path, cases: Iterable[Case], *, workers: int = 1, cpu_bound_s: int = CPU_BOUND_S
) -> Iterator[Verdict]:
    """Tries every case; yields what became of them, in no order where there is more than one worker."""
    waiting = iter(cases)
    lock = threading.Lock()
    done: queue.Queue[Verdict | BaseException | None] = queue.Queue()

    def work() -> None:
        worker = Worker(module, bases, cpu_bound_s)
        try:
            while True:
                with lock:
                    case = next(waiting, None)
                if case is None:
                    break
                done.put(worker.tried(case))
        except BaseException as error:  # noqa: BLE001 - raised again where the verdicts are read
            done.put(error)
        finally:
            worker.close()
            done.put(None)

    for _ in range(workers):
        threading.Thread(target=work, daemon=True).start()
    running = workers
    while running:
        verdict = done.get()
        if isinstance(verdict, BaseException):
            raise verdict
        if verdict is None:
            running -= 1
        else:
            yield verdict


def summary(verdicts: list[Verdict]) -> str:
    """How the cases ended, and every fault."""
    outcomes = Counter(verdict.outcome or "FAULT" for verdict in verdicts)
    faults = [verdict for verdict in verdicts if verdict.fault]
    heaviest = max(verdicts, key=lambda verdict: verdict.peak)
    slowest = max(verdicts, key=lambda verdict: verdict.cpu_s)
    lines = [
        f"{len(verdicts)} cases, {len(faults)} faults, {sum(verdict.cpu_s for verdict in verdicts):.0f} s of CPU",
        f"most memory {heaviest.peak / 2**20:.0f} MiB {heaviest.case}, most CPU {slowest.cpu_s:.1f} s {slowest.case}",
        *(f"{count:7} {outcome}" for outcome, count in outcomes.most_common()),
        *(f"{count:7} {kind}" for kind, count in Counter(map(_kind, faults)).most_common()),
    ]
    return "\n".join(lines)


def _kind(fault: Verdict) -> str:
    """What tells one fault from another: the last line, and the last place of ours that it came through."""
    lines = fault.fault.strip().splitlines()
    places = [line.strip() for line in lines if "/faceflow/" in line]
    error = re.sub(r"'[^']*'|[/.\w-]*/[/.\w-]*", "...", lines[-1] if places else lines[0])
    return f"FAULT {fault.case[0]}: {error[:120]} | {places[-1].rpartition('/')[2] if places else ''}"


def _death(status: int) -> str:
    if status >= 0:
        return f"the process ended with {status}"
    if status == -signal.SIGXCPU:
        return "used more CPU time than a case may: it hangs"
    if status == -signal.SIGKILL:
        return "was killed: it slept without an end, or the system ran out of memory"
    return f"the process died of {signal.Signals(-status).name}"


def _cpu_of(process: int) -> tuple[float, bool]:
    """CPU ticks that a process has used, and whether all of it sleeps."""
    try:
        states = []
        for task in Path(f"/proc/{process}/task").iterdir():
            states.append(task.joinpath("stat").read_text(encoding="latin-1").rpartition(")")[2].split()[0])
        values = Path(f"/proc/{process}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
    except OSError:  # it just ended; its pipe tells
        return -2.0, False
    return float(values[11]) + float(values[12]), all(state == "S" for state in states)
