"""InsightFace's analysers in jobs: they answer as its own `FaceAnalysis`, and no more of them runs than is needed."""

from __future__ import annotations

import socket
from typing import Any

import cv2
import numpy as np
import pytest
from insightface.app import FaceAnalysis

from benchmarks.staged import HEIGHT, WIDTH, write_frames
from faceflow.errors import EngineError, FaceError, JobError, ModelFileError
from faceflow.job import Consent, FaceMapping, Source, SwapJob, SwapOptions
from faceflow.media.picture import read_picture
from faceflow.media.reader import FrameReader
from faceflow.progress import SILENT
from faceflow.stages import compose as compose_stage
from faceflow.stages.compose import run_compose
from faceflow.stages.identity import identify
from faceflow.stages.segment import run_segment
from faceflow.stages.swap import run_swap
from faceflow.stages.transcode import run_transcode
from faceflow.stages.validate import run_validate
from faceflow.vision.faces_file import FacesReader
from faceflow.vision.neural import insightface_session
from faceflow.vision.neural.genderage import GenderAge
from faceflow.vision.neural.recogniser import ArcFaceRecogniser
from faceflow.vision.registry import engine_versions, make_analyser, release_engines, require_engines
from faceflow.vision.runtime import networks
from faceflow.vision.view import PictureView
from tests.engines.analysers import ASIDE, points_of, square
from tests.engines.standins import build
from tests.vision.test_mapped import Recorder

pytestmark = pytest.mark.filterwarnings("ignore:.estimate. is deprecated:FutureWarning")

FRAMES = 30
ENGINE = "uniface_256"
"""A swapper that takes a picture, so that nothing but the analyser asks for ArcFace."""
NEEDED = {"uniface_256.onnx", "det_10g.onnx", "2d106det.onnx"}


def places(frame):
    """Colour: middle and side of the squares in a frame. The red one moves, is small, and covers nobody."""
    return {"red": (100 + 3 * frame, 120, 60), "green": (430.5, 90.5, 84), "blue": (530.5, 270.5, 100)}


@pytest.fixture(scope="module")
def world(studio, tmp_path_factory):
    """A clip of three squares, and portraits of each."""
    folder = tmp_path_factory.mktemp("squares")
    studio.install(ENGINE, "insightface")

    def picture(frame):
        made = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
        for colour, place in places(frame).items():
            square(made, colour, *place)
        return made

    write_frames(folder / "three.mp4", (picture(frame) for frame in range(FRAMES)))
    for colour in ("red", "green", "blue"):
        portrait = np.full((300, 300, 3), 110, np.uint8)
        square(portrait, colour, 150.5, 140.5, 120)
        cv2.imwrite(str(folder / f"{colour}.png"), portrait)
    cv2.imwrite(str(folder / "three.png"), picture(0))
    return folder


@pytest.fixture(autouse=True)
def nothing_stays_loaded_and_nothing_is_fetched(monkeypatch):
    release_engines()
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a job must not ask the network"))
    yield
    release_engines()


def loaded() -> set[str]:
    return {key.path.name for key in networks._networks}


def wish(folder, *mapped, target="three.mp4", **options) -> SwapJob:
    return SwapJob(
        sources=(Source(portraits=(str(folder / "blue.png"),)),),
        target=str(folder / target),
        output=str(folder / f"out{target[-4:]}"),
        face_map=mapped,
        swap=SwapOptions(**{"engine": ENGINE, "analyser": "insightface", "restorer": "none", **options}),
        consent=Consent(subject="test", scope="test", declared_by="test"),
    )


class Run:
    """A job through the real stages: decoded frames, those for the encoder, and the faces."""

    def __init__(self, job, studio, directory, monkeypatch):
        settings = studio.settings()
        require_engines(job.swap, settings, identifies=job.maps_people)
        validated = run_validate(identify(job), job, settings, directory, SILENT)
        mezzanine = run_transcode(job, validated, settings, directory, SILENT)
        plan = run_segment(job, validated, mezzanine, settings)
        self.faces, self.after = [], []
        monkeypatch.setattr(compose_stage, "PartWriter", Recorder)
        for segment in plan.segments:
            swapped = run_swap(job, validated, mezzanine, plan, segment, settings, directory, SILENT)
            with FacesReader(swapped.file.path) as reader:
                self.faces += list(reader)
            run_compose(job, mezzanine, swapped, settings, directory, SILENT)
            self.after += Recorder.frames
        index = mezzanine.subject.frame_index()
        self.before = list(FrameReader(mezzanine.video, mezzanine.subject.media, index).read(0, index.frames))

    def changed(self) -> set[str]:
        """Whose squares were swapped, in all frames or in none; everything else must be as it was, bit for bit."""
        found = []
        for number, (old, new) in enumerate(zip(self.before, self.after, strict=True)):
            different = np.zeros((HEIGHT, WIDTH), np.bool_)
            for one, other in zip(old.planes, new.planes, strict=True):
                rows = (one != other).astype(np.uint8)
                different |= cv2.resize(rows, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) > 0
            whose = set()
            for colour, (x, y, side) in places(number).items():
                reach = round(1.1 * side)  # the crop is about twice as large as the square
                around = np.s_[max(0, int(y) - reach) : int(y) + reach, max(0, int(x) - reach) : int(x) + reach]
                if different[int(y) - 5 : int(y) + 5, int(x) - 5 : int(x) + 5].mean() > 0.9:
                    whose.add(colour)
                    different[around] = False
            assert not different.any(), number
            found.append(whose)
        assert all(whose == found[0] for whose in found), found
        return found[0]


def test_every_answer_is_that_of_insightface_itself(studio, world, tmp_path):
    for name in ("det_10g", "2d106det", "genderage", "w600k_r50"):
        entry = studio.catalogue.find(name)
        build(entry, tmp_path / f"{name}.onnx")
    peer = FaceAnalysis(name=str(tmp_path), providers=["CPUExecutionProvider"])
    peer.prepare(0, det_size=(640, 640))
    picture = cv2.imread(str(world / "three.png"))
    settings = studio.settings()
    view = PictureView(picture)
    analyser: Any = make_analyser("insightface", settings)
    mine = analyser.analyse(picture)
    theirs = sorted(peer.get(picture), key=lambda face: face.bbox[1] - face.bbox[3])
    assert len(mine) == len(theirs) == 3
    recogniser, traits = ArcFaceRecogniser(settings), GenderAge(settings)
    for face, other in zip(mine, theirs, strict=True):
        assert np.abs(face.box - other.bbox).max() < 0.01
        assert np.abs(face.points - other.kps).max() < 0.01
        assert face.score == pytest.approx(float(other.det_score))
        assert recogniser.embed(view, face) @ other.normed_embedding > 0.999
        guessed = traits.estimate(view, face)
        assert (guessed.male, guessed.age_years) == (other.gender, pytest.approx(other.age, abs=1))
        five = other.landmark_2d_106[[38, 88, 86, 52, 61]]
        assert np.abs(analyser.refined(view, face).points - five).max() < 0.02 * face.height_px


def test_a_clip_is_swapped_at_the_landmarks_places(studio, world, tmp_path, monkeypatch):
    run = Run(wish(world), studio, tmp_path, monkeypatch)
    assert run.changed() == {"red", "green", "blue"}
    assert loaded() == NEEDED
    seen = 0
    for face in run.faces:
        back = cv2.invertAffineTransform(face.matrix.astype(np.float64))
        points = face.points @ back[:, :2].T + back[:, 2]
        for x, y, side in places(face.frame).values():
            if np.abs(points.mean(0) - (x, y)).max() < side / 4:
                seen += 1
                assert np.abs(points - points_of(x, y, side) - [ASIDE * side, 0]).max() < 1.5
    assert seen == len(run.faces) == 3 * FRAMES


def test_a_face_that_is_missed_for_two_frames_is_swapped_on_the_line_between(studio, world, tmp_path, monkeypatch):
    def picture(frame):
        made = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
        if frame not in (8, 9, *range(20, 24)):
            square(made, "red", *places(frame)["red"])
        return made

    write_frames(tmp_path / "gaps.mp4", (picture(frame) for frame in range(FRAMES)))
    (tmp_path / "blue.png").write_bytes((world / "blue.png").read_bytes())
    faces = {face.frame: face for face in Run(wish(tmp_path, target="gaps.mp4"), studio, tmp_path, monkeypatch).faces}
    assert set(range(FRAMES)) - set(faces) == set(range(20, 25))  # looked for again on frames that five divides
    for number in (8, 9):
        back = cv2.invertAffineTransform(faces[number].matrix.astype(np.float64))
        points = faces[number].points @ back[:, :2].T + back[:, 2]
        x, y, side = places(number)["red"]
        assert np.abs(points - points_of(x, y, side) - [ASIDE * side, 0]).max() < 2


def test_frames_do_not_depend_on_where_segments_begin(studio, world, tmp_path, monkeypatch):
    whole = wish(world)
    cut = whole.model_copy(update={"encoding": whole.encoding.model_copy(update={"segment_s": 0.3})})
    runs = []
    for number, job in enumerate((whole, cut)):
        directory = tmp_path / str(number)
        directory.mkdir()
        runs.append(Run(job, studio, directory, monkeypatch).faces)
    assert len(runs[0]) == len(runs[1])
    for one, other in zip(*(sorted(run, key=lambda face: (face.frame, face.person)) for run in runs), strict=True):
        assert (one.frame, one.person) == (other.frame, other.person)
        assert np.array_equal(one.crop.pixels, other.crop.pixels)


@pytest.mark.parametrize(
    ("options", "expected", "more"),
    [
        ({"gender": "male"}, {"red"}, {"genderage.onnx"}),
        ({"gender": "female"}, {"green", "blue"}, {"genderage.onnx"}),
        ({"age_from": 45}, {"green"}, {"genderage.onnx"}),
        ({"age_to": 45}, {"red", "blue"}, {"genderage.onnx"}),
        ({"gender": "female", "age_to": 45}, {"blue"}, {"genderage.onnx"}),
        ({"selection": "largest"}, {"blue"}, set()),
        ({"selection": "first", "order": "left-right"}, {"red"}, set()),
        ({"selection": "first", "order": "top-bottom", "first_faces": 2}, {"red", "green"}, set()),
        ({"selection": "first", "order": "left-right", "gender": "female"}, {"green"}, {"genderage.onnx"}),
    ],
)
def test_who_is_not_selected_is_untouched_and_no_network_is_loaded_in_vain(
    studio, world, tmp_path, monkeypatch, options, expected, more
):
    assert Run(wish(world, **options), studio, tmp_path, monkeypatch).changed() == expected
    assert loaded() == NEEDED | more


def test_a_picture_says_who_is_swapped_and_arcface_tells_them_apart(studio, world, tmp_path, monkeypatch):
    named = FaceMapping(reference=str(world / "green.png"), source="source")
    run = Run(wish(world, named, selection="mapped"), studio, tmp_path, monkeypatch)
    assert run.changed() == {"green"}
    assert loaded() == NEEDED | {"w600k_r50.onnx"}


def test_the_embedded_analyser_takes_gender_and_age_too(studio, tmp_path, monkeypatch):
    from benchmarks.material import ASTRONAUT
    from tests.vision.test_stages import clip

    studio.install("genderage")
    target = clip(tmp_path, frames=6)
    job = wish(tmp_path, target=target.name, analyser="embedded", engine="mesh", age_from=100)
    job = job.model_copy(update={"sources": (Source(portraits=(str(ASTRONAUT),)),)})
    with pytest.raises(FaceError) as caught:
        Run(job, studio, tmp_path, monkeypatch)
    assert caught.value.code == "face.none_selected"
    assert "of about" in caught.value.message
    assert loaded() == {"genderage.onnx"}


def test_what_is_missing_is_said_before_anything_runs(studio, world, tmp_path, monkeypatch):
    options = wish(world).swap
    with pytest.raises(EngineError) as provider:
        require_engines(options, studio.settings(provider="cuda"))
    assert provider.value.code == "engine.provider_missing"
    with pytest.raises(JobError) as unfit:
        require_engines(options.model_copy(update={"engine": "mesh"}), studio.settings())
    assert unfit.value.code == "job.analyser_unfit"
    with pytest.raises(JobError) as unknown:
        require_engines(options.model_copy(update={"analyser": "retina"}), studio.settings())
    assert "insightface" in unknown.value.resolution
    empty = studio.settings().model_copy(
        update={"models": studio.settings().models.model_copy(update={"folder": tmp_path})}
    )
    with pytest.raises(ModelFileError) as missing:
        require_engines(SwapOptions(gender="male"), empty)
    assert (missing.value.code, missing.value.fields["model"]) == ("model.missing", "genderage")
    monkeypatch.setattr(insightface_session, "_PACKAGE", "insightface_that_is_not_there")
    with pytest.raises(EngineError) as package:
        require_engines(options, studio.settings())
    assert package.value.code == "engine.package_missing"
    with pytest.raises(EngineError, match="cannot be used"):
        insightface_session.insightface_class("model_zoo.nothing", "Nothing")
    assert not loaded()


def test_another_network_under_the_name_is_refused(studio, world):
    settings = studio.settings()
    path = studio.folder / "models" / "genderage" / "genderage.onnx"
    kept = path.read_bytes()
    try:
        for record in path.parent.glob("*.record"):
            record.unlink()
        build(studio.catalogue.find("2d106det"), path)
        with pytest.raises(EngineError) as caught:
            GenderAge(settings)
        assert caught.value.code == "engine.contract_mismatch"
    finally:
        path.write_bytes(kept)
        for record in path.parent.glob("*.record"):
            record.unlink()


def test_a_face_map_and_gender_contradict_one_another(studio, world, tmp_path, monkeypatch):
    with pytest.raises(JobError) as caught:
        Run(wish(world, FaceMapping(person=0, source="source"), gender="male"), studio, tmp_path, monkeypatch)
    assert caught.value.code == "job.selection_conflict"


def test_a_result_is_kept_under_the_networks_that_made_it(studio, world):
    settings = studio.settings()

    def keys(identifies=False, **options):
        versions = engine_versions(SwapOptions(engine=ENGINE, **options), settings, identifies=identifies)
        return {name for name in versions if name.startswith("model.") or name == "insightface"}

    assert keys() == {"model.uniface_256"}
    looking = {"model.uniface_256", "model.det_10g", "model.2d106det", "insightface"}
    assert keys(analyser="insightface") == looking
    assert keys(identifies=True, analyser="insightface") == looking | {"model.w600k_r50"}
    assert keys(age_to=30) == {"model.uniface_256", "model.genderage", "insightface"}


def test_a_picture_as_target(studio, world, tmp_path):
    job = wish(world, target="three.png", selection="first", order="right-left")
    settings = studio.settings()
    validated = run_validate(identify(job), job, settings, tmp_path, SILENT)
    assert len(validated.people) == 3
    mezzanine = run_transcode(job, validated, settings, tmp_path, SILENT)
    plan = run_segment(job, validated, mezzanine, settings)
    swapped = run_swap(job, validated, mezzanine, plan, plan.segments[0], settings, tmp_path, SILENT)
    part = run_compose(job, mezzanine, swapped, settings, tmp_path, SILENT)
    made = read_picture(part.file.path, settings.limits).bgr()
    different = (made != cv2.imread(str(world / "three.png"))).any(2)
    ys, xs = np.nonzero(different)
    assert 430 < xs.min() < xs.max() < WIDTH and ys.min() > 150 and different[270, 530]
