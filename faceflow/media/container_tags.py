"""What a file says about itself beside its tracks: when, where and with what it was taken, by whom, what it is called.

These tags are how an archive finds a recording again, so all of them are carried, under the names that they have. Left
behind is only what describes the old file and not the recording: its brands, its encoder, counts of its bytes.

MP4 and MOV have two places for tags. The classical one (iTunes tags in MP4, QuickTime user data in MOV) is what most
players show, but knows a few names only. The other takes any name. A file has one or the other, so the second is
chosen only where a tag needs it that matters to more than a shop's own program.

The place where something was taken is a finding aid and a danger. Whether it is carried is the caller's choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from faceflow.media.containers import OutputContainer

_OF_THE_OLD_FILE = re.compile(
    r"major_brand|minor_version|compatible_brands|encoder|encoding_?tool|handler_name|vendor_id|timecode|duration"
    r"|_statistics_.*|bps|number_of_(frames|bytes)|(meta)?data_?(creator|size|rate)|(video|audio)(codecid|datarate)"
    r"|(file|data|video|audio)size|width|height|frame_?rate|bit_?rate|audiosample(rate|size)|stereo|totalframes"
    r"|(last|can|has)[a-z]*(timestamp|toend|keyframes?|video|audio|metadata|cuepoints)|keyframes.*"
    r"|wmfsdk(version|needed)|isvbr|deviceconformancetemplate|wm/encodingtime|aspectratio[xy]",
    re.IGNORECASE,
)
_OF_A_PLACE = re.compile(r"location|gps|latitude|longitude|altitude|(^|[._-])(geo|xyz|loci)([._-]|$)", re.IGNORECASE)
_OF_A_SHOP = re.compile(
    r"itun.*|sort_.*|account_.*|purchase_.*|rating|podcast|category|keyword|content_?id|.*_?id_?|copy_warning|author_.*"
    r"|tempo|tool|advisory|gapless_playback|hd_video|media_type|compilation",
    re.IGNORECASE,
)
_WITH_LANGUAGE = re.compile(r"(?P<name>.+)-(?P<language>[a-z]{3})")
_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?")
_TIMECODE = re.compile(r"(?P<hours>\d\d):(?P<minutes>\d\d):(?P<seconds>\d\d)(?P<drop>[:;.,])(?P<frames>\d\d\d?)")
_MIXED_CASE = MappingProxyType({"com.apple.quicktime.location.iso6709": "com.apple.quicktime.location.ISO6709"})


@dataclass(frozen=True, slots=True)
class ContainerTags:
    """The tags of an output.

    Attributes:
        tags: by name, in the order of the source.
        any_name: whether the muxer must be told that names beyond the classical ones are there.
        has_place: whether the source says where it was taken, carried or not.
        left_out: names of tags that the container has no room for beside the classical ones.
    """

    tags: Mapping[str, str]
    any_name: bool
    has_place: bool
    left_out: tuple[str, ...]

    def notes(self, container: OutputContainer) -> tuple[str, ...]:
        """What the user should know of tags that are not carried, the place aside: why that is so is the caller's."""
        if not self.left_out:
            return ()
        names = ", ".join(self.left_out)
        return (f"tags that {container.title} players do not read were left out: {names}",)


def container_tags(source: Mapping[str, str], container: OutputContainer, *, carries_place: bool) -> ContainerTags:
    """Chooses the tags of an output.

    Args:
        source: the tags of the source file, as its demuxer gives them.
        container: what is written.
        carries_place: whether the place may be carried, if there is one.
    """
    found: dict[str, str] = {}
    for name, value in source.items():
        ours = _our_name(name)
        if value and not _OF_THE_OLD_FILE.fullmatch(ours) and not _repeats(ours, value, source):
            found.setdefault(ours, _in_utc(value) if ours == "creation_time" else value)
    places = [name for name in found if is_place(name)]
    if not carries_place:
        found = {name: value for name, value in found.items() if name not in places}
    classical = container.classical_tags
    if classical is None:
        return ContainerTags(found, any_name=False, has_place=bool(places), left_out=())
    beyond = [name for name in found if name not in classical]
    if any(not _OF_A_SHOP.fullmatch(name) for name in beyond) or not found.keys() & classical - {"creation_time"}:
        return ContainerTags(found, any_name=bool(beyond), has_place=bool(places), left_out=())
    kept = {name: value for name, value in found.items() if name in classical}
    return ContainerTags(kept, any_name=False, has_place=bool(places), left_out=tuple(beyond))


def is_place(name: str) -> bool:
    """Whether a tag of this name says where something was taken."""
    return _OF_A_PLACE.search(name) is not None


def start_timecode(container: Mapping[str, str], track: Mapping[str, str]) -> str | None:
    """The timecode of the first frame, as the file states it for its picture or as a whole; None where it does not."""
    tags = {name.lower(): value for name, value in [*container.items(), *track.items()]}
    return tags.get("timecode") or None


def fits_timecode(timecode: str, rate: Fraction) -> bool:
    """Whether MP4 and MOV can count `timecode` in frames of `rate` a second: whole numbers, drop frames at 30 only."""
    found = _TIMECODE.fullmatch(timecode)
    a_second = int(rate + Fraction(1, 2))
    if found is None or a_second < 1:
        return False
    within = int(found["minutes"]) < 60 and int(found["seconds"]) < 60 and int(found["frames"]) < a_second
    return within and (found["drop"] == ":" or a_second % 30 == 0)


def _our_name(name: str) -> str:
    """Matroska writes names in capitals; the others write them as they are known everywhere."""
    if name != name.upper():
        return name
    lower = name.lower()
    return _MIXED_CASE.get(lower, lower)


def _repeats(name: str, value: str, source: Mapping[str, str]) -> bool:
    """Whether a name with a language says what the name without one says, as FFmpeg gives places in MP4."""
    found = _WITH_LANGUAGE.fullmatch(name)
    return found is not None and source.get(found["name"]) == value


def _in_utc(moment: str) -> str:
    """One moment, in UTC: AVI states no time zone, and FFmpeg would take this machine's; MP4 may state it twice."""
    moment = moment.partition(";")[0]
    return f"{moment}Z" if _WITHOUT_ZONE.fullmatch(moment) else moment
