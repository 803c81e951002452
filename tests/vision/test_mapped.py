"""Several people, each with a source of their own: who is not named is untouched, and every mistake has its words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.material import ASTRONAUT, SIX_PEOPLE
from benchmarks.staged import HEIGHT, MAN, RATE, WIDTH, WOMAN, Placed, drawn, still, write_clip
from faceflow.errors import EngineError, FaceError, JobError
from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, FaceMapping, Selection, Source, SwapJob, SwapOptions
from faceflow.media.colour import small_bgr
from faceflow.media.facts import Segment
from faceflow.media.picture import read_picture
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.progress import Progress
from faceflow.stages import cast as cast_stage
from faceflow.stages import census as census_stage
from faceflow.stages import compose as compose_stage
from faceflow.stages.cast import check_mapping, resolve_cast
from faceflow.stages.census import Detail, take_census
from faceflow.stages.compose import run_compose
from faceflow.stages.identity import identify
from faceflow.stages.segment import run_segment
from faceflow.stages.swap import run_swap
from faceflow.stages.transcode import run_transcode
from faceflow.stages.validate import run_validate
from faceflow.vision import recogniser as recogniser_module
from faceflow.vision.faces_file import FacesReader

LEFT, RIGHT = (180, 180), (460, 180)
SHOTS = [still(0.75, Placed(MAN, *LEFT), Placed(WOMAN, *RIGHT)), still(0.75, Placed(WOMAN, *LEFT), Placed(MAN, *RIGHT))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The clip of two who change places, and pictures of them and of a stranger."""
    folder = tmp_path_factory.mktemp("mapped")
    write_clip(folder / "two.mp4", SHOTS)
    cv2.imwrite(str(folder / "man.png"), drawn([Placed(MAN, 320, 180)], 90, 9))
    people = cv2.imread(str(SIX_PEOPLE))
    cv2.imwrite(str(folder / "stranger.png"), people[200:500, 10:240])
    cv2.imwrite(str(folder / "other.png"), people[250:500, 400:650])
    cv2.imwrite(str(folder / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    return folder


def job(folder, *mapped, target="two.mp4", selection=Selection.MAPPED):
    return SwapJob(
        sources=(
            Source(name="anna", portraits=(str(ASTRONAUT),)),
            Source(name="ben", portraits=(str(folder / "other.png"),)),
        ),
        target=str(folder / target),
        output=str(folder / f"out{target[-4:]}"),
        face_map=tuple(mapped),
        swap=SwapOptions(selection=selection, restorer="none"),
        consent=Consent(subject="test", scope="test", declared_by="test"),
    )


def person(number, source="anna"):
    return FaceMapping(person=number, source=source)


def picture(path, source="anna"):
    return FaceMapping(reference=str(path), source=source)


class Recorder:
    """A part writer that keeps the frames it is given."""

    frames: list = []  # noqa: RUF012 (one test at a time)

    def __init__(self, path, *rest):
        self.path = path

    def __enter__(self):
        Recorder.frames = []
        self.path.write_bytes(b"part")
        return self

    def __exit__(self, *rest):
        pass

    def write(self, frame):
        Recorder.frames.append(frame)


def swapped(wish, directory, monkeypatch):
    """The decoded frames, those for the encoder, and the faces."""
    settings, progress = Settings(), Progress()
    validated = run_validate(identify(wish), wish, settings, directory, progress)
    mezzanine = run_transcode(wish, validated, settings, directory, progress)
    plan = run_segment(wish, validated, mezzanine, settings)
    (segment,) = plan.segments
    faces = run_swap(wish, validated, mezzanine, plan, segment, settings, directory, progress)
    with FacesReader(faces.file.path) as reader:
        found = [(face.frame, face.person, face.matrix) for face in reader]
    monkeypatch.setattr(compose_stage, "PartWriter", Recorder)
    run_compose(wish, mezzanine, faces, settings, directory, progress)
    index = mezzanine.subject.frame_index()
    decoded = list(FrameReader(mezzanine.video, mezzanine.subject.media, index).read(0, index.frames))
    return decoded, Recorder.frames, found, plan


@pytest.mark.parametrize("by", ["number", "picture"])
def test_who_is_not_mapped_is_untouched_bit_for_bit(folder, tmp_path, monkeypatch, by):
    mapping = person(0) if by == "number" else picture(folder / "man.png")
    before, after, found, plan = swapped(job(folder, mapping), tmp_path, monkeypatch)
    assert plan.cast == ((0, "anna"),)
    half = len(SHOTS[0])
    assert [(frame, who) for frame, who, _ in found] == [(frame, 0) for frame in range(2 * half)]
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        for old, new in zip(one.planes, other.planes, strict=True):
            middle = old.shape[1] // 2
            man, woman = (slice(0, middle), slice(middle, None))[:: 1 if number < half else -1]
            assert np.array_equal(old[:, woman], new[:, woman]), number
            assert not np.array_equal(old[:, man], new[:, man]), number


def test_each_gets_their_own_source(folder, tmp_path, monkeypatch, analyser, recogniser):
    wish = job(folder, person(0, "anna"), person(1, "ben"))
    _, after, found, plan = swapped(wish, tmp_path, monkeypatch)
    assert plan.cast == ((0, "anna"), (1, "ben"))
    assert {who for _, who, _ in found} == {0, 1}
    assert len(found) == 2 * len(after)
    settings = Settings()
    sources = {}
    for source in wish.sources:
        portrait = read_picture(Path(source.portraits[0]), settings.limits).bgr()
        sources[source.name] = recogniser.embedding(portrait, analyser.analyse(portrait)[0])
    for number, left_is in ((5, "anna"), (len(SHOTS[0]) + 5, "ben")):
        frame, _ = small_bgr(after[number], WIDTH)
        left = next(face for face in analyser.analyse(frame) if face.box[0] < WIDTH / 2 - 100)
        seen = recogniser.embedding(frame, left)
        away = {name: float(np.linalg.norm(seen - own)) for name, own in sources.items()}
        assert min(away, key=away.get) == left_is, away


def test_a_picture_is_mapped_like_a_video(folder, tmp_path):
    cv2.imwrite(str(folder / "still.png"), drawn([Placed(MAN, *LEFT), Placed(WOMAN, *RIGHT)], 0, 0))
    wish = job(folder, picture(folder / "man.png"), target="still.png")
    settings, progress = Settings(), Progress()
    validated = run_validate(identify(wish), wish, settings, tmp_path, progress)
    mezzanine = run_transcode(wish, validated, settings, tmp_path, progress)
    plan = run_segment(wish, validated, mezzanine, settings)
    faces = run_swap(wish, validated, mezzanine, plan, plan.segments[0], settings, tmp_path, progress)
    part = run_compose(wish, mezzanine, faces, settings, tmp_path, progress)
    before, after = cv2.imread(str(folder / "still.png")), cv2.imread(str(part.file.path))
    assert faces.faces == 1
    assert np.array_equal(before[:, WIDTH // 2 :], after[:, WIDTH // 2 :])
    assert (before[:, : WIDTH // 2] != after[:, : WIDTH // 2]).any()


def counted(folder, path="two.mp4"):
    settings = Settings()
    return take_census(folder / path, probe(folder / path, settings.limits), Detail.TOLD_APART, settings)


@pytest.fixture(scope="module")
def census(folder):
    return counted(folder)


def test_mistakes_in_the_map_are_named(folder, census):
    def refused(code, *mapped, kind=JobError):
        with pytest.raises(kind) as caught:
            resolve_cast(job(folder, *mapped), census, Settings())
        assert caught.value.code == code
        return caught.value

    assert "0 (first seen at 0.0 s), 1 (first seen at 0.0 s)" in refused("job.person_unknown", person(2)).message
    assert "0 (first seen" in refused("job.reference_unmatched", picture(folder / "stranger.png")).message
    refused("job.face_map_conflict", person(0), picture(folder / "man.png", "ben"))
    refused("face.none_in_reference", picture(folder / "wall.png"), kind=FaceError)
    refused("face.several_in_reference", picture(SIX_PEOPLE), kind=FaceError)
    refused("job.face_map_missing")
    twice = resolve_cast(job(folder, person(0), picture(folder / "man.png")), census, Settings())
    assert twice == ((0, "anna"),)


def test_a_reference_between_two_people_is_ambiguous(folder, census):
    twin = census.people[0].model_copy(update={"number": 1})
    twins = dataclasses.replace(census, people=(census.people[0], twin))
    with pytest.raises(JobError) as caught:
        resolve_cast(job(folder, picture(folder / "man.png")), twins, Settings())
    assert caught.value.code == "job.reference_ambiguous"


def test_several_sources_or_the_selection_need_a_map(folder):
    for selection in (Selection.ALL, Selection.MAPPED):
        with pytest.raises(JobError, match=r"job\.face_map_missing"):
            check_mapping(job(folder, selection=selection), Settings())


def test_without_the_extra_only_one_shot_can_be_mapped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(census_stage, "make_recogniser", lambda *_: None)
    monkeypatch.setattr(cast_stage, "make_recogniser", lambda *_: None)
    wish = job(folder, person(0))
    with pytest.raises(JobError, match=r"job\.mapping_needs_recogniser") as caught:
        run_validate(identify(wish), wish, Settings(), tmp_path, Progress())
    assert "the extra `people`" in caught.value.resolution
    with pytest.raises(JobError, match=r"job\.mapping_needs_recogniser"):
        check_mapping(job(folder, picture(folder / "man.png")), Settings())
    write_clip(folder / "one.mp4", SHOTS[:1])
    alone = job(folder, person(1), target="one.mp4")
    before, after, found, plan = swapped(alone, tmp_path, monkeypatch)
    assert plan.cast == ((1, "anna"),)
    assert len(found) == len(after) == round(0.75 * RATE)
    changed = np.any([one.planes[0] != other.planes[0] for one, other in zip(before, after, strict=True)], axis=0)
    rows, columns = np.nonzero(changed)
    assert columns.min() > WIDTH / 2 or columns.max() < WIDTH / 2
    assert rows.max() < HEIGHT


def test_the_recogniser_knows_whether_it_is_there(monkeypatch):
    assert recogniser_module.recogniser_installed()
    monkeypatch.setattr(recogniser_module, "_PACKAGE", "no_such_package_anywhere")
    assert not recogniser_module.recogniser_installed()
    with pytest.raises(EngineError, match=r"engine\.model_missing"):
        recogniser_module.DlibRecogniser()


def test_the_person_of_a_face_does_not_depend_on_the_segmentation(folder, tmp_path):
    """Pieces of half a second, at borders that are no cuts, give the faces that the whole clip gives."""
    settings, progress = Settings(), Progress()
    wish = job(folder, person(0), person(1, "ben"))
    validated = run_validate(identify(wish), wish, settings, tmp_path, progress)
    mezzanine = run_transcode(wish, validated, settings, tmp_path, progress)
    plan = run_segment(wish, validated, mezzanine, settings)

    def faces(*ranges):
        found = []
        for number, (first, frames) in enumerate(ranges):
            context = settings.pipeline.context_frames
            end = validated.subject.frames - first - frames
            segment = Segment(
                number=number, first=first, frames=frames,
                context_before=min(context, first), context_after=min(context, end),
            )  # fmt: skip
            made = run_swap(wish, validated, mezzanine, plan, segment, settings, tmp_path, progress)
            with FacesReader(made.file.path) as reader:
                found += [(face.frame, face.person, face.matrix.tobytes()) for face in reader]
        return found

    assert faces((0, 36)) == faces((0, 7), (7, 15), (22, 9), (31, 5))
