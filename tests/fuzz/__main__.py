"""`python -m tests.fuzz`: mutated files through all that opens them; says how each ended and how to have a fault again.

python -m tests.fuzz --cases 12000 --seed 1                 the whole of it
python -m tests.fuzz --only mkv --seed 1 --number 4711      one case, with its traceback
... --write case.mkv                                        and its file
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runner import summary, tried


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--trial", default="tests.fuzz.trial_video", help="module that makes and tries cases")
    parser.add_argument("--only", action="append", help="kinds of file; all where none is named")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=1000, help="how many, over all kinds")
    parser.add_argument("--number", type=int, help="this case alone")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bases", type=Path, help="folder of the whole clips, kept for the next time")
    parser.add_argument("--write", type=Path, help="writes the file of --number here")
    asked = parser.parse_args()
    trial = importlib.import_module(asked.trial)
    kinds = asked.only or trial.names()
    each = -(-asked.cases // len(kinds))
    numbers = [asked.number] if asked.number is not None else range(asked.first, asked.first + each)
    with tempfile.TemporaryDirectory() as temporary:
        bases = asked.bases or Path(temporary)
        trial.prepare(bases)
        if asked.write is not None:
            asked.write.write_bytes(trial.made(bases, kinds[0], asked.seed, numbers[0])[1])
        cases = [(kind, asked.seed, number) for number in numbers for kind in kinds]
        verdicts = []
        for verdict in tried(asked.trial, bases, cases, workers=asked.workers):
            verdicts.append(verdict)
            if verdict.fault:
                print(verdict, flush=True)
        print(summary(verdicts))
    return int(any(verdict.fault for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
