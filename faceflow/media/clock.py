"""Whether a file that seems to last too long does, or its clock jumps.

A recorder that is set right in the middle, two recordings in one file: some seconds of video seem to last a day. In
transport and program streams a clock that jumps back counts as one that turned over, which it does every 26.5 hours.
Cutting such a file shorter, as a video that is too long, would be the wrong advice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import av.error
from av.container import InputContainer

from faceflow.errors import MediaError
from faceflow.media.opening import container_family, open_media, packets_of
from faceflow.media.refusals import clock_jumps, too_long
from faceflow.settings import LimitSettings

_CLOCK_IN_PACKETS = frozenset({"mpegts", "mpeg", "flv", "asf"})
_TURNS_OVER_S = {"mpegts": 2**33 / 90_000, "mpeg": 2**33 / 90_000}
_SHARE = 0.5
_Jump = tuple[float, float]
"""Seconds from the file's beginning to a jump, and by how many the clock jumps."""


def refused_length(
    path: Path, container: InputContainer, length_s: float, limits: LimitSettings, max_pixels: int
) -> MediaError:
    """Why a file that states `length_s` seconds, more than the limit, is refused.

    Containers whose packets carry the clock are read once more for that, no longer than `limits.probe_timeout_s`, and
    no further than to the jump; nothing is decoded.

    Returns:
        `media.timestamps` where one jump makes most of the length, else `media.too_long`.
    """
    family = container_family(container.format.name)
    jump = None
    if family in _CLOCK_IN_PACKETS:
        jump = _packet_jump(path, length_s, limits, max_pixels)
    return _refusal(path, family, jump, length_s, limits)


def refused_times(path: Path, family: str, times_s: Iterable[float], limits: LimitSettings) -> MediaError:
    """The same for the times of all frames, ascending seconds; `family` is the container's."""
    times = list(times_s)
    length_s = times[-1] - times[0]
    jump = next(
        (
            (before - times[0], after - before)
            for before, after in pairwise(times)
            if after - before > _SHARE * length_s
        ),
        None,
    )
    return _refusal(path, family, jump, length_s, limits)


def _refusal(path: Path, family: str, jump: _Jump | None, length_s: float, limits: LimitSettings) -> MediaError:
    if jump is None:
        return too_long(path, length_s, limits)
    at_s, by_s = jump
    turn_s = _TURNS_OVER_S.get(family)
    if turn_s is not None:
        by_s -= turn_s * round(by_s / turn_s)
    return clock_jumps(path, at_s, by_s)


def _packet_jump(path: Path, length_s: float, limits: LimitSettings, max_pixels: int) -> _Jump | None:
    """Where the clock that all tracks share jumps by more than half of the file's length."""
    deadline_s = time.monotonic() + limits.probe_timeout_s
    first_s = last_s = None
    try:
        with open_media(path, max_pixels=max_pixels, timeout_s=limits.probe_timeout_s) as container:
            for packet in packets_of(container, *container.streams.video, *container.streams.audio):
                ticks = packet.pts if packet.pts is not None else packet.dts
                if ticks is None or not packet.size:
                    continue
                now_s = float(ticks * packet.time_base)
                if first_s is None or last_s is None:
                    first_s = last_s = now_s
                if abs(now_s - last_s) > _SHARE * length_s:
                    return last_s - first_s, now_s - last_s
                last_s = now_s
                if time.monotonic() > deadline_s:
                    break
    except av.error.FFmpegError:
        return None  # what was read has no jump
    return None
