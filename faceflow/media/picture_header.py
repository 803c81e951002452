"""What a picture file says about itself before a single pixel is decoded.

A picture's headers are a few bytes that anyone may have written: they can promise 900 million pixels in a file of
one kilobyte, hide an animation or end in the middle. So `picture_jpeg`, `picture_png`, `picture_webp` and
`picture_heif` read them by hand, in time and memory bounded by the file's own size, and tell the size to `CheckSize`
as soon as they know it. Only what passes is given to a decoder.

Colour profile and EXIF block are taken out on the way, so that all formats hand them on in one form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceflow.errors import PictureError
from faceflow.media.picture_cicp import Cicp
from faceflow.media.picture_items import HeifPicture

PictureKind = Literal["jpeg", "png", "webp", "heif", "avif"]

CheckSize = Callable[[int, int], None]
"""Called with the stored width and height in pixels; raises when they are outside the limits."""

MAX_PROFILE_BYTES = 16 * 2**20
"""Largest colour profile that is carried; real ones have 500 bytes to 3 MB."""

_OTHER_PICTURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
)


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """The facts that a file's headers state.

    Attributes:
        kind: the format, by content.
        width_px: columns as decoded, before EXIF orientation.
        height_px: rows as decoded, before EXIF orientation.
        bit_depth: bits of one sample as decoded here: 8 or 16.
        lossless: whether the format keeps samples exactly.
        icc: colour profile, or None.
        exif: TIFF block of the EXIF data, without the `Exif\\0\\0` that JPEG puts before it, or None.
        carried: PNG chunks (name, content) that describe colour and density and are written again as they are.
        transparent: PNG only: the one gray or R, G, B value that counts as transparent, or None.
        cicp: colours that the file states by numbers, or None.
        oriented_by_exif: whether the pixels are still to be turned as EXIF says. HEIF turns them by properties of its
            own, and EXIF repeats it.
        heif: HEIF and AVIF only: what the picture is made of.
        extras: HEIF and AVIF only: what else lies in the file, by the format's own names: URNs of auxiliary pictures
            (depth and gain maps), types of other items such as `mime` or `tmap`, `thmb` for thumbnails.
    """

    kind: PictureKind
    width_px: int
    height_px: int
    bit_depth: int
    lossless: bool
    icc: bytes | None
    exif: bytes | None
    carried: tuple[tuple[bytes, bytes], ...] = ()
    transparent: tuple[int, ...] | None = None
    cicp: Cicp | None = None
    oriented_by_exif: bool = True
    heif: HeifPicture | None = None
    extras: tuple[str, ...] = ()


def kind_of(head: bytes) -> PictureKind | None:
    """The supported format that the first 16 bytes of a file belong to, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return None


def other_picture(head: bytes) -> str | None:
    """The name of a picture format that is known here but not supported, or None."""
    for offset, magic, name in _OTHER_PICTURES:
        if head[offset : offset + len(magic)] == magic:
            # Two letters begin many files: a bitmap also has four reserved zero bytes.
            return None if name == "BMP" and head[6:10] != b"\0\0\0\0" else name
    return None


def truncated(path: Path) -> PictureError:
    """`picture.truncated`: the file ends before the picture does."""
    return PictureError(
        "picture.truncated",
        f"The picture {str(path)!r} is cut off: the file ends before the picture does.",
        "Copy or download the file again.",
    )


def corrupt(path: Path, reason: str) -> PictureError:
    """`picture.corrupt`: the file contradicts its format."""
    return PictureError(
        "picture.corrupt",
        f"The picture {str(path)!r} is damaged: {reason}.",
        "Copy the file again, or open it in an image editor and save it again.",
    )


def animated(path: Path, form: str) -> PictureError:
    """`picture.animated`: several pictures in one file."""
    return PictureError(
        "picture.animated",
        f"{str(path)!r} is an animated {form}, not a still picture.",
        "Use a single picture, or convert the animation to a video (MP4) and use that as the target.",
    )


def unsupported(path: Path, form: str) -> PictureError:
    """`picture.format_unsupported`: a picture, but of a format or coding that is not read here."""
    return PictureError(
        "picture.format_unsupported",
        f"{str(path)!r} is a {form} picture, which is not supported.",
        "Save it as JPEG, PNG, WebP, HEIC or AVIF.",
        format=form,
    )
