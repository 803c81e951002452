"""HEIC and AVIF on the whole road: as portrait, as target, as reference picture; in every format of a result."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceflow.errors import FaceflowError
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.resolve import store_for
from faceflow.job import Consent, FaceMapping, Source, SwapJob
from faceflow.media.picture import read_picture
from faceflow.settings import PathSettings
from faceflow.stages.identity import identify
from faceflow.stages.preflight import preflight
from faceflow.stages.whole import run_whole_job
from tests.faces import ASTRONAUT, SIX_PEOPLE
from tests.pictures import heif

PHONE = (b"heic", b"mif1", b"MiHE", b"miaf", b"heic")


def phone_picture(rgb, *, quarters=0, tile=256):
    """RGB as an iPhone stores it: a grid of HEVC tiles, turned by `irot`."""
    stored = np.rot90(rgb, -quarters)
    height, width = stored.shape[:2]
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.pad(stored, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), mode="edge")
    tiles = [
        heif.coded([padded[top : top + tile, left : left + tile, channel] for channel in (1, 2, 0)], "gbrp")
        for top in range(0, rows * tile, tile)
        for left in range(0, columns * tile, tile)
    ]
    properties = [heif.turned(quarters)] if quarters else []
    return heif.heif(heif.grid(tiles, columns, width, height, properties=properties), brands=PHONE)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("phone") / "IMG_0001.HEIC"
    path.write_bytes(phone_picture(np.asarray(Image.open(ASTRONAUT).convert("RGB")), quarters=3))
    return path


@pytest.fixture(scope="module")
def scene():
    with Image.open(SIX_PEOPLE) as people:
        return np.asarray(people.convert("RGB").crop((0, 300, 320, 620)))


def swapped(folder, portrait, target, ending, mapping=()):
    settings = Settings(paths=PathSettings(state=folder / "state", scratch=folder / "scratch"))
    job = SwapJob(
        sources=(Source(portraits=(str(portrait),), name="anna"),),
        target=str(target),
        output=str(folder / f"out{ending}"),
        face_map=mapping,
        consent=Consent(subject="the astronaut", scope="a test", reference="form 7"),
    )
    preflight(job, settings)
    work = folder / f"work{ending}"
    work.mkdir(parents=True)
    store, key = store_for(job.output, settings)
    return run_whole_job(job, identify(job), settings, work, store, key), folder / f"out{ending}", settings


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".avif"])
def test_a_phones_portrait_into_a_phones_picture(tmp_path, portrait, scene, ending):
    target = tmp_path / "IMG_0002.HEIC"
    target.write_bytes(phone_picture(scene, quarters=1))
    _, output, settings = swapped(tmp_path, portrait, target, ending)
    before = read_picture(target, settings.limits).samples.astype(int)
    after = read_picture(output, settings.limits).samples.astype(int)
    np.testing.assert_array_equal(before[:, :, ::-1], scene)
    difference = np.abs(after - before).max(axis=2)
    rows, columns = np.nonzero(difference > (0 if ending == ".png" else 60))
    assert len(rows) > (1000 if ending == ".png" else 50)
    assert max(np.ptp(rows), np.ptp(columns)) < 200
    if ending == ".png":
        # The same as with the same pixels from PNG files.
        Image.fromarray(scene).save(tmp_path / "same.png")
        (tmp_path / "again").mkdir()
        _, again, _ = swapped(tmp_path / "again", ASTRONAUT, tmp_path / "same.png", ".png")
        np.testing.assert_array_equal(read_picture(again, settings.limits).samples, after)


def test_a_target_of_ten_bits_keeps_them(tmp_path, portrait, scene):
    deep = scene.astype(np.uint16) << 2 | np.random.default_rng(3).integers(0, 4, scene.shape).astype(np.uint16)
    item = heif.coded([deep[:, :, channel] for channel in (1, 2, 0)], "gbrp10le", "av1")
    target = tmp_path / "deep.avif"
    target.write_bytes(heif.heif([dataclasses.replace(item)], brands=(b"avif", b"mif1", b"avif")))
    _, output, settings = swapped(tmp_path, portrait, target, ".png")
    after = read_picture(output, settings.limits)
    assert after.bit_depth == 16
    kept = np.rint(deep.astype(np.float64) * 65535 / 1023)
    rows, columns = np.nonzero((after.samples[:, :, ::-1] != kept).any(axis=2))
    assert len(rows) > 1000
    assert max(np.ptp(rows), np.ptp(columns)) < 200


def test_results_are_not_written_as_heic(tmp_path, portrait, scene):
    target = tmp_path / "IMG_0002.HEIC"
    target.write_bytes(phone_picture(scene))
    with pytest.raises(FaceflowError) as caught:
        swapped(tmp_path, portrait, target, ".heic")
    assert caught.value.code == "output.ending_unknown"
    assert all(ending in caught.value.resolution for ending in (".jpg", ".png", ".webp", ".avif"))


def test_a_person_is_named_by_a_phones_picture(tmp_path, portrait, scene):
    pytest.importorskip("dlib")
    target, reference = tmp_path / "scene.png", tmp_path / "who.heic"
    Image.fromarray(scene).save(target)
    reference.write_bytes(phone_picture(scene))
    finished, output, _ = swapped(
        tmp_path, portrait, target, ".png", (FaceMapping(reference=str(reference), source="anna"),)
    )
    assert output.exists()
    assert finished.validated.subject.frames == 1


def test_faces_lists_who_is_in_a_phones_picture(offline_program, tmp_path: Path, scene) -> None:
    target = tmp_path / "group.heic"
    target.write_bytes(phone_picture(scene, quarters=2))
    done = offline_program("faces", target, "-o", tmp_path / "sheet.avif", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert len(done.answer["people"]) == 1
    with Image.open(tmp_path / "sheet.avif") as sheet:
        assert sheet.width >= 192
