"""What frames carry beside their samples and lose when they are encoded again: counted while they are decoded.

Captions, per-scene HDR metadata and the shape of 360-degree pictures travel inside the picture's own packets, so no
track is missing when they are gone. Static HDR metadata, orientation and colour tags are carried (`tags`, `writer`);
what encoders and decoders tell each other is of no use to anybody else and is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import cast

from av.buffer import Buffer
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

_WORDS: Mapping[Type, str] = MappingProxyType(
    {
        Type.A53_CC: "closed captions",
        Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
        Type.DOVI_METADATA: "Dolby Vision metadata",
        Type.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
        Type.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
        Type.AMBIENT_VIEWING_ENVIRONMENT: "the viewing environment",
        Type.SPHERICAL: "the 360-degree video marker",
        Type.STEREO3D: "the 3D video marker",
        Type.S12M_TIMECODE: "per-frame timecodes",
        Type.AFD: "the active picture area (AFD)",
        Type.PANSCAN: "the pan and scan area",
        Type.ICC_PROFILE: "a colour profile",
    }
)


def _unnamed(kind: type[Enum], value: object) -> Enum:
    """A member for a number of FFmpeg's that PyAV has no name for; without it PyAV fails on the whole frame.

    Such frames exist: pictures of Motion JPEG with an EXIF block, spatial videos.
    """
    member = object.__new__(kind)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


setattr(Type, "_missing_", classmethod(_unnamed))  # noqa: B010 - the one hook that an Enum of somebody else's offers


def side_data_of(frame: VideoFrame) -> Mapping[Type, Buffer]:
    """What a decoded frame carries beside its samples."""
    return cast("Mapping[Type, Buffer]", frame.side_data)


class LostSideData:
    """Sees every frame of a video once, and says afterwards what of them is not carried."""

    def __init__(self) -> None:
        self._frames: Counter[str] = Counter()

    def see(self, _number: int, frame: VideoFrame) -> None:
        """Counts what one decoded frame carries."""
        kinds = [data.type for data in cast("Iterable[SideData]", frame.side_data)]
        self._frames.update({_WORDS[kind] for kind in kinds if kind in _WORDS})

    def notes(self) -> tuple[str, ...]:
        """One note for each kind, in a fixed order."""
        return tuple(
            f"lost in encoding: {words} ({count} {'frame' if count == 1 else 'frames'})"
            for words in dict.fromkeys(_WORDS.values())
            if (count := self._frames[words])
        )
