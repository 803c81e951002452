"""Colours that are stated by numbers (ITU-T H.273), as HEIF, AVIF and PNG (`cICP`) do: what they mean for a picture.

Three numbers name primaries, transfer curve and YCbCr matrix. Pictures of ordinary range get a small ICC profile made
of them, so that everything else (analysis, JPEG, WebP) needs to know profiles only. High dynamic range (PQ, HLG) has no
such profile: it is shown to the analysers through a tone curve and written only to formats that can state it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18
_PRIMARIES = {  # H.273: red, green, blue, white as x, y
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.3100, 0.3160)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.3100, 0.3160)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3140, 0.3510)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), (0.3127, 0.3290)),
}
_BT709, _BT2020, _NOT_STATED = 1, 9, 2
# Curves as ICC writes them: exponent alone, or g, a, b, c, d of  (a x + b)^g for x >= d,  c x below.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: dict[int, tuple[float, ...]] = {
    1: _BT709_CURVE, 4: (2.2,), 5: (2.8,), 6: _BT709_CURVE, 8: (1.0,), 13: _SRGB_CURVE, 14: _BT709_CURVE,
    15: _BT709_CURVE, 17: (2.6,),
}  # fmt: skip
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
_REFERENCE_WHITE_NITS = 203.0  # ITU-R BT.2408
_HLG_PEAK_NITS = 1000.0
_KNEE = 0.75


@dataclass(frozen=True, slots=True)
class Cicp:
    """Numbers of ITU-T H.273.

    Attributes:
        primaries: of the colours, such as 1 (BT.709, sRGB), 9 (BT.2020) or 12 (Display P3).
        transfer: curve, such as 13 (sRGB), 16 (PQ) or 18 (HLG).
        matrix: between YCbCr and RGB; 0 for none.
        full_range: whether samples use all codes.
    """

    primaries: int
    transfer: int
    matrix: int
    full_range: bool

    @property
    def is_hdr(self) -> bool:
        """PQ or HLG."""
        return self.transfer in (PQ, HLG)

    def of_rgb(self) -> bytes:
        """The content of PNG's `cICP` chunk for RGB samples of full range in these colours."""
        return bytes([self.primaries & 0xFF, self.transfer & 0xFF, 0, 1])


def known(cicp: Cicp) -> bool:
    """Whether primaries and curve have a meaning here; "not stated" counts as sRGB."""
    return cicp.primaries in {*_PRIMARIES, _NOT_STATED} and cicp.transfer in {*_CURVES, _NOT_STATED, PQ, HLG}


@lru_cache(maxsize=32)
def profile_of(cicp: Cicp) -> bytes | None:
    """An ICC profile (version 4, matrix and curve) of the colours; None for plain sRGB and for what has none.

    The same numbers always give the same bytes.
    """
    primaries = _BT709 if cicp.primaries == _NOT_STATED else cicp.primaries
    # Cameras that mark their pictures BT.709 mean the ordinary screen, as browsers take it.
    transfer = 13 if cicp.transfer in (_NOT_STATED, 1, 6, 14, 15) else cicp.transfer
    if transfer not in _CURVES or primaries not in _PRIMARIES or (primaries, transfer) == (_BT709, 13):
        return None
    columns = (_adapted(primaries) @ _to_xyz(primaries)).T
    curve = _CURVES[transfer]
    parametric = b"para\0\0\0\0" + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + b"".join(map(_fixed, curve))
    tags = {
        b"desc": _text("faceflow"),
        b"cprt": _text("CC0"),
        b"wtpt": _xyz(_D50),
        b"chad": b"sf32\0\0\0\0" + b"".join(_fixed(value) for value in _adapted(primaries).flat),
        **{name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), parametric),
    }
    place = 128 + 4 + 12 * len(tags)
    table, content = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", place + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4sI4s4s4s6H4s4sIIIQI3i4s16s28x",
        place + len(content), b"\0\0\0\0", 0x04300000, b"mntr", b"RGB ", b"XYZ ", 2026, 1, 1, 0, 0, 0,
        b"acsp", b"\0\0\0\0", 0, 0, 0, 0, 0, *(round(value * 65536) for value in _D50), b"\0\0\0\0", bytes(16),
    )  # fmt: skip
    return header + table + content


def tone_mapped(samples: NDArray[np.uint16] | NDArray[np.uint8], cicp: Cicp) -> NDArray[np.uint8]:
    """PQ or HLG samples as an ordinary screen shows them: hue kept, highlights rolled off.

    Args:
        samples: (H, W, C), C = 1 gray or 3 in the order B, G, R, the whole range of their type.
        cicp: primaries and curve.

    Returns:
        uint8 (H, W, 3), B, G, R in sRGB, with diffuse white (203 cd/m2) near the top of the range.
    """
    top = float(np.iinfo(samples.dtype).max)
    light_of = _pq_light if cicp.transfer == PQ else _hlg_light
    primaries = _BT2020 if cicp.primaries == _NOT_STATED else cicp.primaries
    to_srgb = np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(primaries)
    # BGR in, BGR out.
    matrix = np.ascontiguousarray(to_srgb[::-1, ::-1].T, np.float32)
    result = np.empty((*samples.shape[:2], 3), np.uint8)
    for first in range(0, samples.shape[0], 64):
        codes = np.broadcast_to(samples[first : first + 64], result[first : first + 64].shape)
        rows = light_of(codes.astype(np.float32) / top)
        if cicp.transfer == HLG:
            weights = _to_xyz(primaries)[1][::-1].astype(np.float32)
            rows = rows * np.maximum(rows @ weights, 1e-6)[..., None] ** 0.2 * (_HLG_PEAK_NITS / _REFERENCE_WHITE_NITS)
        rows = np.maximum(rows @ matrix, 0.0)
        brightest = rows.max(axis=2, keepdims=True)
        rows *= _rolled_off(brightest) / np.maximum(brightest, 1e-6)
        result[first : first + 64] = np.rint(255 * _srgb_code(np.minimum(rows, 1.0)))
    return result


def _pq_light(code: NDArray[np.float32]) -> NDArray[np.float32]:
    """SMPTE ST 2084: code 0..1 -> light, 1 for diffuse white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = code ** np.float32(1 / m2)
    light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return np.asarray(light * (10_000 / _REFERENCE_WHITE_NITS), np.float32)


def _hlg_light(code: NDArray[np.float32]) -> NDArray[np.float32]:
    """ARIB STD-B67: code 0..1 -> scene light 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.asarray(np.where(code <= 0.5, code * code / 3, (np.exp((code - c) / a) + b) / 12), np.float32)


def _rolled_off(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unchanged up to the knee, then ever slower towards 1."""
    beyond = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    return np.asarray(np.minimum(light, _KNEE) + (1 - _KNEE) * beyond / (1 + beyond), np.float32)


def _srgb_code(light: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055), np.float32)


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """(3, 3): linear RGB of these primaries -> CIE XYZ, white at Y = 1."""
    *corners, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _PRIMARIES[primaries])
    columns = np.stack(corners, axis=1)
    return np.asarray(columns * np.linalg.solve(columns, white), np.float64)


def _adapted(primaries: int) -> NDArray[np.float64]:
    """(3, 3): XYZ under the white of these primaries -> XYZ under D50, by Bradford."""
    x, y = _PRIMARIES[primaries][3]
    cones = _BRADFORD @ np.array([x / y, 1.0, (1 - x - y) / y])
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / cones) @ _BRADFORD, np.float64)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _xyz(value: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(part) for part in value)


def _text(value: str) -> bytes:
    return (
        b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 2 * len(value), 28) + value.encode("utf-16-be")
    )
