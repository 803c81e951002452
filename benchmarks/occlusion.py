"""What passes in front of a face must stay in front: how much of it does, and how much of the swap that costs.

Occluders whose mask is known are moved over clips of real faces (`occluders`), the clips go through the tracker, the
reference, the smoothing and the mesh swapper, and what the swapper's mask shows is compared with what it should show.

    recall    share of the occluder, where the swap reaches, that is left as it is
    lost      share of the swap that is gone from frames with an occluder, though nothing covers it there
    lost bare the same for frames without one

    python -m benchmarks.occlusion
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.material import ASTRONAUT, CARPHONE
from benchmarks.occluders import OCCLUDERS, Occluder
from faceflow.vision.embedded_analyser import EmbeddedAnalyser
from faceflow.vision.mesh_swapper import MeshIdentity, MeshSwapper
from faceflow.vision.occlusion import unlike
from faceflow.vision.scan import AT_FIRST_S, CALM
from faceflow.vision.shapes import Face, Picture, TargetCrop
from faceflow.vision.smoothing import LARGEST_RADIUS, LandmarkSmoother
from faceflow.vision.target_reference import build_reference
from faceflow.vision.unwrapping import flat_face
from faceflow.vision.view import PictureView

Floats = NDArray[np.float32]

_ARRIVES, _LEAVES, _MOVING = 0.40, 0.70, 6
"""Where in the clip the occluder is there, and for how many frames it comes and goes."""
_BORDER_PX = 2
"""Pixels on either side of the occluder's edge that are counted neither way."""


@dataclass(frozen=True)
class Figures:
    """How one occluder fared; shares of what the swap shows where nothing is looked for."""

    occluder: str
    recall_before: float
    recall: float
    lost: float
    lost_bare: float
    agreement: float
    """Intersection over union of what stays and what should, over frames with the occluder."""
    ms_a_face: float
    """CPU of the comparison, in milliseconds a face and frame."""


def carphone() -> list[Picture]:
    """A talking man, 120 frames, enlarged twice."""
    capture, frames = cv2.VideoCapture(str(CARPHONE)), []
    while True:
        good, frame = capture.read()
        if not good:
            return frames
        frames.append(np.asarray(cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8))


def moved_picture(picture: Picture, frames: int = 120, seed: int = 1) -> list[Picture]:
    """A picture that sways, nods towards the camera and changes its light, with noise."""
    noise, height, width = np.random.default_rng(seed), *picture.shape[:2]
    result = []
    for number in range(frames):
        swing = 2 * np.pi * number / 60
        matrix = cv2.getRotationMatrix2D((width / 2, height / 3), 4 * np.sin(swing), 1 + 0.04 * np.sin(1.7 * swing))
        matrix[:, 2] += (6 * np.sin(0.8 * swing), 4 * np.sin(1.3 * swing))
        frame = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
        slope = 1 + 0.12 * np.sin(swing) * np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        frame = frame * slope + noise.normal(0, 2, frame.shape)
        result.append(np.asarray(np.rint(frame.clip(0, 255)), np.uint8))
    return result


def measure(
    name: str, frames: Sequence[Picture], occluder: Occluder, rate: float = 30.0, *, always: bool = False
) -> Figures:
    """Moves an occluder over a clip of one face; `always` leaves it there from the first frame to the last."""
    analyser = EmbeddedAnalyser()
    tracker = analyser.tracker((), 0)
    bare = [tracker.track(PictureView(frame))[0] for frame in frames]
    come = [1.0] * len(frames) if always else [_come(number, len(frames)) for number in range(len(frames))]
    covered, truths = [], []
    for frame, face, share in zip(frames, bare, come, strict=True):
        picture, truth = occluder(frame, _landmarks(face), share) if share > 0 else (frame, np.zeros(frame.shape[:2]))
        covered.append(picture)
        truths.append(np.asarray(truth, np.float32))
    faces, cost_s = looked_at(covered, rate)
    portrait = np.asarray(cv2.imread(str(ASTRONAUT)), np.uint8)
    swapper = MeshSwapper()
    identity = swapper.prepare("source", [(portrait, analyser.analyse(portrait)[0])])
    rows = []
    for plain, picture, seen_face, truth in zip(frames, covered, faces, truths, strict=True):
        if seen_face is not None:
            without = replace(seen_face, hidden=None)
            looks = ((plain, without), (picture, without), (picture, seen_face))
            rows.append((truth, *(_shown(swapper, identity, seen, one) for seen, one in looks)))
    return _figures(name, rows, 1e3 * cost_s / len(frames))


def looked_at(frames: Sequence[Picture], rate: float = 30.0) -> tuple[list[Face | None], float]:
    """The face of each frame, smoothed and with what hides it, as the stages would find it; and CPU seconds for that.

    The reference is learned from as many looks as validate takes.
    """
    analyser = EmbeddedAnalyser()
    samples = []
    young, often, later = (round(each * rate) for each in (AT_FIRST_S, CALM.at_first_s, CALM.follow_s))
    for frame in (*frames[:young:often], *frames[young::later]):
        view = PictureView(frame)
        found = analyser.look(view)
        flat = flat_face(view, _landmarks(found[0])) if found else None
        samples += [flat] if flat is not None else []
    reference = build_reference(samples)
    tracker, smoother = analyser.tracker((), 0), LandmarkSmoother(LARGEST_RADIUS)
    calm: dict[int, list[Face]] = {}
    cost_s = 0.0
    for number, frame in enumerate(frames):
        view = PictureView(frame)
        faces = tracker.track(view)[:1]
        started = time.process_time()
        if faces and reference is not None:
            flat = flat_face(view, _landmarks(faces[0]))
            faces = [replace(faces[0], unlike=None if flat is None else unlike(flat, reference))]
        cost_s += time.process_time() - started
        calm.update(smoother.push(number, faces, cut=False))
    calm.update(smoother.finish())
    return [calm[number][0] if calm[number] else None for number in range(len(frames))], cost_s


def _come(number: int, frames: int) -> float:
    first, last = _ARRIVES * frames, _LEAVES * frames
    return float(np.clip(min(number - first, last - number) / _MOVING, 0, 1))


def _shown(swapper: MeshSwapper, identity: MeshIdentity, picture: Picture, face: Face) -> Floats:
    """float32 (H, W), 0 to 1: where the swap shows in the frame."""
    side = swapper.crop_side_px(face)
    matrix = swapper.alignment(face, side)
    pixels = np.asarray(cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    landmarks, linear = _landmarks(face), matrix[:, :2]
    depth = landmarks[:, 2:] * np.sqrt(abs(np.linalg.det(linear)))
    inside = np.hstack([landmarks[:, :2] @ linear.T + matrix[:, 2], depth]).astype(np.float32)
    mask = swapper.swap([TargetCrop(pixels, matrix, face.points, inside, face.hidden)], identity)[0].mask
    size = (picture.shape[1], picture.shape[0])
    back = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return back.astype(np.float32) / np.float32(255)


def _figures(name: str, rows: Sequence[tuple[Floats, Floats, Floats, Floats]], ms: float) -> Figures:
    inside, apart, bare, both = np.zeros(3), np.zeros(2), np.zeros(2), np.zeros(2)
    for truth, base, before, after in rows:
        if not truth.any():
            bare += (after.sum(), base.sum())
            continue
        inside += [(shown * truth).sum() for shown in (base, before, after)]
        away = 1 - cv2.dilate(truth, np.ones((2 * _BORDER_PX + 1,) * 2, np.uint8))
        apart += ((after * away).sum(), (base * away).sum())
        reached = base > 0.3
        stays, should = (after < 0.5 * base) & reached, (truth > 0.5) & reached
        both += ((stays & should).sum(), (stays | should).sum())
    whole = max(1e-6, inside[0])
    return Figures(
        occluder=name,
        recall_before=float(1 - inside[1] / whole),
        recall=float(1 - inside[2] / whole),
        lost=float(1 - apart[0] / max(1e-6, apart[1])),
        lost_bare=float(1 - bare[0] / bare[1]) if bare[1] else 0.0,
        agreement=float(both[0] / max(1.0, both[1])),
        ms_a_face=ms,
    )


def _landmarks(face: Face) -> Floats:
    assert face.landmarks is not None
    return face.landmarks


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measures, prints a table and, where asked, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    options = parser.parse_args(arguments)
    astronaut = np.asarray(cv2.imread(str(ASTRONAUT)), np.uint8)
    clips = {"carphone": carphone(), "astronaut": moved_picture(astronaut)}
    found = [
        measure(f"{clip}: {name}", frames, occluder)
        for clip, frames in clips.items()
        for name, occluder in OCCLUDERS.items()
    ]
    columns = ("recall_before", "recall", "lost", "lost_bare", "agreement", "ms_a_face")
    print(f"{'occluder':24}" + "".join(f"{column.replace('_', ' '):>15}" for column in columns))
    for one in found:
        shares = "".join(f"{getattr(one, column):>15.1%}" for column in columns[:-1])
        print(f"{one.occluder:24}{shares}{one.ms_a_face:>15.2f}")
    figures = [asdict(one) for one in found]
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    main(sys.argv[1:])
