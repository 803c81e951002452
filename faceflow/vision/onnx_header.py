"""Whether a file can be an ONNX network at all, seen from its outline alone.

Where nobody published a hash, the first file that comes is trusted; so at least it must not be an error page or half
a download. An ONNX file is one protobuf message (`ModelProto`, onnx/onnx.proto): its top-level fields follow one
another to the last byte, which a walk over them proves without reading the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_IR_VERSION, _GRAPH, _OPSET = 1, 7, 8
_MOST_FIELDS = 10_000
_VARINT_BYTES = 10


def fault_of(path: Path) -> str | None:
    """Why the file is no whole ONNX network, None where its outline is one. Raises OSError where it cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            kinds = _fields(file, size)
        except ValueError as error:
            return str(error)
    if kinds.get(_GRAPH) != _BYTES or (kinds.get(_IR_VERSION) != _VARINT and kinds.get(_OPSET) != _BYTES):
        return "it contains no graph"
    return None


def _fields(file: IO[bytes], size: int) -> dict[int, int]:
    """Number and wire type of the top-level fields. Raises ValueError where they do not fill the file."""
    kinds: dict[int, int] = {}
    for _ in range(_MOST_FIELDS):
        if file.tell() == size:
            return kinds
        number, kind = divmod(_varint(file), 8)
        if number == 0:
            break
        if kind == _VARINT:
            _varint(file)
            length = 0
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length = _varint(file)
        else:
            break
        if file.tell() + length > size:  # before the seek: the file may state a length that no seek takes
            raise ValueError("it ends too early")
        file.seek(length, 1)
        kinds[number] = kind
    raise ValueError("it is not an ONNX file")


def _varint(file: IO[bytes]) -> int:
    value = 0
    for position in range(_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends too early")
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return value
    raise ValueError("it is not an ONNX file")
