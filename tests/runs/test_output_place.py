"""Where an output is written: through links, never into what is no file, and by one job at a time.

Varied: what the name leads to (nothing, a file, links of each kind, a pipe, a device, a socket, a folder), how the two
jobs call the same file (its name, a link, a linked folder, another state folder, another process), and what the disk
answers (a full one, a read-only one, one that has no files to give, a name that is too long).
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import FaceflowError, OutputError
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.output_claims import output_claimed
from faceflow.job import Sensitivity, SwapJob
from faceflow.publish import output_error, publishing, require_writable, sha256_of
from faceflow.settings import PathSettings
from faceflow.stages.identity import JobIdentity
from faceflow.stages.preflight import _check_output
from faceflow.stages.results import Artifact, Output
from faceflow.stages.upload import run_upload
from faceflow.store import FolderStore
from faceflow.zones import Zone
from tests.conftest import ROOT

ONE = JobIdentity(job_id="1" * 24, project="default", target_sha256="", portraits_sha256=())
OTHER = ONE.model_copy(update={"job_id": "2" * 24})


def settings(folder: Path) -> Settings:
    return Settings(paths=PathSettings(state=folder / "state", scratch=folder / "scratch"))


def publish(destination: Path) -> None:
    with publishing(destination) as temporary:
        temporary.write_bytes(b"new")


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "dangling"])
@pytest.mark.parametrize("links", [1, 2])
def test_a_link_stays_and_its_file_is_written(tmp_path: Path, there: bool, links: int) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.mp4"
    if there:
        real.write_bytes(b"old")
    at = real
    for number in range(links):
        link = tmp_path / f"link{number}.mp4"
        link.symlink_to(at)
        at = link
    require_writable(at)
    publish(at)
    assert at.is_symlink()
    assert real.read_bytes() == b"new"
    assert sorted(path.name for path in real.parent.iterdir()) == ["real.mp4"]


def test_a_hard_link_is_parted_from_its_other_names(tmp_path: Path) -> None:
    (tmp_path / "one.mp4").write_bytes(b"old")
    os.link(tmp_path / "one.mp4", tmp_path / "two.mp4")
    publish(tmp_path / "two.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == b"old"
    assert (tmp_path / "two.mp4").read_bytes() == b"new"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(path))


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "output.not_a_file"),
    "link to a pipe": (lambda path: (os.mkfifo(path.with_suffix(".fifo")), path.symlink_to(path.with_suffix(".fifo"))),
                       "output.not_a_file"),
    "device": (lambda path: path.symlink_to("/dev/null"), "output.not_a_file"),
    "socket": (_socket, "output.not_a_file"),
    "folder": (Path.mkdir, "output.is_directory"),
    "link to a folder": (lambda path: path.symlink_to(path.parent), "output.is_directory"),
    "link to itself": (lambda path: path.symlink_to(path), "output.bad_name"),
    "link into a missing folder": (lambda path: path.symlink_to("nowhere/real.mp4"), "output.folder_missing"),
    "link into /proc": (lambda path: path.symlink_to("/proc/out.mp4"), "output.not_writable"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_before_and_after_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make, code = NO_FILES[kind]
    path = Path("out.mp4")
    make(path)
    for write in (require_writable, publish, lambda path: _check_output(path.absolute(), [])):
        with pytest.raises(FaceflowError) as caught:
            write(path)
        assert caught.value.code == code, write
    assert os.path.lexists(path)


def test_standard_output_is_no_file(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom faceflow.publish import require_writable\n"
        "try:\n    require_writable(Path('/dev/stdout'))\n"
        "except Exception as error:\n    print(error.code, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "output.not_a_file"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/proc/out.mp4", "output.not_writable"),
        ("/proc/self/out.mp4", "output.not_writable"),
        ("/sys/out.mp4", "output.not_writable"),
        ("/dev/fd/out.mp4", "output.not_writable"),
        ("/dev/null/out.mp4", "output.folder_missing"),
        ("/nowhere/out.mp4", "output.folder_missing"),
        (f"/tmp/{'x' * 300}.mp4", "output.bad_name"),
        (f"/tmp/{'x/' * 3000}out.mp4", "output.bad_name"),
    ],
)
def test_a_place_that_takes_no_files_says_so(path: str, code: str) -> None:
    for write in (require_writable, publish, lambda path: _check_output(path, [])):
        with pytest.raises(OutputError) as caught:
            write(Path(path))
        assert caught.value.code == code, write


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "fault.disk_full"), (errno.EDQUOT, "fault.disk_full"), (errno.EROFS, "output.not_writable"),
     (errno.ENOTSUP, "store.io"), (errno.EIO, "store.io"), (errno.ENOENT, "output.not_writable")],
)  # fmt: skip
def test_reasons_keep_their_words(tmp_path: Path, number: int, code: str) -> None:
    assert output_error(OSError(number, os.strerror(number)), tmp_path / "out.mp4").code == code


def test_a_disk_of_no_size_is_not_a_full_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"new")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"total": 0, "used": 0, "free": 0}))
    FolderStore(tmp_path, Zone.PRIVATE).put(
        tmp_path / "local", "out.mp4", Sensitivity.PUBLIC,
        sha256="11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437",
    )  # fmt: skip


def test_a_disk_that_is_full_and_one_that_is_read_only(tmp_path: Path) -> None:
    script = (
        f'mount -t tmpfs -o size=64k none {tmp_path} && {sys.executable} -c "'
        "import sys; from pathlib import Path; from faceflow.publish import publishing\n"
        f"try:\n with publishing(Path('{tmp_path}/out.mp4')) as t: t.write_bytes(bytes(10**6))\n"
        'except Exception as error: print(error.code)\n" && '
        f'mount -o remount,ro none {tmp_path} && {sys.executable} -c "'
        "from pathlib import Path; from faceflow.publish import require_writable\n"
        f"try: require_writable(Path('{tmp_path}/out.mp4'))\n"
        'except Exception as error: print(error.code)\n"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "/bin/sh", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"needs mount namespaces: {done.stderr.strip()}")
    assert done.stdout.split() == ["fault.disk_full", "output.not_writable"], done.stderr


@pytest.mark.parametrize("name", ["out.mp4", "ü" * 120 + ".mp4", "\udcff.mp4"])
def test_a_second_job_is_refused_while_the_first_is_at_work(tmp_path: Path, name: str) -> None:
    output = str(tmp_path / name)
    with output_claimed(output, ONE, settings(tmp_path)):
        with pytest.raises(OutputError) as caught, output_claimed(output, OTHER, settings(tmp_path / "other")):
            pass
        assert caught.value.code == "output.in_use"
        assert caught.value.fields["job_id"] == ONE.job_id
        assert str(os.getpid()) in caught.value.message
        with output_claimed(output, ONE, settings(tmp_path)):  # the same job on another machine
            pass
    with output_claimed(output, OTHER, settings(tmp_path)):
        pass
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


@pytest.mark.parametrize("called", ["a link", "a linked folder", "a longer way", "a URI"])
def test_an_output_is_known_by_whatever_name(tmp_path: Path, called: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "linked").symlink_to(folder)
    (tmp_path / "link.mp4").symlink_to(folder / "out.mp4")
    other = {
        "a link": str(tmp_path / "link.mp4"),
        "a linked folder": str(tmp_path / "linked" / "out.mp4"),
        "a longer way": str(folder / ".." / "folder" / "out.mp4"),
        "a URI": (folder / "out.mp4").as_uri(),
    }[called]
    with (
        output_claimed(str(folder / "out.mp4"), ONE, settings(tmp_path)),
        pytest.raises(OutputError, match=r"output\.in_use"),
        output_claimed(other, OTHER, settings(tmp_path)),
    ):
        pass
    with (
        output_claimed(str(folder / "out.mp4"), ONE, settings(tmp_path)),
        output_claimed(str(folder / "OUT2.mp4"), OTHER, settings(tmp_path)),
    ):
        pass


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    hold = (
        "import sys, time\nfrom pathlib import Path\n"
        "from tests.runs.test_output_place import ONE, output_claimed, settings\n"
        f"with output_claimed({str(output)!r}, ONE, settings(Path({str(tmp_path)!r}))):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=r"output\.in_use"),
            output_claimed(str(output), OTHER, settings(tmp_path)),
        ):
            pass
    finally:
        process.kill()
        process.communicate()
    with output_claimed(str(output), OTHER, settings(tmp_path)):
        pass
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("before", "said"), [(None, False), (b"an older result", True), (b"NEW", True), (b"new", False)]
)
def test_what_was_there_before_is_said(tmp_path: Path, before: bytes | None, said: bool) -> None:
    local, output = tmp_path / "local.mp4", tmp_path / "out.mp4"
    local.write_bytes(b"new")
    if before is not None:
        output.write_bytes(before)
    finished = Output(file=Artifact(path=local, size_bytes=3, sha256=sha256_of(local)), frames=1, faces=1)
    job = SwapJob.model_construct(sensitivity=Sensitivity.PUBLIC)
    delivery = run_upload(job, finished, FolderStore(tmp_path, Zone.PRIVATE), "out.mp4")
    assert bool(delivery.notes) is said
    assert output.read_bytes() == b"new"
