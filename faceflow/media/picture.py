"""Still pictures, exactly: portraits and targets in JPEG, PNG, WebP, HEIC (HEIF) and AVIF.

A picture is read in three steps, each bounded: the operating system's answer (is it a file, is it readable), the
headers (format, size, animation, inks: both in `picture_open`), and only then the decoder. What comes out is upright,
keeps its bit depth and its own colour space, and remembers what the writer needs: profile, EXIF, alpha and how a JPEG
was compressed. Analysis sees an 8-bit sRGB copy (`PictureFile.bgr`), compose edits the samples themselves
(`PictureFile.frame`), and `write_picture` puts them back. A PNG keeps every sample that nobody changed.

Not carried: XMP, text chunks, the EXIF thumbnail (it shows the old face), animation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import ExactnessError, OutputError
from faceflow.media.facts import ColourTags
from faceflow.media.native import NativeFrame, Plane
from faceflow.media.picture_cicp import Cicp, profile_of, tone_mapped
from faceflow.media.picture_colour import to_srgb
from faceflow.media.picture_decode import JpegCoding, decode_picture
from faceflow.media.picture_encode import CARRIES_ALPHA, LARGEST_SIDE_PX, EncodeRequest, encode_picture
from faceflow.media.picture_exif import orientation_of, upright_exif
from faceflow.media.picture_header import PictureKind
from faceflow.media.picture_open import is_picture, open_picture
from faceflow.publish import publishing
from faceflow.settings import LimitSettings

__all__ = [
    "PICTURE_ENDINGS",
    "PictureFile",
    "check_destination",
    "is_picture",
    "read_picture",
    "write_picture",
]

PICTURE_ENDINGS: dict[str, PictureKind] = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".avif": "avif",
}
"""File name endings (lower case) that `write_picture` knows, and the format that each one means."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureFile:
    """A decoded picture, upright.

    Attributes:
        path: where it was read.
        kind: its format.
        width_px: columns of the upright picture.
        height_px: rows of the upright picture.
        bit_depth: 8 or 16.
        samples: uint8 or uint16 (H, W, C), read-only, in the picture's own colour space; C = 1 gray, 3 is B, G, R.
        alpha: (H, W) of the same type, 0 is transparent; None where the file has none.
        icc: colour profile, or None.
        exif: TIFF block for the upright picture, or None.
        lossless: whether the file keeps samples exactly.
        jpeg: how a JPEG was compressed, or None.
        carried: PNG chunks that are written again as they are.
        cicp: colours that the file states by numbers, or None.
        extras: HEIF and AVIF only: what else lies in the file and is not carried, as in `PictureHeader`.
    """

    path: Path
    kind: PictureKind
    width_px: int
    height_px: int
    bit_depth: int
    samples: Plane
    alpha: Plane | None
    icc: bytes | None
    exif: bytes | None
    lossless: bool
    jpeg: JpegCoding | None
    carried: tuple[tuple[bytes, bytes], ...]
    cicp: Cicp | None = None
    extras: tuple[str, ...] = ()

    @property
    def is_hdr(self) -> bool:
        """Whether its samples are coded in PQ or HLG."""
        return self.cicp is not None and self.cicp.is_hdr

    @property
    def pixel_format(self) -> str:
        """`gbrp`, `gbrp16le`, `gray` or `gray16le`."""
        return ("gbrp" if self.samples.shape[2] == 3 else "gray") + ("16le" if self.bit_depth == 16 else "")

    def frame(self) -> NativeFrame:
        """The samples as frame 0 with planes of its own: B, G, R or one gray plane; alpha is left out."""
        return NativeFrame(
            number=0,
            pts=0,
            planes=[_own(self.samples[:, :, plane]) for plane in range(self.samples.shape[2])],
            pixel_format=self.pixel_format,
            bit_depth=self.bit_depth,
            chroma_shift_x=0,
            chroma_shift_y=0,
            colour=ColourTags(matrix=0, colour_range=2),
        )

    def bgr(self) -> NDArray[np.uint8]:
        """The picture for analysis: uint8 (H, W, 3), B, G, R in sRGB, alpha dropped, writable."""
        samples = self.samples
        if self.cicp is not None and self.cicp.is_hdr:
            return tone_mapped(samples, self.cicp)
        if samples.dtype == np.uint16:
            samples = ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        return to_srgb(np.ascontiguousarray(samples, np.uint8), self.icc)


def read_picture(path: Path, limits: LimitSettings) -> PictureFile:
    """Reads and decodes a picture.

    Raises:
        PictureError: `picture.missing`, `.is_directory`, `.unreadable`, `.empty`, `.not_a_picture`,
            `.format_unsupported`, `.too_small`, `.too_large`, `.animated`, `.cmyk`, `.truncated` or `.corrupt`.
    """
    data, header = open_picture(path, limits)
    decoded = decode_picture(data, header, path)
    orientation = orientation_of(header.exif) if header.oriented_by_exif else 1
    icc = header.icc
    if decoded.cicp is not None and (icc is None or header.kind == "png"):
        icc = profile_of(decoded.cicp) or icc
    samples = _upright(decoded.samples, orientation)
    height, width = samples.shape[:2]
    samples.setflags(write=False)
    return PictureFile(
        path=path,
        kind=header.kind,
        width_px=width,
        height_px=height,
        bit_depth=header.bit_depth,
        samples=samples,
        alpha=None if decoded.alpha is None else _upright(decoded.alpha, orientation),
        icc=icc,
        exif=upright_exif(header.exif, width, height),
        lossless=header.lossless,
        jpeg=decoded.jpeg,
        carried=header.carried,
        cicp=decoded.cicp,
        extras=header.extras,
    )


def check_destination(picture: PictureFile, destination: Path) -> PictureKind:
    """The format in which `picture` would be written to `destination`; call it early, before any work is done.

    Raises:
        OutputError: `output.ending_unknown`; `output.alpha`, where transparent pixels would be lost; `output.hdr`,
            where colours beyond the ordinary range would be shown wrong; `output.too_large`, where the format cannot
            hold so many pixels per side.
    """
    kind = PICTURE_ENDINGS.get(destination.suffix.lower())
    if kind is None:
        raise OutputError(
            "output.ending_unknown",
            f"The name {destination.name!r} does not end like a picture format.",
            f"Use a name that ends in {', '.join(PICTURE_ENDINGS)}.",
        )
    if picture.alpha is not None and kind not in CARRIES_ALPHA and not (picture.alpha == _opaque(picture)).all():
        raise OutputError(
            "output.alpha",
            f"{str(picture.path)!r} has transparent pixels, which JPEG cannot hold.",
            "Write the result as PNG, WebP or AVIF.",
        )
    if picture.is_hdr and kind != "png":
        raise OutputError(
            "output.hdr",
            f"{str(picture.path)!r} has high dynamic range colours (PQ or HLG), which only PNG can keep.",
            "Write the result as PNG, or convert the picture to standard dynamic range first.",
        )
    if max(picture.width_px, picture.height_px) > LARGEST_SIDE_PX[kind]:
        raise OutputError(
            "output.too_large",
            f"A {kind} file holds at most {LARGEST_SIDE_PX[kind]} pixels per side.",
            "Write the result as PNG.",
        )
    return kind


def write_picture(picture: PictureFile, frame: NativeFrame, destination: Path, *, quality: int | None = None) -> None:
    """Writes `frame` with everything else that `picture` has; the ending of `destination` chooses the format.

    PNG, and WebP of a lossless source, keep every sample. JPEG uses the source's own quantisation tables and
    subsampling where the source is a JPEG, else quality 95 without subsampling; lossy WebP quality 95, AVIF 90.

    Args:
        picture: where profile, EXIF, alpha and compression come from.
        frame: the samples, in the size and pixel format of `picture.frame()`.
        destination: the file; it appears whole or not at all.
        quality: 1 to 100, instead of the choice above. Ignored where samples are kept.

    Raises:
        OutputError: as `check_destination` and `faceflow.publish.publishing`.
        ResourceError: `fault.disk_full`.
        ExactnessError: `fault.exactness`, when `frame` has another size or pixel format than `picture`.
    """
    kind = check_destination(picture, destination)
    if (frame.pixel_format, frame.width_px, frame.height_px) != (
        picture.pixel_format,
        picture.width_px,
        picture.height_px,
    ):
        raise ExactnessError(
            "fault.exactness",
            f"A {frame.pixel_format} frame of {frame.width_px}x{frame.height_px} was about to be written for a "
            f"{picture.pixel_format} picture of {picture.width_px}x{picture.height_px}.",
            "This is a bug in faceflow; please report it.",
        )
    request = EncodeRequest(
        planes=frame.planes,
        alpha=picture.alpha,
        icc=picture.icc,
        exif=picture.exif,
        jpeg=picture.jpeg,
        carried=picture.carried,
        cicp=picture.cicp,
        keep_samples=picture.lossless,
        quality=quality,
    )
    with publishing(destination) as temporary, temporary.open("wb") as file:
        encode_picture(request, kind, file)


def _opaque(picture: PictureFile) -> int:
    return 65535 if picture.bit_depth == 16 else 255


def _own(pixels: Plane) -> Plane:
    """A C-contiguous copy."""
    return pixels.copy(order="C")


def _upright(pixels: Plane, orientation: int) -> Plane:
    """Turns and mirrors rows and columns by EXIF orientation (1 to 8); a copy of its own."""
    turned = pixels
    if orientation >= 5:
        turned = turned.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return _own(turned)
