"""Swappers by themselves: against InsightFace's own code, in batches, boosted, with several portraits and a weight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from insightface.app.common import Face as TheirFace
from insightface.model_zoo.inswapper import INSwapper
from insightface.utils import face_align

from faceflow.errors import EngineError, FaceflowError, JobError, ModelFileError
from faceflow.job import SwapOptions
from faceflow.vision.compose_frame import compose_frame
from faceflow.vision.face_swaps import FaceSwaps
from faceflow.vision.faces_file import FaceFrame
from faceflow.vision.model_catalogue import Template
from faceflow.vision.neural.alignment import TEMPLATES, seen_through
from faceflow.vision.neural.embedding import ArcFace, Converter
from faceflow.vision.neural.loading import load
from faceflow.vision.neural.pixels import joined, split, to_pictures, to_tensor
from faceflow.vision.neural.swapper import NeuralIdentity
from faceflow.vision.registry import engine_versions, make_restorer, make_swapper, require_engines, resolve_engine
from faceflow.vision.shapes import Face, PlacedCrop, TargetCrop
from tests.engines.standins import LIFT, MIX, spread, turned, wave
from tests.vision.conftest import copy_of, native

pytestmark = pytest.mark.filterwarnings("ignore:.estimate. is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def people(six_people):
    from faceflow.vision.embedded_analyser import EmbeddedAnalyser

    return six_people, EmbeddedAnalyser().analyse(six_people)


def crops_of(swapper, picture, faces):
    crops = []
    for face in faces:
        side = swapper.crop_side_px(face)
        matrix = swapper.alignment(face, side)
        points = (face.points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        crops.append(TargetCrop(seen_through(picture, matrix, (side, side)), matrix, points))
    return crops


def embedding_of(picture, face):
    crop = face_align.norm_crop(picture, face.points, 112)[..., ::-1].astype(np.float64)
    return ((crop - 127.5) / 127.5 * (1 + 5 * wave(112).transpose(1, 2, 0))).mean((0, 1)) @ spread()


def test_inswapper_equals_insightface(studio, people, astronaut):
    studio.install("inswapper_128")
    picture, faces = people
    path = studio.folder / "models" / "inswapper_128" / "inswapper_128.onnx"
    theirs = INSwapper(str(path))
    ours = make_swapper("inswapper_128", studio.settings(), SwapOptions(masks=()))
    identity = ours.prepare("one", [(picture, faces[0])])
    source = TheirFace(embedding=embedding_of(picture, faces[0]).astype(np.float32))
    for face, crop in zip(faces[1:], crops_of(ours, picture, faces[1:]), strict=True):
        made, matrix = theirs.get(picture, TheirFace(kps=face.points), source, paste_back=False)
        assert np.abs(matrix - crop.matrix).max() < 0.01
        cut, _ = face_align.norm_crop2(picture, face.points, 128)
        swapped = ours.swap([TargetCrop(cut, crop.matrix, crop.points)], identity)[0]
        away = np.abs(swapped.pixels.astype(int) - made)
        assert away.max() <= 1, "the crop itself"
        assert made.std() > 10


def test_an_embedding_is_that_of_the_aligned_portraits(studio, people):
    studio.install("ghost_1_256")
    picture, faces = people
    arcface = ArcFace(load("w600k_r50", studio.settings()))
    alone = [arcface.of_portraits([(picture, face)]) for face in faces[:2]]
    for face, embedding in zip(faces, alone, strict=False):
        expected = embedding_of(picture, face)
        assert np.abs(embedding - expected).max() < 0.02 * np.abs(expected).max()
    both = arcface.of_portraits([(picture, face) for face in faces[:2]])
    assert np.allclose(both, (alone[0] + alone[1]) / 2, atol=1e-6)
    converted = Converter(load("crossface_ghost", studio.settings())).convert(alone[0])
    assert np.allclose(converted, alone[0] @ turned(), atol=1e-4)


@pytest.mark.parametrize(("asked", "share"), [(0.0, 0.35), (0.5, 0.0), (1.0, -0.35)])
def test_the_identity_weight_mixes_in_the_target(studio, people, asked, share):
    studio.install("hyperswap_1a_256")
    picture, faces = people
    swapper = make_swapper("hyperswap_1a_256", studio.settings(), SwapOptions(identity_weight=asked, masks=()))
    identity: Any = swapper.prepare("one", [(picture, faces[0])])
    identity = replace(identity, tensor=-10 * identity.tensor)  # somebody quite unlike the target
    crop = crops_of(swapper, picture, faces[1:2])[0]
    points = crop.points
    arcface = ArcFace(load("w600k_r50", studio.settings()))
    their = arcface.embed([face_align.norm_crop(crop.pixels, points, 112)])[0]
    mixed = identity.tensor[0, 0] * (1 - share) + their[0] / np.linalg.norm(their) * share
    tensor = (crop.pixels[..., ::-1] / 255 - 0.5) / 0.5
    made = tensor @ MIX.T + 0.3 * mixed + wave(256).transpose(1, 2, 0) + LIFT
    expected = ((made * 0.5 + 0.5).clip(0, 1) * 255)[..., ::-1]
    away = np.abs(swapper.swap([crop], identity)[0].pixels - expected)
    assert away.max() < 1.01
    assert abs(0.3 * (mixed - identity.tensor[0, 0])) * 127.5 > (1.2 if share else -1), "the weight shows"


@pytest.mark.parametrize("name", ["inswapper_128", "ghost_2_256", "uniface_256"])
def test_a_batch_of_four_equals_four_times_one(studio, people, name):
    studio.install(name)
    picture, faces = people
    one = make_swapper(name, studio.settings(batch=1), SwapOptions())
    four = make_swapper(name, studio.settings(batch=4), SwapOptions())
    identity = one.prepare("one", [(picture, faces[0])])
    crops = crops_of(one, picture, faces[:4])
    alone = [one.swap([crop], identity)[0] for crop in crops]
    together = four.swap(crops, identity)
    assert vars(four)["_network"].batched and not vars(one)["_network"].batched
    for single, batched in zip(alone, together, strict=True):
        assert np.array_equal(single.pixels, batched.pixels) and np.array_equal(single.mask, batched.mask)


def test_pixel_boost_takes_every_kth_pixel(studio, people):
    studio.install("inswapper_128")
    picture, faces = people
    plain = make_swapper("inswapper_128", studio.settings(), SwapOptions())
    boosted = make_swapper("inswapper_128", studio.settings(), SwapOptions(pixel_boost_px=512))
    assert (plain.crop_side_px(faces[0]), boosted.crop_side_px(faces[0])) == (128, 512)
    identity = boosted.prepare("one", [(picture, faces[0])])
    crop = crops_of(boosted, picture, faces[1:2])[0]
    made = boosted.swap([crop], identity)[0]
    assert made.mask.shape == (512, 512)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        part = TargetCrop(np.ascontiguousarray(crop.pixels[row::4, column::4]), crop.matrix, crop.points)
        assert np.array_equal(made.pixels[row::4, column::4], plain.swap([part], identity)[0].pixels)
    for wrong in (200, 1152, 2048):
        with pytest.raises(JobError, match=r"job\.resolution_unsupported"):
            require_engines(SwapOptions(engine="inswapper_128", pixel_boost_px=wrong), studio.settings())


def test_pixels_survive_both_ways():
    picture = np.random.default_rng(2).integers(0, 256, (24, 24, 3), np.uint8)
    for mean, std in (((0.0,) * 3, (1.0,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))):
        tensor = to_tensor([picture], mean, std)
        reference = (picture[..., ::-1] / 255 - mean) / std
        assert np.abs(tensor[0] - reference.transpose(2, 0, 1)).max() < 1e-5
        assert np.array_equal(to_pictures(tensor, mean, std)[0], picture)
    assert np.array_equal(joined(split(picture, 3), 3), picture)
    wild = np.full((1, 3, 2, 2), 9, np.float32)
    wild[0, 1] = -9
    assert to_pictures(wild, (0.0,) * 3, (1.0,) * 3)[0][0, 0].tolist() == [255, 0, 255]


def test_auto_takes_the_best_that_is_installed_and_allowed(studio, tmp_path, monkeypatch):
    settings = studio.settings()
    empty = settings.model_copy(update={"models": settings.models.model_copy(update={"folder": tmp_path})})
    assert resolve_engine("auto", empty) == "mesh"
    assert make_swapper("auto", empty).name == "mesh"
    studio.install("ghost_3_256", "inswapper_128")
    studio.install("hyperswap_1a_256")
    assert make_swapper("auto", settings).name == "hyperswap_1a_256"
    import faceflow.vision.registry as registry

    monkeypatch.setattr(registry, "allowed", lambda entry, *_: "hyperswap" not in entry.name)
    assert resolve_engine("auto", settings) == "inswapper_128"
    monkeypatch.setattr(registry, "allowed", lambda entry, *_: False)
    assert resolve_engine("auto", settings) == "mesh"


def test_versions_name_the_files_that_a_job_uses(studio):
    studio.install("ghost_1_256", "simswap_256", "gfpgan_1.4")
    settings = studio.settings()
    ghost = engine_versions(SwapOptions(engine="ghost_1_256"), settings)
    assert set(ghost) - set(engine_versions()) == {"model.ghost_1_256", "provider", "onnxruntime"}
    with_restorer = engine_versions(SwapOptions(engine="ghost_1_256", restorer="gfpgan_1.4"), settings)
    assert set(with_restorer) - set(ghost) == {"model.gfpgan_1.4"}
    path = studio.folder / "models" / "crossface_ghost" / "crossface_ghost.onnx"
    content = path.read_bytes()
    try:
        path.write_bytes(content + b"\x72\x00")  # an empty field more: the same network in another file
        path.with_name(path.name + ".record").unlink()
        assert engine_versions(SwapOptions(engine="ghost_1_256"), settings) != ghost
    finally:
        path.write_bytes(content)
        path.with_name(path.name + ".record").unlink()
    assert engine_versions(SwapOptions(engine="ghost_1_256"), settings) == ghost
    assert make_swapper("mesh", studio.settings()).version in engine_versions().values()


def test_what_is_not_there_is_said_before_anything_runs(studio, tmp_path):
    settings = studio.settings()
    empty = settings.model_copy(update={"models": settings.models.model_copy(update={"folder": tmp_path})})
    with pytest.raises(ModelFileError, match=r"model\.missing"):
        require_engines(SwapOptions(engine="inswapper_128"), empty)
    with pytest.raises(ModelFileError, match=r"model\.missing"):
        require_engines(SwapOptions(restorer="gfpgan_1.4"), empty)
    for options in (SwapOptions(engine="gfpgan_1.4"), SwapOptions(restorer="inswapper_128"), SwapOptions(engine="no")):
        with pytest.raises(JobError, match=r"job\.engine_unknown"):
            require_engines(options, settings)
    require_engines(SwapOptions(), empty)
    with pytest.raises(EngineError, match=r"engine\.provider_missing"):
        require_engines(SwapOptions(engine="inswapper_128"), studio.settings(provider="cuda"))
    require_engines(SwapOptions(), studio.settings(provider="cuda"))  # the embedded engines need no provider


def test_a_network_of_another_contract_is_refused(studio):
    studio.install("ghost_1_256", "inswapper_128", "gfpgan_1.4")
    folder = studio.folder / "models"
    wrong = {
        "hyperswap_1b_256": folder / "gfpgan_1.4" / "gfpgan_1.4.onnx",
        "inswapper_128_facefusion": folder / "ghost_1_256" / "ghost_1_256.onnx",
    }
    for name, other in wrong.items():
        path = folder / name / {"hyperswap_1b_256": "hyperswap_1b_256.onnx"}.get(name, "inswapper_128.onnx")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(other.read_bytes())
        with pytest.raises(FaceflowError, match=r"engine\.contract_mismatch"):
            make_swapper(name, studio.settings())
        for file in path.parent.iterdir():
            file.unlink()


def test_restorers_are_made_once_for_all_threads(studio):
    studio.install("gfpgan_1.4")
    settings = studio.settings()
    assert make_restorer("gfpgan_1.4", settings) is make_restorer("gfpgan_1.4", settings)


def test_an_identity_of_another_engine_is_refused(studio, people):
    studio.install("ghost_1_256", "inswapper_128")
    picture, faces = people
    ghost = make_swapper("ghost_1_256", studio.settings())
    inswapper = make_swapper("inswapper_128", studio.settings())
    identity = ghost.prepare("one", [(picture, faces[0])])
    with pytest.raises(EngineError, match="identity_mismatch"):
        inswapper.swap(crops_of(inswapper, picture, faces[:1]), identity)


@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
@pytest.mark.parametrize("corner", [(-20, -30), (560, 400)])
def test_a_face_that_leaves_the_frame_is_swapped_as_far_as_it_is_seen(studio, corner, scale):
    """Small faces and those larger than the restorer's picture, over the frame's border."""
    studio.install("inswapper_128", "gfpgan_1.4")
    settings, options = studio.settings(), SwapOptions(mask_feather=0.1)
    swapper = make_swapper("inswapper_128", settings, options)
    restorer = make_restorer("gfpgan_1.4", settings, options)
    picture = np.full((480, 640, 3), 120, np.uint8)
    points = (TEMPLATES[Template.FFHQ_512] * 200 * scale + corner).astype(np.float32)
    box = np.concatenate([points.min(0), points.max(0)])
    face = Face(box=box, points=points, score=1.0)
    frame = native(picture, "yuv420p")
    before = copy_of(frame)
    identity = NeuralIdentity("one", "inswapper_128", np.zeros((1, 512), np.float32))
    swaps = FaceSwaps(swapper, {"source": identity}, (), restorer)
    faces = [*swaps.push(frame, [(face, 0, "source")]), *swaps.finish()]
    placed = [PlacedCrop(one.crop, one.matrix, one.points) for one in faces]
    made = restorer.restore_placed(placed, 1.0)[0]
    assert max(made.crop.mask.shape) <= 4096 and made.crop.mask.any()
    back = np.linalg.inv(np.vstack([made.matrix.astype(float), [0, 0, 1]]))
    assert np.allclose(made.points @ back[:2, :2].T + back[:2, 2], points, atol=0.05), "points stay on the face"
    compose_frame(frame, [FaceFrame(0, 0, made.matrix, made.crop, made.points)])
    changed = before.planes[0] != frame.planes[0]
    seen = ((points >= 0) & (points < (640, 480))).all(1)
    assert all(changed[int(y), int(x)] for x, y in points[seen])
    if scale <= 1:
        assert changed.mean() < 0.4
