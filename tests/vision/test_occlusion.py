"""What passes in front of the target's face stays in front, and the face alone is never taken for something else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.occluders import OCCLUDERS, glasses, hand
from benchmarks.occlusion import carphone, looked_at, measure, moved_picture
from faceflow.vision.occlusion import REACH, UNIT, Reference, hidden, refined, unlike
from faceflow.vision.references import LOOK_EVERY, OccluderWatch, ReferenceCollector, References, in_a_picture
from faceflow.vision.scan import Sighting
from faceflow.vision.smoothing import LandmarkSmoother
from faceflow.vision.target_reference import FEWEST_SAMPLES, build_reference
from faceflow.vision.tracks import TrackTable
from faceflow.vision.unwrapping import OWN_PX, FlatFace, flat_face, own_coverage
from faceflow.vision.view import PictureView


@pytest.fixture(scope="module")
def swaying(astronaut):
    return moved_picture(cv2.resize(astronaut, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="module")
def found(analyser, swaying):
    """Every tenth frame with its face."""
    return [(frame, analyser.analyse(frame)[0]) for frame in swaying[::10]]


def flat(picture, face):
    return flat_face(PictureView(picture), face.landmarks)


def shown_share(faces):
    maps = [np.zeros((OWN_PX, OWN_PX)) if face.hidden is None else face.hidden / 255 for face in faces]
    return float(np.mean([(one * own_coverage()).sum() for one in maps]) / own_coverage().sum())


@pytest.mark.parametrize("name", ["hand", pytest.param("microphone", marks=pytest.mark.full)])
def test_what_is_held_in_front_of_a_face_stays_in_front(swaying, name):
    figures = measure(name, swaying, OCCLUDERS[name])
    assert figures.recall_before < 0.1
    assert figures.recall > 0.6
    assert figures.agreement > 0.5
    assert figures.lost < 0.03
    assert figures.lost_bare < 0.005


@pytest.mark.full
@pytest.mark.parametrize(("name", "recall"), [("hand", 0.6), ("microphone", 0.8), ("hair", 0.9), ("glasses", 0.9)])
def test_so_it_does_in_front_of_a_man_who_talks(name, recall):
    figures = measure(name, carphone(), OCCLUDERS[name])
    assert figures.recall > max(recall, figures.recall_before + 0.5)
    assert figures.lost_bare < 0.02


def test_a_face_that_talks_and_nods_is_not_hidden(swaying):
    for frames in (carphone(), swaying[:60]):
        faces, _ = looked_at(frames)
        assert all(face is not None for face in faces)
        assert shown_share(faces) < 0.015


def test_a_hand_that_passes_is_not_learned(found):
    bare = [flat(*each) for each in found]
    covered = [
        flat(hand(frame, face.landmarks, 1.0)[0], face) if number in (5, 6, 7) else flat(frame, face)
        for number, (frame, face) in enumerate(found)
    ]
    wanted, learned = build_reference(bare), build_reference(covered)
    shown = own_coverage() > 0.5
    assert np.abs(wanted.mean - learned.mean)[shown].mean() < 1.0
    behind = np.abs(bare[6].lab.astype(float) - covered[6].lab)[..., 0] > 20
    assert (behind & shown).sum() > 100
    far = unlike(covered[6], learned) / UNIT
    assert (
        far[behind & shown].mean()
        > 3 * far[shown & ~cv2.dilate(behind.astype(np.uint8), np.ones((7, 7))).astype(bool)].mean()
    )


def test_too_few_samples_tell_nothing(found):
    samples = [flat(*each) for each in found]
    assert build_reference(samples[: FEWEST_SAMPLES - 1]) is None
    assert build_reference(samples[:FEWEST_SAMPLES]) is not None


def test_a_small_face_is_not_compared(astronaut, analyser):
    tiny = cv2.resize(astronaut, None, fx=0.12, fy=0.12, interpolation=cv2.INTER_AREA)
    face = analyser.analyse(astronaut)[0]
    assert flat_face(PictureView(tiny), (face.landmarks * np.float32(0.12)).astype(np.float32)) is None
    assert flat_face(PictureView(astronaut), face.landmarks) is not None


def spot(level, centre=(40, 40), radius=8):
    chart = np.full((OWN_PX, OWN_PX), int(0.4 * UNIT), np.uint8)
    cv2.circle(chart, centre, radius, int(level * UNIT), -1)
    return chart


def test_only_what_is_clearly_different_over_some_area_hides():
    assert hidden([(0, spot(0.4))]) is None
    assert hidden([(0, spot(3.0, radius=1))]) is None
    share = hidden([(0, spot(3.0))])
    assert share[40, 40] == 255
    assert share[40, 20] == 0
    assert hidden([]) is None


def test_gaps_narrower_than_a_finger_are_closed():
    chart = np.full((OWN_PX, OWN_PX), int(0.3 * UNIT), np.uint8)
    chart[30:50, 24:28] = chart[30:50, 33:37] = int(4 * UNIT)
    assert hidden([(0, chart)])[40, 30] > 200


def test_a_frame_depends_on_a_few_frames_around_it_alone():
    near = [(offset, spot(2.6 + 0.1 * offset, (40 + offset, 40))) for offset in range(-REACH, REACH + 1)]
    far = [(-REACH - 1, spot(6.0, (20, 20), 12)), (REACH + 1, spot(6.0, (20, 20), 12))]
    assert np.array_equal(hidden(near), hidden([*near, *far]))
    assert not np.array_equal(hidden(near), hidden(near[1:]))


def test_where_everything_is_different_the_reference_is_wrong():
    assert not hidden([(0, np.full((OWN_PX, OWN_PX), 240, np.uint8))]).any()


def test_the_border_moves_to_the_edge_in_the_picture():
    fine = np.full((80, 80), 90, np.uint8)
    fine[:, 44:] = 160
    coarse = cv2.resize(fine, (40, 40), interpolation=cv2.INTER_AREA)
    share = np.zeros((40, 40), np.float32)
    share[:, 20:] = 1  # two pixels beside the edge, which lies at 22
    share = np.asarray(cv2.GaussianBlur(share, (0, 0), 2), np.float32)
    sharp = refined(share, coarse, fine)
    assert sharp[:, 46:].min() > 0.8
    assert sharp[:, :40].max() < 0.35 < share[:, :20].max()
    even = refined(share, np.full((40, 40), 90, np.uint8), np.full((80, 80), 90, np.uint8))
    assert even[40, 38:46].max() - even[40, 38:46].min() < 0.9


def test_the_same_in_every_segment(found):
    face, noise = found[0][1], np.random.default_rng(3)
    faces = [
        replace(face, unlike=noise.integers(0, 150, (OWN_PX, OWN_PX), np.uint8)) if number % LOOK_EVERY == 0 else face
        for number in range(60)
    ]

    def smooth(first, last):
        smoother, result = LandmarkSmoother(5), {}
        for number in range(first, last):
            result.update(smoother.push(number, [faces[number]], cut=False))
        result.update(smoother.finish())
        return result

    whole, part = smooth(0, 60), smooth(17, 49)
    assert all(whole[number][0].hidden is not None for number in range(60))
    for number in range(22, 44):
        assert np.array_equal(whole[number][0].hidden, part[number][0].hidden)


def test_references_are_kept_by_track_and_come_back(tmp_path, found):
    collector = ReferenceCollector()
    for number, (frame, face) in enumerate(found):
        sightings = [Sighting(number, 0, 4, face)] + ([Sighting(number, 0, 7, face)] if number < 3 else [])
        collector.see(PictureView(frame), sightings)
    references = collector.references()
    assert set(references.by_track) == {4}  # the other was seen too rarely
    for name in ("one.npz", "two.npz"):
        references.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    back, kept = References.load(tmp_path / "one.npz").by_track[4], references.by_track[4]
    assert len(back.modes) == len(kept.modes) > 0
    for name in ("mean", "spread", "modes"):
        assert np.allclose(getattr(back, name), getattr(kept, name), atol=0.13)
    References().save(tmp_path / "none.npz")
    assert not References.load(tmp_path / "none.npz").by_track


def test_samples_stay_few_and_evenly_spread(found):
    collector = ReferenceCollector()
    frame, face = found[0]
    for number in range(300):
        collector.see(PictureView(frame), [Sighting(number, 0, 0, face)])
    kept = collector._samples[0].kept
    assert 24 <= len(kept) <= 48


def test_the_watch_looks_at_every_second_frame_at_faces_it_knows(found):
    frame, face = found[0]
    box = face.box / frame.shape[0]
    table = TrackTable(
        shots=np.zeros(1, np.int64), person=np.zeros(1, np.int32), size_s=np.ones(1, np.float32),
        track=np.zeros(2, np.int32), frame=np.array([0, 20]), box=np.stack([box, box]).astype(np.float32), reach=30,
    )  # fmt: skip
    reference = build_reference([flat(*each) for each in found])
    assert reference is not None
    references = References({0: reference})
    watch = OccluderWatch(table, references, frame.shape[0])
    looked = [watch.compared(number, PictureView(frame), [face])[0].unlike is not None for number in range(6)]
    assert looked == [number % LOOK_EVERY == 0 for number in range(6)]
    elsewhere = replace(face, box=face.box + np.float32(2 * frame.shape[0]))
    assert watch.compared(0, PictureView(frame), [elsewhere])[0].unlike is None
    assert OccluderWatch(table, References(), frame.shape[0]).compared(0, PictureView(frame), [face])[0] is face


def test_glasses_that_are_always_there_stay(swaying):
    figures = measure("glasses", swaying, OCCLUDERS["glasses"], always=True)
    assert figures.recall_before < 0.1
    assert figures.recall > 0.7
    assert figures.lost < 0.1


def test_glasses_are_told_from_a_single_picture_and_from_nothing_else(analyser, astronaut, six_people):
    for picture in (astronaut, six_people):
        bare = analyser.analyse(picture)
        assert all(face.hidden is None for face in in_a_picture(PictureView(picture), bare))
        found = [in_a_picture(PictureView(glasses(picture, face.landmarks, 1.0)[0]), [face])[0] for face in bare]
        told = [face.hidden for face in found if face.hidden is not None]
        assert len(told) >= len(bare) - 1
        assert all(0.02 < (one > 128).mean() < 0.25 for one in told)


def test_light_that_changes_softly_is_no_difference():
    rng = np.random.default_rng(0)
    mean = cv2.GaussianBlur(rng.normal(140, 100, (OWN_PX, OWN_PX, 3)).astype(np.float32), (0, 0), 1.5)
    reference = Reference(mean, np.full(mean.shape, 4.0, np.float32), np.zeros((0, OWN_PX, OWN_PX), np.float32))
    slope = np.linspace(-30, 30, OWN_PX, dtype=np.float32)[None, :, None]
    seen = np.full((OWN_PX, OWN_PX), 255, np.uint8)
    lit = FlatFace((mean + slope).clip(0, 255).astype(np.uint8), seen)
    assert np.percentile(unlike(lit, reference)[6:-6, 6:-6], 99) < 1.2 * UNIT
    lit.lab[20:36, 20:36, 0] = np.roll(lit.lab[20:36, 20:36, 0], 8, axis=0)
    assert unlike(lit, reference)[22:34, 22:34].mean() > 1.5 * UNIT
