"""How surely people are told apart: `python -m benchmarks.people [--json FILE]`.

Clips are staged so that it is known who is where in every frame: two who change places at a cut, one in the place of
another, two who cross, one who leaves and returns, a camera that pans over six. Every face that the swap would see is
compared with the person that the table of tracks makes of it; a person counts as the one whose face they mostly are.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.material import SIX_PEOPLE
from benchmarks.staged import HEIGHT, MAN, OTHER, WIDTH, WOMAN, Placed, moving, still, write_clip, write_frames
from faceflow.infrastructure.settings import Settings
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.stages.census import Detail, VideoCensus, take_census
from faceflow.vision.embedded_analyser import EmbeddedAnalyser
from faceflow.vision.faces_file import NO_PERSON
from faceflow.vision.shapes import Face
from faceflow.vision.smoothing import LandmarkSmoother
from faceflow.vision.view import NativeView

_NEAR_PX = 60.0
LEFT, RIGHT, MIDDLE = (180.0, 180.0), (460.0, 180.0), (320.0, 180.0)
Truth = list[list[Placed]]


@dataclass(frozen=True)
class Figures:
    """One clip: `right` and `nobody` are shares of its face-frames; `scan_ms` is CPU a frame, decode and all."""

    name: str
    faces: int
    people: int
    people_found: int
    right: float
    nobody: float
    scan_ms: float


def exchanged(path: Path) -> Truth:
    """Two who talk, cut to the same two with places changed, three times over."""
    one = moving(2, (MAN, LEFT, LEFT), (WOMAN, RIGHT, (500, 150)))
    other = moving(2, (WOMAN, LEFT, LEFT), (MAN, RIGHT, RIGHT))
    return write_clip(path, [one, other, one, other])[0]


def same_place(path: Path) -> Truth:
    """One after the other in the same place, cut hard."""
    return write_clip(path, [still(1.5, Placed(name, *MIDDLE)) for name in (MAN, WOMAN, OTHER, WOMAN, MAN)])[0]


def crossing(path: Path) -> Truth:
    """Two who pass each other twice, one hidden behind the other in the middle."""
    there = moving(2.5, (MAN, (120, 180), (520, 180)), (WOMAN, (520, 190), (120, 170)))
    back = moving(2.5, (WOMAN, (120, 170), (520, 190)), (MAN, (520, 180), (120, 180)))
    return write_clip(path, [there + back])[0]


def returning(path: Path) -> Truth:
    """One leaves for a second and comes back elsewhere, while another stays."""
    stays = Placed(WOMAN, *RIGHT)
    shot = still(1.5, Placed(MAN, *LEFT), stays) + still(1.2, stays) + still(1.5, Placed(MAN, 150, 200), stays)
    return write_clip(path, [shot])[0]


def panning(path: Path) -> Truth:
    """A camera that sweeps over six people, who come into view and leave it."""
    people = cv2.imread(str(SIX_PEOPLE))
    middles = [(face.box[:2] + face.box[2:]) / 2 for face in EmbeddedAnalyser().analyse(np.asarray(people, np.uint8))]
    truth: Truth = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(240):
            passed = number / 239
            left = round((people.shape[1] - 800) * (0.5 - 0.5 * math.cos(3 * math.pi * passed)))
            top = round(430 * (0.5 - 0.5 * math.cos(2 * math.pi * passed)))
            seen = [((x - left) / 1.25, (y - top) / 1.25) for x, y in middles]
            truth.append([Placed(str(who), *place) for who, place in enumerate(seen)])
            part = people[top : top + 450, left : left + 800]
            yield cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)

    write_frames(path, frames())
    return truth


CLIPS: tuple[Callable[[Path], Truth], ...] = (exchanged, same_place, crossing, returning, panning)


def measure(make: Callable[[Path], Truth], path: Path) -> Figures:
    """Makes a clip, takes its census and compares."""
    truth = make(path)
    settings = Settings()
    begun = time.process_time()
    census = take_census(path, probe(path, settings.limits), Detail.TOLD_APART, settings)
    spent_s = time.process_time() - begun
    votes: dict[int, Counter[str]] = {}
    pairs: Counter[tuple[str, int]] = Counter()
    for number, faces in faces_of(path, census, settings):
        people = census.table.people_of(number, [face.box for face in faces], HEIGHT)
        for face, person in zip(faces, people, strict=True):
            name = _name_of(face, truth[number])
            if name is not None:
                pairs[name, person] += 1
                votes.setdefault(person, Counter())[name] += 1
    who = {person: names.most_common(1)[0][0] for person, names in votes.items() if person != NO_PERSON}
    total = pairs.total()
    return Figures(
        name=make.__name__,
        faces=total,
        people=len({name for name, _ in pairs}),
        people_found=len(census.people),
        right=sum(count for (name, person), count in pairs.items() if who.get(person) == name) / total,
        nobody=sum(count for (_, person), count in pairs.items() if person == NO_PERSON) / total,
        scan_ms=spent_s / len(truth) * 1000,
    )


def faces_of(path: Path, census: VideoCensus, settings: Settings) -> Iterator[tuple[int, list[Face]]]:
    """Number and faces of every frame, as the swap sees them."""
    media = probe(path, settings.limits)
    expected = partial(census.table.boxes_at, height_px=media.video.height_px)
    tracker = EmbeddedAnalyser().tracker(census.cuts, 0, expected)
    smoother = LandmarkSmoother(settings.pipeline.context_frames)
    with FrameReader(path, media, census.index) as reader:
        for frame in reader.read(0, census.index.frames):
            faces = tracker.track(NativeView(frame))
            yield from smoother.push(frame.number, faces, frame.number in census.cuts)
    yield from smoother.finish()


def _name_of(face: Face, placed: list[Placed]) -> str | None:
    """Who a face is: of those who are near, the one in front, who is drawn last."""
    x, y = ((face.box[:2] + face.box[2:]) / 2).tolist()
    near = [one.name for one in placed if math.hypot(one.x - x, one.y - y) < _NEAR_PX]
    return near[-1] if near else None


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measures, prints a table and, where asked, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(make, Path(folder, f"{make.__name__}.mp4")) for make in CLIPS]
    print(f"{'clip':14}{'faces':>8}{'people':>8}{'found':>8}{'right':>9}{'nobody':>9}{'scan, ms a frame':>18}")
    for row in rows:
        print(
            f"{row.name:14}{row.faces:>8}{row.people:>8}{row.people_found:>8}{row.right:>9.1%}{row.nobody:>9.1%}"
            f"{row.scan_ms:>18.1f}"
        )
    figures = {"clips": [asdict(row) for row in rows]}
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    main(sys.argv[1:])
