"""Bad input, as a user meets it on the command line: one clear error, its own code, in seconds, nothing left behind."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Program
from tests.faces import ASTRONAUT, CARPHONE, SIX_PEOPLE, face_clip, ffmpeg, portrait

MOST_MEMORY_MIB = 700


@dataclass
class Request:
    """What the command line names; a case changes one thing."""

    folder: Path
    sources: list[str]
    target: str
    output: str

    def path(self, name: str) -> Path:
        return self.folder / name


Case = Callable[[Request], None]
CASES: dict[str, tuple[Case, str, bool, dict[str, str]]] = {}


def case(code: str, *, server: bool = False, **environment: str) -> Callable[[Case], Case]:
    """Registers a case with the code that it must end in; `server`: it takes a look at every frame to be seen."""

    def register(function: Case) -> Case:
        CASES[function.__name__] = (function, code, server, environment)
        return function

    return register


def write_target(request: Request, data: bytes, name: str = "bad.mp4") -> None:
    request.path(name).write_bytes(data)
    request.target = str(request.path(name))


def write_source(request: Request, data: bytes, name: str = "bad.png") -> None:
    request.path(name).write_bytes(data)
    request.sources = [str(request.path(name))]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


@case("media.empty")
def empty_target(request: Request) -> None:
    write_target(request, b"")


@case("media.not_media")
def text_named_mp4(request: Request) -> None:
    write_target(request, b"This is a letter, not a video.\n" * 50)


@case("media.not_media")
def zip_named_mp4(request: Request) -> None:
    with zipfile.ZipFile(request.path("bad.mp4"), "w") as archive:
        archive.write(CARPHONE, "video.mp4")
    request.target = str(request.path("bad.mp4"))


@case("media.missing")
def target_missing(request: Request) -> None:
    request.target = str(request.path("nowhere.mp4"))


@case("media.is_directory")
def target_is_a_folder(request: Request) -> None:
    request.path("clip.mp4").mkdir()
    request.target = str(request.path("clip.mp4"))


@case("media.truncated")
def target_cut_at_10_percent(request: Request) -> None:
    write_target(request, CARPHONE.read_bytes()[: CARPHONE.stat().st_size // 10])


@case("media.truncated")
def target_cut_at_half(request: Request) -> None:
    write_target(request, CARPHONE.read_bytes()[: CARPHONE.stat().st_size // 2])


@case("media.truncated")
def target_cut_at_90_percent(request: Request) -> None:
    write_target(request, CARPHONE.read_bytes()[: CARPHONE.stat().st_size * 9 // 10])


@case("media.truncated")
def matroska_cut_at_half(request: Request) -> None:
    whole = face_clip(request.path("whole.mkv"), seconds=2)
    write_target(request, whole.read_bytes()[: whole.stat().st_size // 2], "bad.mkv")


@case("media.corrupt", server=True)
def bits_flipped_all_over(request: Request) -> None:
    data = bytearray(face_clip(request.path("whole.mkv"), seconds=2, audio=False).read_bytes())
    random_source = random.Random(7)
    for _ in range(len(data) // 40):
        data[random_source.randrange(len(data) // 4, len(data))] ^= 1 << random_source.randrange(8)
    write_target(request, bytes(data), "bad.mkv")


@case("media.no_video")
def audio_only(request: Request) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", request.path("sound.mp4"))
    request.target = str(request.path("sound.mp4"))


@case("media.encrypted")
def encrypted_target(request: Request) -> None:
    key = "00112233445566778899aabbccddeeff"
    ffmpeg(
        "-i", CARPHONE, "-c", "copy", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key,
        "-encryption_kid", key, request.path("locked.mp4"),
    )  # fmt: skip
    request.target = str(request.path("locked.mp4"))


@case("media.playlist")
def ffconcat_named_mp4(request: Request) -> None:
    write_target(request, f"ffconcat version 1.0\nfile '{CARPHONE}'\n".encode())


@case("media.playlist")
def hls_named_mp4(request: Request) -> None:
    write_target(request, f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{CARPHONE}\n#EXT-X-ENDLIST\n".encode())


@case("media.playlist")
def sdp_named_mp4(request: Request) -> None:
    write_target(
        request, b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n"
    )


@case("media.not_media")
def noise_named_mp4(request: Request) -> None:
    write_target(request, random.Random(1).randbytes(40_000))


@case("media.too_large_picture")
def video_header_of_30000_pixels(request: Request) -> None:
    # A raw AVI header that promises 30000x30000 pixels and holds one small frame.
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "color=s=64x64:d=0.1:r=10",
        "-c:v",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        request.path("v.avi"),
    )
    data = request.path("v.avi").read_bytes()
    write_target(request, data.replace(struct.pack("<ii", 64, 64), struct.pack("<ii", 30000, 30000)), "bad.avi")


@case("media.too_small")
def target_of_one_pixel(request: Request) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=s=2x2:d=0.5:r=10", "-c:v", "ffv1", request.path("dot.mkv"))
    request.target = str(request.path("dot.mkv"))


@case("face.none_in_target", server=True)
def no_face_in_target(request: Request) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=1:r=10", "-pix_fmt", "yuv420p", request.path("t.mp4"))
    request.target = str(request.path("t.mp4"))


@case("face.none_in_target", server=True)
def no_face_in_target_picture(request: Request) -> None:
    Image.effect_noise((300, 200), 40).convert("RGB").save(request.path("noise.png"))
    request.target, request.output = str(request.path("noise.png")), str(request.path("out.png"))


@case("face.none_in_source")
def no_face_in_source(request: Request) -> None:
    Image.new("RGB", (400, 400), (90, 120, 60)).save(request.path("wall.png"))
    request.sources = [str(request.path("wall.png"))]


@case("face.several_in_source")
def several_faces_in_source(request: Request) -> None:
    request.sources = [str(SIX_PEOPLE)]


@case("face.too_small_in_source", FACEFLOW_LIMITS__MIN_FACE_PX="300")
def small_face_in_source(request: Request) -> None:
    request.sources = [str(ASTRONAUT)]


@case("picture.missing")
def source_missing(request: Request) -> None:
    request.sources = [str(request.path("nobody.png"))]


@case("picture.is_directory")
def source_is_a_folder(request: Request) -> None:
    request.sources = [str(request.folder)]


@case("picture.empty")
def empty_source(request: Request) -> None:
    write_source(request, b"")


@case("picture.not_a_picture")
def text_named_png(request: Request) -> None:
    write_source(request, b"hello " * 100)


@case("picture.not_a_picture")
def video_as_source(request: Request) -> None:
    request.sources = [str(CARPHONE)]


@case("picture.truncated")
def truncated_png(request: Request) -> None:
    write_source(request, ASTRONAUT.read_bytes()[:100_000])


@case("picture.truncated")
def truncated_jpeg(request: Request) -> None:
    Image.open(ASTRONAUT).convert("RGB").save(request.path("whole.jpg"))
    write_source(request, request.path("whole.jpg").read_bytes()[:9000], "bad.jpg")


@case("picture.too_small")
def picture_of_one_pixel(request: Request) -> None:
    Image.new("RGB", (1, 1)).save(request.path("dot.png"))
    request.sources = [str(request.path("dot.png"))]


@case("picture.too_large")
def picture_header_of_30000_pixels(request: Request) -> None:
    write_source(request, png_header(30000, 30000))


@case("picture.too_large")
def target_picture_header_of_30000_pixels(request: Request) -> None:
    write_target(request, png_header(30000, 30000), "bomb.png")
    request.output = str(request.path("out.png"))


@case("picture.corrupt")
def picture_of_no_pixels(request: Request) -> None:
    write_source(request, png_header(0, 0))


@case("picture.animated")
def animated_source(request: Request) -> None:
    frames = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in (0, 90, 180)]
    frames[0].save(request.path("moving.webp"), save_all=True, append_images=frames[1:], lossless=True)
    request.sources = [str(request.path("moving.webp"))]


@case("picture.cmyk")
def cmyk_source(request: Request) -> None:
    Image.open(ASTRONAUT).convert("CMYK").save(request.path("print.jpg"))
    request.sources = [str(request.path("print.jpg"))]


@case("picture.format_unsupported")
def bitmap_source(request: Request) -> None:
    Image.open(ASTRONAUT).convert("RGB").save(request.path("old.bmp"))
    request.sources = [str(request.path("old.bmp"))]


@case("output.is_input")
def output_equals_target(request: Request) -> None:
    request.output = request.target


@case("output.is_input")
def output_is_a_link_to_the_target(request: Request) -> None:
    request.path("link.mp4").symlink_to(request.target)
    request.output = str(request.path("link.mp4"))


@case("output.folder_missing")
def output_in_a_missing_folder(request: Request) -> None:
    request.output = str(request.path("none") / "out.mp4")


@case("output.is_directory")
def output_is_a_folder(request: Request) -> None:
    request.path("out.mp4").mkdir()


@case("output.ending_unknown")
def output_without_a_known_ending(request: Request) -> None:
    request.output = str(request.path("out.xyz"))


@case("output.ending_unknown")
def video_into_a_picture(request: Request) -> None:
    request.output = str(request.path("out.png"))


@case("job.location_unsupported")
def target_in_an_unknown_store(request: Request) -> None:
    request.target = "gopher://host/clip.mp4"


@case("media.missing")
def address_like_path_that_is_not_there(request: Request) -> None:
    request.target = "concat:" + request.target


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("usual")
    return portrait(folder), face_clip(folder / "clip.mp4", seconds=1)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_in_its_own_error(
    name: str, usual: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    change, code, needs_server, environment = CASES[name]
    program: Program = request.getfixturevalue("program" if needs_server else "offline_program")
    folder = tmp_path / "input"
    folder.mkdir()
    wish = Request(folder, [str(usual[0])], str(usual[1]), str(folder / "out.mp4"))
    change(wish)
    before = snapshot(tmp_path)

    done = program("swap", *wish.sources, wish.target, "-o", wish.output, "--json", timeout_s=100, **environment)

    assert done.exit_code == 2, done.stdout + done.stderr
    assert done.answer["code"] == code, done.answer
    assert len(done.answer["message"]) > 10
    assert len(done.answer["resolution"]) > 10
    assert "Traceback" not in done.stdout + done.stderr
    assert snapshot(tmp_path) == before, "the failed command left files behind"


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder but the server's own and empty folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_target_that_may_not_be_read(offline_program: Program, usual: tuple[Path, Path], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything; tests/media covers the code with a patched open")
    locked = face_clip(tmp_path / "locked.mp4", seconds=0.5)
    locked.chmod(0)
    done = offline_program("swap", usual[0], locked, "-o", tmp_path / "out.mp4", "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "media.unreadable")


@pytest.mark.parametrize("arguments", [[], ["swap"], ["swap", "one.png", "-o", "x.mp4"], ["swap", "a", "b"], ["fly"]])
def test_a_wrong_command_line_is_said_in_words(offline_program: Program, arguments: list[str]) -> None:
    done = offline_program(*arguments, "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "job.usage")
    assert "Traceback" not in done.stderr


def test_wrong_values_are_named(offline_program: Program, usual: tuple[Path, Path], tmp_path: Path) -> None:
    done = offline_program("swap", *usual, "-o", tmp_path / "o.mp4", "--crf", "99", "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "job.invalid")
    assert "crf" in done.answer["message"]
    done = offline_program("swap", *usual, "-o", tmp_path / "o.mp4", "--engine", "warp", "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "job.engine_unknown")
    done = offline_program("doctor", "--json", FACEFLOW_SERVER__PORT="many")
    assert (done.exit_code, done.answer["code"]) == (2, "job.settings_invalid")


@pytest.mark.parametrize(
    "name", ["a b.mp4", 'it\'s "quoted".mp4', "line\nbreak.mp4", "ünï-面.mp4", "-vf.mp4", "http:x.mp4", "%04d.mp4"]
)
def test_odd_names_are_ordinary_names(
    offline_program: Program, usual: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    # The output's ending is refused after the inputs were found and read: so the name itself was no obstacle.
    odd = tmp_path / name
    odd.write_bytes(usual[1].read_bytes())
    done = offline_program("swap", "--json", "-o", tmp_path / "out.xyz", "--", usual[0], odd)
    assert done.answer["code"] == "output.ending_unknown"


def test_no_space_left_ends_the_job_before_it_begins(
    program: Program, usual: tuple[Path, Path], tmp_path: Path
) -> None:
    done = program("swap", *usual, "-o", tmp_path / "out.mp4", "--json", FACEFLOW_PIPELINE__KEEP_FREE_BYTES=str(2**60))
    assert (done.exit_code, done.answer["code"]) == (1, "fault.disk_full")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_an_older_output_stays_when_a_job_fails(program: Program, usual: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"yesterday's result")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=1:r=10", "-pix_fmt", "yuv420p", tmp_path / "t.mp4")
    done = program("swap", usual[0], tmp_path / "t.mp4", "-o", output, "--json")
    assert done.exit_code == 2
    assert output.read_bytes() == b"yesterday's result"


@pytest.mark.parametrize("name", ["video_header_of_30000_pixels", "picture_header_of_30000_pixels"])
def test_huge_headers_cost_no_memory(
    name: str, offline_program: Program, usual: tuple[Path, Path], tmp_path: Path
) -> None:
    wish = Request(tmp_path, [str(usual[0])], str(usual[1]), str(tmp_path / "out.mp4"))
    CASES[name][0](wish)
    report = tmp_path / "peak.json"
    watch = (
        "import json, resource, sys\n"
        "from faceflow.gateway.cli.main import main\n"
        "code = main(sys.argv[2:])\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "open(sys.argv[1], 'w').write(json.dumps([code, peak]))\n"
    )
    subprocess.run(
        [sys.executable, "-c", watch, str(report), "swap", *wish.sources, wish.target, "-o", wish.output, "--json"],
        env=offline_program.environment, capture_output=True, check=True, timeout=100,
    )  # fmt: skip
    code, peak_mib = json.loads(report.read_text())
    assert code == 2
    assert peak_mib < MOST_MEMORY_MIB
    assert np.prod((30000, 30000)) / 2**20 > MOST_MEMORY_MIB  # decoding it would have cost more


@pytest.mark.full
def test_a_disk_that_fills_up_in_the_middle_loses_nothing(program: Program, tmp_path: Path) -> None:
    """The kernel refuses files beyond a size, as a full disk would; the task tries again twice before it gives up."""
    arguments = [
        "swap",
        portrait(tmp_path),
        face_clip(tmp_path / "c.mp4", seconds=3),
        "-o",
        tmp_path / "o.mp4",
        "--json",
    ]
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY));"
        "from faceflow.gateway.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *map(str, arguments)],
        env=program.environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, "fault.disk_full"), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o.mp4").exists()
    assert not [path for path in program.scratch.rglob("*") if path.is_file() and path.stat().st_size >= 300_000]
    again = program(*arguments)
    assert again.exit_code == 0, again.stdout
    assert (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize(
    ("option", "needs"), [(["--pool", "night"], "--remote"), (["--label", "kind=ad"], "--dispatch")]
)
def test_an_option_that_would_do_nothing_is_said(
    offline_program: Program, usual: tuple[Path, Path], tmp_path: Path, option: list[str], needs: str
) -> None:
    done = offline_program("swap", *usual, "-o", tmp_path / "out.mp4", *option, "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "job.usage")
    assert needs in done.answer["message"]
    assert not (tmp_path / "out.mp4").exists()
