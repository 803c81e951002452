"""What `kubectl create namespace` and `kubectl create secret` send: Protocol Buffers in Kubernetes' envelope.

The numbers of the fields are those of k8s.io/api/core/v1/generated.proto and of runtime.Unknown; only these two kinds
are sent so by what the guide asks for, everything else is JSON.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.cloud.kubernetes_objects import RefusedError

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_Fields = Mapping[int, list[bytes]]


def read(content: bytes) -> dict[str, Any]:
    """The object in an envelope.

    Raises:
        RefusedError: it is no namespace and no secret (415).
    """
    envelope = _fields(content.removeprefix(_MAGIC))
    kind = _fields(envelope[1][0])[2][0].decode()
    fields = _fields(envelope[2][0])
    meta = _fields(fields[1][0])
    found: dict[str, Any] = {"metadata": {"name": meta[1][0].decode()}}
    if labels := {key.decode(): value.decode() for key, value in _pairs(meta[11])}:
        found["metadata"]["labels"] = labels
    if kind == "Secret":
        found["data"] = {key.decode(): b64encode(value).decode() for key, value in _pairs(fields[2])}
        found["type"] = fields[3][0].decode() or "Opaque"
    elif kind != "Namespace":
        raise RefusedError(415, "UnsupportedMediaType", f"{kind} is understood as JSON only")
    return found


def _pairs(entries: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Of a map."""
    return [((one := _fields(entry))[1][0], one[2][0] if one[2] else b"") for entry in entries]


def _fields(message: bytes) -> _Fields:
    """Fields with a length, by their number; numbers are left out."""
    found: dict[int, list[bytes]] = defaultdict(list)
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        value, place = _varint(message, place)
        if tag & 7 == 2:
            found[tag >> 3].append(message[place : place + value])
            place += value
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
