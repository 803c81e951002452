"""The faces file: what swap hands to restore and restore to compose, face by face in frame order.

    header   magic "FFFACES", format version, length and CRC-32 of the description, description (JSON: engine and so on)
    record   frame number, person, rows H, columns W, matrix (frame -> crop), the face's five points in the crop,
             CRC-32 of all that and of the pixels,
             crop uint8 (H, W, 3) BGR, mask uint8 (H, W)
    ...
    trailer  a record with frame number -1 that holds the number of records and a CRC-32 over their CRC-32s

Crops are stored as they are: at 256 pixels a face-frame is 256 KiB, which a disk takes faster than any lossless
coder on one core would make it smaller. Writer and reader hold one record at a time. A file that was cut or changed
is told by its missing trailer or by a checksum, never read as if it were whole. The trailer's checksum stands for the
whole file, so that nobody has to hash it once more to recognise it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.errors import FaultError
from faceflow.publish import publishing
from faceflow.vision.shapes import SwappedCrop

NO_PERSON = -1
"""Person of a face that the analyser cannot tell from others."""

_MAGIC = b"FFFACES\x03"
_HEADER = struct.Struct("<8sII")  # magic and version, length of the description, its CRC-32
_RECORD = struct.Struct("<qiII6f10f")  # frame number, person, rows, columns, matrix row by row, points
_CHECK = struct.Struct("<I")
_TRAILER_FRAME = -1
_AROUND_PX = 3
"""One pixel where bilinear reading fades out, and up to two more to the next whole chroma block."""
_WORTH_CUTTING = 0.9
"""Share of a crop that is left, above which it is kept as it is: cutting copies it."""
_MOST_SIDE_PX = 4096
_MOST_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FaceFrame:
    """One face in one frame.

    Attributes:
        frame: frame number in the index.
        person: number in the plan's list of people, or `NO_PERSON`.
        matrix: float32 (2, 3), frame -> crop.
        crop: the swapped pixels and their mask, (H, W).
        points: float32 (5, 2), the face's five points in crop pixels, for restorers that align it for themselves.
    """

    frame: int
    person: int
    matrix: NDArray[np.float32]
    crop: SwappedCrop
    points: NDArray[np.float32]


def trimmed(face: FaceFrame) -> FaceFrame:
    """The same face with no more of its crop than the mask's rectangle and the pixels around it that paste reads."""
    x, y, columns, rows = cv2.boundingRect(face.crop.mask)
    if not columns:
        return face
    x, y, end_x, end_y = max(0, x - _AROUND_PX), max(0, y - _AROUND_PX), x + columns + _AROUND_PX, y + rows + _AROUND_PX
    height, width = face.crop.mask.shape
    if (min(end_y, height) - y) * (min(end_x, width) - x) > _WORTH_CUTTING * height * width:
        return face
    crop = SwappedCrop(face.crop.pixels[y:end_y, x:end_x], face.crop.mask[y:end_y, x:end_x])
    matrix = face.matrix - np.array([[0, 0, x], [0, 0, y]], np.float32)
    return FaceFrame(face.frame, face.person, matrix, crop, face.points - np.array([x, y], np.float32))


class FacesWriter:
    """Writes a faces file; it appears under its name only when it is complete.

    with FacesWriter(path, {"engine": "mesh", "version": "1"}) as writer:
        writer.write(face_frame)   # in frame order

    Raises:
        ResourceError: `fault.disk_full`.
    """

    def __init__(self, path: Path, description: dict[str, str]) -> None:
        self._path = path
        self._description = description
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._last = 0
        self._check = 0
        self.faces = 0
        self.checksum = ""
        """Eight hexadecimal digits that stand for everything in the file, once it is complete."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(publishing(self._path))
            self._file = stack.enter_context(temporary.open("wb"))
            text = json.dumps(self._description, sort_keys=True).encode()
            self._check = zlib.crc32(text)
            self._file.write(_HEADER.pack(_MAGIC, len(text), self._check) + text)
            self._stack = stack.pop_all()
        return self

    def write(self, face: FaceFrame) -> None:
        """Appends one face. Frames must not run backwards."""
        rows, columns = face.crop.mask.shape
        if face.crop.pixels.shape != (rows, columns, 3) or face.frame < self._last:
            raise FaultError(
                "fault.faces_file_order",
                f"Face of frame {face.frame} cannot follow frame {self._last}.",
                "This is a bug in faceflow; please report it.",
            )
        self._last = face.frame
        placed = np.concatenate([np.ravel(face.matrix), np.ravel(face.points)])
        numbers = np.asarray(placed, np.float32).tolist()
        self._append(_RECORD.pack(face.frame, face.person, rows, columns, *numbers), face.crop.pixels, face.crop.mask)
        self.faces += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack as stack:
            if kind is not None:
                stack.__exit__(kind, error, trace)
                return
            end = _RECORD.pack(_TRAILER_FRAME, NO_PERSON, self.faces, 0, *(0.0,) * 16)
            check = zlib.crc32(end, self._check)
            self._opened().write(end + _CHECK.pack(check))
            self.checksum = f"{check:08x}"

    def _append(self, head: bytes, pixels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        colours, alpha = np.ascontiguousarray(pixels).data, np.ascontiguousarray(mask).data
        check = _CHECK.pack(zlib.crc32(alpha, zlib.crc32(colours, zlib.crc32(head))))
        self._check = zlib.crc32(check, self._check)
        file = self._opened()
        file.write(head + check)
        file.write(colours)
        file.write(alpha)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise FaultError(
                "fault.faces_file_closed",
                "The faces file is not open.",
                "This is a bug in faceflow; please report it.",
            )
        return self._file


class FacesReader:
    """Reads a faces file face by face, in frame order.

    with FacesReader(path) as reader:
        for face in reader: ...

    Raises:
        FaultError: `fault.faces_file_missing`, `fault.faces_file_truncated`, `fault.faces_file_corrupt`: at the
            latest when iteration comes to the damage or to the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.checksum = ""
        """The same as the writer's, once all faces were read."""
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise FaultError(
                "fault.faces_file_missing",
                f"The faces file {str(path)!r} cannot be opened: {error.strerror}.",
                "Run the same command again; missing files are created again.",
            ) from error
        try:
            self.description = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[FaceFrame]:
        faces, check, last = 0, self._header_check, 0
        while True:
            head = self._take(_RECORD.size)
            stated = self._take(_CHECK.size)
            frame, person, rows, columns, *numbers = _RECORD.unpack(head)
            if frame == _TRAILER_FRAME:
                check = zlib.crc32(head, check)
                if rows != faces or _CHECK.unpack(stated)[0] != check or self._file.read(1):
                    raise self._corrupt()
                self.checksum = f"{check:08x}"
                return
            if not (0 < rows <= _MOST_SIDE_PX and 0 < columns <= _MOST_SIDE_PX) or frame < last:
                raise self._corrupt()
            if not np.isfinite(numbers).all():
                raise self._corrupt()
            body = self._take(rows * columns * 4)
            if zlib.crc32(body, zlib.crc32(head)) != _CHECK.unpack(stated)[0]:
                raise self._corrupt()
            check = zlib.crc32(stated, check)
            faces, last = faces + 1, frame
            values = np.frombuffer(body, np.uint8)
            yield FaceFrame(
                frame=frame,
                person=person,
                matrix=np.array(numbers[:6], np.float32).reshape(2, 3),
                crop=SwappedCrop(
                    pixels=values[: rows * columns * 3].reshape(rows, columns, 3),
                    mask=values[rows * columns * 3 :].reshape(rows, columns),
                ),
                points=np.array(numbers[6:], np.float32).reshape(5, 2),
            )

    def by_frame(self) -> Iterator[tuple[int, list[FaceFrame]]]:
        """The frames that have faces, in order, with their faces."""
        waiting: list[FaceFrame] = []
        for face in self:
            if waiting and face.frame != waiting[0].frame:
                yield waiting[0].frame, waiting
                waiting = []
            waiting.append(face)
        if waiting:
            yield waiting[0].frame, waiting

    def _read_header(self) -> dict[str, str]:
        magic, length, check = _HEADER.unpack(self._take(_HEADER.size))
        if magic != _MAGIC or length > _MOST_HEADER_BYTES:
            raise self._corrupt()
        text = self._take(length)
        if zlib.crc32(text) != check:
            raise self._corrupt()
        self._header_check = check
        try:
            described = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._corrupt() from error
        if not isinstance(described, dict):
            raise self._corrupt()
        return described

    def _take(self, count: int) -> bytes:
        try:
            data = self._file.read(count)
        except OSError as error:
            raise FaultError(
                "fault.faces_file_missing",
                f"The faces file {str(self._path)!r} cannot be read: {error.strerror}.",
                "Run the same command again; missing files are created again.",
            ) from error
        if len(data) != count:
            raise FaultError(
                "fault.faces_file_truncated",
                f"The faces file {str(self._path)!r} ends too early.",
                "Run the same command again; the segment is rendered again.",
            )
        return data

    def _corrupt(self) -> FaultError:
        return FaultError(
            "fault.faces_file_corrupt",
            f"The faces file {str(self._path)!r} is damaged or has a different version.",
            "Run the same command again; the segment is rendered again.",
        )
