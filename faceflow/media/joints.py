"""The packets of encoded parts as one stream: which frame each one is, and its exact times.

In each part the packets' presentation order is known from their own pts, which must be those of the index. The
encoder's dts are dropped: at the joins of VFR clips they run backwards and players lose frames. Instead

    dts[i] = sorted_pts[i - delay]

for the i-th packet in decoding order, with the smallest delay for which no packet is shown before it is
decoded; the first `delay` packets go one step each before the first frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from faceflow.errors import ExactnessError
from faceflow.media.facts import FrameIndex
from faceflow.media.opening import decoder_pixels, open_media

_MAX_PIXELS = decoder_pixels(16384)


def frame_numbers(parts: Sequence[Path], index: FrameIndex) -> NDArray[np.int64]:
    """Frame number of every packet of the parts, in decoding order: int64 (N,). Checks every time against the index."""
    ranks: list[NDArray[np.int64]] = []
    extradata: set[bytes | None] = set()
    first = 0
    for part in parts:
        with open_media(part, max_pixels=_MAX_PIXELS) as container:
            stream = container.streams.video[0]
            extradata.add(stream.codec_context.extradata)
            times = [packet.pts for packet in container.demux(stream) if packet.size]
            if any(time is None for time in times) or stream.time_base is None:
                raise _broken(f"{part.name} has packets without a time")
            pts = np.array(times, np.int64)
            ratio = index.time_base / stream.time_base
        wanted = index.pts[first : first + len(pts)]
        shown = np.argsort(pts, kind="stable")
        if len(wanted) != len(pts) or not np.array_equal(pts[shown] * ratio.denominator, wanted * ratio.numerator):
            raise _broken(f"{part.name} does not have the frames from {first} on at the times in the index")
        rank = np.empty_like(shown)
        rank[shown] = np.arange(first, first + len(pts))
        ranks.append(rank)
        first += len(pts)
    if first != index.frames:
        raise _broken(f"the parts have {first} frames, but the index has {index.frames}")
    if len(extradata) != 1:
        raise _broken("the parts were encoded with different parameter sets")
    return np.concatenate(ranks)


def timed_packets(
    parts: Sequence[Path], stream: VideoStream, ranks: NDArray[np.int64], index: FrameIndex, origin: Fraction
) -> Iterator[Packet[Stream]]:
    """Yields the parts' packets with the times of the index, in ticks of the denominator of its time base."""
    numerator, denominator = index.time_base.numerator, index.time_base.denominator
    shift = int(origin * denominator)
    pts = index.pts * numerator - shift
    delay = max(0, int(np.max(np.arange(len(ranks)) - ranks)))
    step = int(index.durations[0]) * numerator
    number = 0
    for part in parts:
        with open_media(part, max_pixels=_MAX_PIXELS) as container:
            for packet in container.demux(container.streams.video[0]):
                if not packet.size:
                    continue
                rank = int(ranks[number])
                packet.time_base = Fraction(1, denominator)
                packet.pts = int(pts[rank])
                packet.dts = int(pts[number - delay]) if number >= delay else int(pts[0]) - (delay - number) * step
                packet.duration = int(index.durations[rank]) * numerator
                packet.stream = stream
                number += 1
                yield cast("Packet[Stream]", packet)


def _broken(what: str) -> ExactnessError:
    return ExactnessError(
        "fault.exactness",
        f"The parts cannot be joined exactly: {what}.",
        "This is a bug in faceflow; please report it with the log.",
    )
