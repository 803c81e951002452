"""The command `swap` on every container at every frame rate into every container: exact, and with its sheet.

`tests/media/test_rates.py` says the same of the stages; here a user's command runs, with server, sheet and record.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.material import ASTRONAUT
from faceflow.media.containers import BY_ENDING
from tests.conftest import Program, answers
from tests.media import witness
from tests.media.targets import CONTAINERS, RATES, can_say, make_target
from tests.media.test_rates import FLOATING, check_times

Row = tuple[str, str, str]

QUICK: list[Row] = [
    ("ts", "30000/1001", ".mkv"),
    ("vob", "24", ".mp4"),
    ("avi", "24000/1001", ".mov"),
    ("flv", "vfr", ".m4v"),
]
WHOLE: dict[str, list[Row]] = {
    container: [(container, rate, ending) for rate in RATES if can_say(container, rate) for ending in sorted(BY_ENDING)]
    for container in CONTAINERS
}


def test_targets_of_every_kind_of_clock(program: Program, tmp_path: Path) -> None:
    check(program, tmp_path, QUICK)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("container", WHOLE)
def test_every_rate_and_every_output(program: Program, tmp_path: Path, container: str) -> None:
    check(program, tmp_path, WHOLE[container])


def check(program: Program, folder: Path, rows: list[Row]) -> None:
    """Swaps every row in one process and compares all times, as another decoder tells them."""
    targets, commands, outputs = [], [], []
    for number, (container, rate, ending) in enumerate(rows):
        place = folder / str(number)
        place.mkdir()
        targets.append(make_target(place, container, rate))
        outputs.append(place / f"out{ending}")
        commands.append(["swap", ASTRONAUT, targets[-1], "-o", outputs[-1]])
    said = answers(program, commands, timeout_s=60 + 30 * len(rows))
    for row, target, output, (code, answer) in zip(rows, targets, outputs, said, strict=True):
        assert code == 0, (row, answer)
        times = witness.shown_times(target)
        assert answer["frames"] == len(times), row
        check_times(target, times, output, floating=row[0] in FLOATING)
        assert not [note for note in answer["notes"] if "before" in note and "after" in note], (row, answer["notes"])
