"""Every detector and landmarker of the catalogue through a whole video job, and beside whoever else reads such files.

A clip of three coloured squares is swapped. Where the faces are, and so every pixel of the result, follows from the
stand-ins' functions and the published contracts; nothing of the product's arithmetic is used for it.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from insightface.model_zoo.landmark import Landmark
from insightface.model_zoo.scrfd import SCRFD

from benchmarks.staged import HEIGHT, WIDTH, write_frames
from faceflow.errors import EngineError, JobError
from faceflow.job import SwapOptions
from faceflow.vision.model_catalogue import ModelKind, load_catalogue
from faceflow.vision.neural import insightface_session
from faceflow.vision.neural.detectors import load_detector
from faceflow.vision.neural.landmarkers import load_landmarker
from faceflow.vision.registry import engine_versions, make_analyser, release_engines, require_engines
from faceflow.vision.shapes import Face
from faceflow.vision.view import PictureView
from tests.engines.analysers import ASIDE, SCORES, points_of, square
from tests.engines.detectors import SIDE, YUNET_SCORES
from tests.engines.landmarkers import ASIDE_3D, ASIDE_FAN
from tests.engines.standins import build
from tests.engines.test_every_network import bgr_of, compare, fit, laid, swapped_crop, through
from tests.engines.test_insightface import ENGINE, Run, loaded, wish

pytestmark = pytest.mark.filterwarnings("ignore:.estimate. is deprecated:FutureWarning")

FRAMES = 6
COLOURS = ("red", "green", "blue")
DETECTORS = {
    "det_10g": SCORES, "scrfd_2.5g": SCORES, "yoloface_8n": SCORES,
    "yunet_2023_mar": YUNET_SCORES, "yunet_n_640_640": YUNET_SCORES,
}  # fmt: skip
LANDMARKERS = {"2d106det": ASIDE, "1k3d68": ASIDE_3D, "2dfan4": ASIDE_FAN}
PORTRAIT = (150, 140, 120)


def places(frame):
    """Middle and side of the squares, whose edges lie between pixels. The red one moves."""
    return {"red": (100 + 3 * frame, 120, 60), "green": (430, 90, 84), "blue": (530, 270, 100)}


def drawn(frame, factor=1):
    picture = np.full((HEIGHT * factor, WIDTH * factor, 3), 110, np.uint8)
    for colour, (x, y, side) in places(frame).items():
        square(picture, colour, factor * x, factor * y, factor * side)
    return picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    write_frames(folder / "three.mp4", (drawn(frame) for frame in range(FRAMES)), "yuv444p")
    portrait = np.full((300, 300, 3), 110, np.uint8)
    square(portrait, "blue", *PORTRAIT)
    cv2.imwrite(str(folder / "blue.png"), portrait)
    return folder


@pytest.fixture(autouse=True)
def nothing_stays_loaded_and_nothing_is_fetched(monkeypatch):
    release_engines()
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a job must not ask the network"))
    yield
    release_engines()


def five_of(x, y, side, aside=0.0):
    """The five points of a square, moved by a share of its side."""
    return points_of(x + aside * side, y, side)


def check(run, folder, aside):
    """All faces lie where they must, and every pixel in the middle of each is what follows from that."""
    portrait = cv2.imread(str(folder / "blue.png"))
    points = five_of(*PORTRAIT, aside)
    seen = {(face.frame, colour): False for face in run.faces for colour in COLOURS}
    assert len(run.faces) == len(seen) == 3 * FRAMES
    for face in run.faces:
        back = cv2.invertAffineTransform(face.matrix.astype(np.float64))
        five = face.points @ back[:, :2].T + back[:, 2]
        for colour, (x, y, side) in places(face.frame).items():
            wanted = five_of(x, y, side, aside)
            if np.abs(five.mean(0) - wanted.mean(0)).max() < side / 4:
                seen[face.frame, colour] = True
                assert np.abs(five - wanted).max() < 1, (face.frame, colour)
    assert all(seen.values())
    for frame in (0, FRAMES - 1):
        before, after = bgr_of(run.before[frame]), bgr_of(run.after[frame])
        for x, y, side in places(frame).values():
            matrix = fit(five_of(x, y, side, aside), "ffhq", 256)
            crop = through(before, matrix, (256, 256))
            crop = swapped_crop(crop, ENGINE, portrait, SimpleNamespace(points=points))
            compare(after, *laid(before, crop, matrix))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_finds_the_faces_that_are_swapped(studio, clip, tmp_path, monkeypatch, name):
    studio.install(ENGINE, name)
    run = Run(wish(clip, analyser=name, mask_feather=0.2), studio, tmp_path, monkeypatch)
    assert loaded() == {f"{ENGINE}.onnx", studio.catalogue.find(name).files[0].name}
    check(run, clip, 0)


@pytest.mark.parametrize("name", LANDMARKERS)
def test_a_landmarker_places_the_points_of_clips_and_portraits(studio, clip, tmp_path, monkeypatch, name):
    studio.install(ENGINE, "yunet_2023_mar", name)
    job = wish(clip, analyser="yunet_2023_mar", landmarker=name, mask_feather=0.2)
    run = Run(job, studio, tmp_path, monkeypatch)
    assert loaded() == {f"{ENGINE}.onnx", "yunet_2023_mar.onnx", studio.catalogue.find(name).files[0].name}
    check(run, clip, LANDMARKERS[name])


def test_insightface_without_a_landmarker_is_its_detector_alone(studio, clip, tmp_path, monkeypatch):
    studio.install(ENGINE, "det_10g")
    run = Run(wish(clip, landmarker="none", mask_feather=0.2), studio, tmp_path, monkeypatch)
    assert loaded() == {f"{ENGINE}.onnx", "det_10g.onnx"}
    check(run, clip, 0)


def test_the_catalogue_holds_no_detector_and_no_landmarker_that_is_not_run_here():
    for kind, known in ((ModelKind.DETECTOR, DETECTORS), (ModelKind.LANDMARKER, LANDMARKERS)):
        assert {entry.name for entry in load_catalogue().entries(kind) if entry.variant_of is None} == set(known)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("factor", [1, 2])
def test_scores_places_and_sizes_are_those_of_the_squares(studio, name, factor):
    studio.install(name)
    detector, picture = load_detector(name, studio.settings()), drawn(2, factor)
    found = {face.score: face for face in detector.in_overview(PictureView(picture))}
    assert sorted(found) == pytest.approx(sorted(DETECTORS[name]), abs=1e-3)
    for (score, face), place in zip(sorted(found.items(), reverse=True), places(2).values(), strict=True):
        x, y, side = (factor * one for one in place)
        assert np.abs(face.box - [x - side / 2, y - side / 2, x + side / 2, y + side / 2]).max() < 1.5 * factor
        assert np.abs(face.points - five_of(x, y, side)).max() < factor
        again = detector.at(PictureView(picture), face.box)
        assert again is not None and again.score == pytest.approx(score, abs=0.1)
        assert np.abs(again.points - five_of(x, y, side)).max() < 1
    assert detector.at(PictureView(picture), np.array([20, 20, 60, 60], np.float32)) is None


@pytest.mark.parametrize("name", ["yunet_2023_mar", "yunet_n_640_640"])
def test_yunet_answers_as_opencv_reads_it(studio, name):
    studio.install(name)
    settings = studio.settings()
    path = studio.folder / "models" / name / studio.catalogue.find(name).files[0].name
    detector: Any = load_detector(name, settings)
    theirs = cv2.FaceDetectorYN.create(str(path), "", (SIDE, SIDE), detector.least_score, detector.most_overlap, 5000)
    picture = drawn(3)
    padded = np.zeros((SIDE, SIDE, 3), np.uint8)
    padded[:HEIGHT, :WIDTH] = picture
    rows = {round(float(row[14]), 4): row for row in theirs.detect(padded)[1]}
    mine = detector.in_overview(PictureView(picture))
    assert len(mine) == len(rows) == 3
    for face in mine:
        row = rows[round(face.score, 4)]
        assert np.abs(face.box - [row[0], row[1], row[0] + row[2], row[1] + row[3]]).max() < 0.01
        assert np.abs(face.points - row[4:14].reshape(5, 2)).max() < 0.01


def test_scrfd_answers_as_insightface_reads_it(studio, tmp_path):
    studio.install("scrfd_2.5g")
    theirs = SCRFD(str(build(studio.catalogue.find("scrfd_2.5g"), tmp_path / "scrfd.onnx")))
    picture = drawn(3)
    boxes, points = theirs.detect(picture, input_size=(SIDE, 384))
    mine = load_detector("scrfd_2.5g", studio.settings()).in_overview(PictureView(picture))
    assert len(mine) == len(boxes) == 3
    for face in mine:
        (row,) = np.flatnonzero(np.abs(boxes[:, 4] - face.score) < 1e-4)
        assert np.abs(face.box - boxes[row, :4]).max() < 0.01 and np.abs(face.points - points[row]).max() < 0.01


def test_3d_landmarks_are_those_that_insightface_reads(studio, tmp_path):
    studio.install("1k3d68")
    theirs = Landmark(str(build(studio.catalogue.find("1k3d68"), tmp_path / "1k3d68.onnx")))
    assert (theirs.taskname, theirs.input_mean, theirs.input_std) == ("landmark_3d_68", 0, 1)
    picture = drawn(3)
    for x, y, side in places(3).values():
        box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
        whole = theirs.get(picture, _Asked(bbox=box))[:, :2]
        five = [whole[36:42].mean(0), whole[42:48].mean(0), whole[30], whole[48], whole[54]]
        mine = load_landmarker("1k3d68", studio.settings())
        points = mine.five_points(PictureView(picture), Face(box, points_of(x, y, side).astype(np.float32), 1.0))
        assert np.abs(points - five).max() < 0.02 * side


class _Asked(dict):
    """A face as InsightFace's networks take it."""

    def __getattr__(self, name):
        return self[name]


@pytest.mark.parametrize(("landmarker", "aside"), [("auto", 0), ("none", 0), *LANDMARKERS.items()])
def test_a_landmarker_that_is_named_places_the_points_of_single_pictures_too(studio, clip, landmarker, aside):
    studio.install("yunet_2023_mar", *LANDMARKERS)
    analyser = make_analyser("yunet_2023_mar", studio.settings(), landmarker)
    (face,) = analyser.analyse(cv2.imread(str(clip / "blue.png")))
    assert np.abs(face.points - five_of(*PORTRAIT, aside)).max() < 1


def test_points_that_2dfan4_is_not_sure_of_are_not_taken(studio):
    studio.install("2dfan4", "yunet_2023_mar")
    analyser: Any = make_analyser("yunet_2023_mar", studio.settings(), "2dfan4")
    gray = PictureView(np.full((HEIGHT, WIDTH, 3), 110, np.uint8))
    face = Face(np.array([100, 100, 200, 200], np.float32), points_of(150, 150, 100).astype(np.float32), 0.9)
    assert analyser.refined(gray, face) is face


def test_what_does_not_fit_is_said_before_anything_runs(studio, monkeypatch):
    studio.install(ENGINE, "yunet_2023_mar", "2dfan4", "det_10g", "1k3d68", "xseg_1", "bisenet_resnet_34")
    settings = studio.settings()

    def refused(error, **options):
        with pytest.raises(error) as caught:
            require_engines(SwapOptions(**{"engine": ENGINE, "restorer": "none", **options}), settings)
        return caught.value

    assert refused(JobError, landmarker="2dfan4").code == "job.landmarker_unfit"
    unknown = refused(JobError, analyser="yunet_2023_mar", landmarker="det_10g")
    assert unknown.code == "job.engine_unknown" and "2dfan4" in unknown.resolution
    assert refused(JobError, analyser="2dfan4").code == "job.engine_unknown"
    assert refused(JobError, analyser="yunet_2023_mar", engine="mesh").code == "job.analyser_unfit"
    wrong = refused(EngineError, masks=("occlusion",), occlusion_model="bisenet_resnet_34")
    assert wrong.code == "engine.contract_mismatch"
    monkeypatch.setattr(insightface_session, "_PACKAGE", "insightface_that_is_not_there")
    require_engines(
        SwapOptions(engine=ENGINE, restorer="none", analyser="yunet_2023_mar", landmarker="2dfan4"), settings
    )
    missing = refused(EngineError, analyser="yunet_2023_mar", landmarker="1k3d68")
    assert missing.code == "engine.package_missing"
    assert not loaded()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("yoloface_8n", "yunet_2023_mar"),
        ("yunet_2023_mar", "yoloface_8n"),
        ("2dfan4", "1k3d68"),
        ("1k3d68", "2d106det"),
    ],
)
def test_another_network_under_the_name_is_refused(studio, tmp_path, name, other):
    folder = tmp_path / "models"
    build(studio.catalogue.find(other), folder / name / studio.catalogue.find(name).files[0].name)
    settings = studio.settings()
    settings = settings.model_copy(update={"models": settings.models.model_copy(update={"folder": folder})})
    loads = load_detector if name in DETECTORS else load_landmarker
    with pytest.raises(EngineError) as caught:
        loads(name, settings)
    assert caught.value.code == "engine.contract_mismatch"


def test_a_result_is_kept_under_the_networks_that_made_it(studio):
    studio.install(ENGINE, "yunet_2023_mar", "2dfan4", "1k3d68")
    settings = studio.settings()

    def keys(**options):
        versions = engine_versions(SwapOptions(engine=ENGINE, **options), settings)
        return {name for name in versions if name.startswith("model.") or name == "insightface"} - {f"model.{ENGINE}"}

    assert keys(analyser="yunet_2023_mar") == {"model.yunet_2023_mar"}
    assert keys(analyser="yunet_2023_mar", landmarker="2dfan4") == {"model.yunet_2023_mar", "model.2dfan4"}
    assert keys(analyser="yunet_2023_mar", landmarker="1k3d68") == {
        "model.yunet_2023_mar", "model.1k3d68", "insightface",
    }  # fmt: skip
