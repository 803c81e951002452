"""From a path to the bytes and the header of a picture that is worth decoding; or the reason why it is not."""

from __future__ import annotations

import errno
import io
import stat
from pathlib import Path

from faceflow.errors import PictureError
from faceflow.media.picture_boxes import MediaNature, nature_of
from faceflow.media.picture_header import PictureHeader, animated, kind_of, other_picture, unsupported
from faceflow.media.picture_heif import read_heif_header
from faceflow.media.picture_jpeg import read_jpeg_header
from faceflow.media.picture_png import read_png_header
from faceflow.media.picture_webp import read_webp_header
from faceflow.settings import LimitSettings

_HEADERS = {"jpeg": read_jpeg_header, "png": read_png_header, "webp": read_webp_header}
_HEAD_BYTES = 32


def is_picture(path: Path) -> bool:
    """Whether the file's content begins like a picture of any known format, supported or not. Never raises."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            nature = nature_of(file, path.stat().st_size)
    except (OSError, ValueError):
        return False
    return kind_of(head) is not None or other_picture(head) is not None or nature in ("still", "sequence")


def open_picture(path: Path, limits: LimitSettings) -> tuple[bytes, PictureHeader]:
    """The whole file and its header, after every check that needs no decoder.

    Raises:
        PictureError: every code of `faceflow.media.picture.read_picture`.
    """
    data = _read_file(path, limits)
    return data, _read_header(data, path, limits)


def _read_file(path: Path, limits: LimitSettings) -> bytes:
    shown = repr(str(path))
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise PictureError("picture.is_directory", f"{shown} is a folder.", "Choose a picture file in the folder.")
        if not stat.S_ISREG(mode):
            raise PictureError("picture.unreadable", f"{shown} is not an ordinary file.", "Copy it to a file first.")
        # 16-bit RGBA is 8 bytes a pixel: nothing that is larger than that can be within the limits.
        longest = 8 * limits.max_picture_pixels + 2**24
        if status.st_size > longest:
            raise PictureError(
                "picture.too_large", f"{shown} is larger than {longest} bytes.", "Scale the picture down."
            )
        with path.open("rb") as file:
            data = file.read(status.st_size)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise PictureError("picture.missing", f"{shown} does not exist.", "Check the path.") from error
        reason = error.strerror or str(error)
        raise PictureError(
            "picture.unreadable", f"{shown} cannot be read: {reason}.", "Check its permissions and the disk."
        ) from error
    if not data:
        raise PictureError("picture.empty", f"{shown} is an empty file.", "Copy or download the picture again.")
    return data


def _read_header(data: bytes, path: Path, limits: LimitSettings) -> PictureHeader:
    head = data[:_HEAD_BYTES]
    kind = kind_of(head)
    if kind is not None:
        return _HEADERS[kind](data, path, lambda width, height: _check_size(width, height, path, limits))
    nature = nature_of(io.BytesIO(data), len(data))
    if nature is not None:
        return _read_boxes(nature, data, path, limits)
    other = other_picture(head)
    if other == "GIF" and data.count(b"\x21\xf9\x04") > 1:
        raise animated(path, "GIF")
    if other is not None:
        raise unsupported(path, other)
    raise _not_a_picture(path, "not a picture")


def _read_boxes(nature: MediaNature, data: bytes, path: Path, limits: LimitSettings) -> PictureHeader:
    if nature == "video":
        raise _not_a_picture(path, "a video, not a picture")
    if nature == "sequence":
        raise animated(path, "HEIF or AVIF sequence")
    return read_heif_header(data, path, lambda width, height: _check_size(width, height, path, limits))


def _not_a_picture(path: Path, what: str) -> PictureError:
    return PictureError(
        "picture.not_a_picture", f"{str(path)!r} is {what}.", "Use a JPEG, PNG, WebP, HEIC or AVIF picture."
    )


def _check_size(width: int, height: int, path: Path, limits: LimitSettings) -> None:
    if min(width, height) < limits.min_side_px:
        raise PictureError(
            "picture.too_small",
            f"{str(path)!r} has only {width}x{height} pixels.",
            f"Use a picture with at least {limits.min_side_px} pixels per side.",
        )
    if max(width, height) > limits.max_side_px or width * height > limits.max_picture_pixels:
        raise PictureError(
            "picture.too_large",
            f"{str(path)!r} has {width}x{height} pixels; the limits are {limits.max_side_px} per side and "
            f"{limits.max_picture_pixels} in total.",
            "Scale the picture down, or raise FACEFLOW_LIMITS__MAX_SIDE_PX and FACEFLOW_LIMITS__MAX_PICTURE_PIXELS.",
        )
