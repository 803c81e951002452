"""One picture through all that opens it: told apart, read, seen by the analysers, and written in every format."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import numpy as np

from faceflow.errors import FaceflowError
from faceflow.media.picture import PICTURE_ENDINGS, PictureFile, is_picture, read_picture, write_picture
from faceflow.settings import LimitSettings
from tests.fuzz.mutate import strike
from tests.fuzz.picture_bases import FORMATS, bases, layout_of, make_bases

LIMITS = LimitSettings(max_side_px=1024, max_picture_pixels=2**20)
"""With these no picture takes long to make, so that what does is a fault."""
_WIDE = LimitSettings(max_picture_pixels=2**24)
_WIDE_EVERY = 16
_ENDINGS = tuple(PICTURE_ENDINGS)

prepare = make_bases


def names() -> tuple[str, ...]:
    """The formats that there are cases of."""
    return tuple(FORMATS)


def made(folder: Path, name: str, seed: int, number: int) -> tuple[str, bytes]:
    """The ending and the bytes of a case."""
    random = Random(f"{name}/{seed}/{number}")
    form, files = FORMATS[name], bases(folder, name)
    chosen = random.randrange(len(files))
    others = files if random.random() < 0.8 else bases(folder, random.choice(list(FORMATS)))
    return form.suffix, strike(
        random, files[chosen], layout_of(folder, name, chosen), others, form.layout, form.checked
    )


def attempt(path: Path, number: int) -> str:
    """Takes a picture as far as it goes; says how far, or the code with which it ended.

    Raises:
        AssertionError: something came out that cannot be right.
    """
    told = is_picture(path)
    wide = number % _WIDE_EVERY == 0
    try:
        picture = read_picture(path, _WIDE if wide else LIMITS)
        assert told, "read, but not told to be a picture"
        _is_whole(picture)
        if not wide:
            _written(picture, path.parent, _ENDINGS[number % len(_ENDINGS)])
    except FaceflowError as error:
        assert error.message and error.resolution, "an error without words"
        assert not error.code.startswith("fault."), f"{error.code}: {error.message}"
        error.to_dict()
        return error.code
    return "result"


def _is_whole(picture: PictureFile) -> None:
    shape = (picture.height_px, picture.width_px)
    assert picture.samples.shape[:2] == shape and picture.samples.shape[2] in (1, 3)
    assert picture.samples.dtype == (np.uint16 if picture.bit_depth == 16 else np.uint8)
    assert picture.alpha is None or (picture.alpha.shape == shape and picture.alpha.dtype == picture.samples.dtype)
    seen = picture.bgr()
    assert seen.shape == (*shape, 3) and seen.dtype == np.uint8


def _written(picture: PictureFile, place: Path, ending: str) -> None:
    with tempfile.TemporaryDirectory(dir=place) as folder:
        destination = Path(folder) / f"out{ending}"
        try:
            write_picture(picture, picture.frame(), destination)
        except FaceflowError:
            assert not list(Path(folder).iterdir()), "a file was left behind"
            raise
        assert [path.name for path in Path(folder).iterdir()] == [destination.name], "a file was left behind"
        again = read_picture(destination, LIMITS)
        assert again.samples.shape[:2] == picture.samples.shape[:2]
        if ending == ".png":
            assert np.array_equal(again.samples, picture.samples), "PNG holds other samples"
            assert again.icc == picture.icc, "PNG holds another profile"
            assert np.array_equal(again.bgr(), picture.bgr()), "PNG is seen in other colours"
