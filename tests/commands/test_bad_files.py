"""Every file and setting that a command reads, broken in every way: a code of the user's, exit code 2, no traceback.

Runs the program's commands in this process, so that a hundred cases cost seconds. Varied: the command, and what its
file is (missing, a folder, a device, a socket, empty, text of another encoding, nested without end, aliases that
multiply, ...). Some of each in every run of the tests, all of them in the full one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.in_process import code_of, given

DEEP = 100_000
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(64),
    "latin-1": "größe: 1\n".encode("latin-1"),
    "utf-16": "a: 1\n".encode("utf-16"),
    "bom": b"\xef\xbb\xbf{}",
    "deep lists": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "closed deep lists": b"[" * DEEP + b"]" * DEEP,
    "aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(8)
    ),
    "duplicate keys": b"version: 1\nversion: 2\n",
    "tabs": b"a:\n\t- b\n",
    "a scalar": b"17",
    "a huge number": b'{"version": ' + b"9" * 6000 + b"}",
    "not a number": b'{"version": NaN}',
    "python object": b"!!python/object/apply:os.system ['true']",
    "unknown alias": b"a: *b",
    "surrogates": b'{"a": "\\ud800"}',
    "one quote": b'portrait,target,output\r\n"a,b,c\r\n',
}  # fmt: skip
POLICIES = ROOT / "deployments" / "policies"
POOLS = ("--pools", f"{POLICIES}/pools.yaml")
RULES = f"{POLICIES}/canonical.yaml"
LIST = ("campaign", "run", "{folder}/list.csv", "--no-check-files")
COMMANDS: dict[str, tuple[str, ...]] = {
    "policy check": ("policy", "check", "{file}.yaml", *POOLS),
    "policy pools": ("policy", "check", RULES, "--pools", "{file}.yaml"),
    "policy explain": ("policy", "explain", "{file}.yaml", "--rules", RULES, *POOLS),
    "policy snapshot": (
        "policy",
        "explain",
        "{folder}/job.yaml",
        "--rules",
        RULES,
        *POOLS,
        "--snapshot",
        "{file}.yaml",
    ),
    "policy replay": ("policy", "replay", "{file}.jsonl", "--rules", RULES, *POOLS),
    "simulate scenario": ("simulate", "--scenario", "{file}.yaml", *POOLS),
    "simulate trace": ("simulate", "--trace", "{file}.csv", *POOLS),
    "campaign csv": ("campaign", "run", "{file}.csv"),
    "campaign jsonl": ("campaign", "run", "{file}.jsonl"),
    "campaign defaults": (*LIST, "--defaults", "{file}.yaml"),
    "register": ("register", "--pools", "{file}.yaml"),
    "models import": ("models", "import", "{file}.yaml"),
    "models import as": ("models", "import", "{file}.yaml", "--as", "inswapper_128"),
}
SETTINGS = {
    "FACEFLOW_ROUTING__POOLS": ("policy", "check", RULES),
    "FACEFLOW_ROUTING__RULES": ("policy", "explain", "{folder}/job.yaml", *POOLS),
    "FACEFLOW_MODELS__EXTRA": ("models", "list"),
}
"""Files that a setting names, and a command that reads them."""
TAKEN = {
    ("policy replay", "empty"): (0, ""),
    ("policy snapshot", "empty"): (2, "policy.snapshot_invalid"),
    ("campaign defaults", "bom"): (1, "server.unreachable"),
}
"""What is right, though it looks odd: no records are no mistake, and no defaults either."""
NOT_READ = {"job.usage", "policy.pools_missing", "server.unreachable"}
"""Codes of a command that has not come as far as the file."""


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)  # binding one would limit the path to 107 bytes


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**36)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


KINDS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "folder": Path.mkdir,
    "pipe": make_pipe,
    "socket": make_socket,
    "sparse": make_sparse,
    "device": link("/dev/null"),
    "endless": link("/dev/zero"),
    "memory": link("/proc/self/mem"),
    "process": link("/proc/self/environ"),
    "terminal": link("/dev/tty"),
    "circle": lambda path: path.symlink_to(path),
    "below a file": link("/dev/null/file"),
}
OFTEN = ("empty", "deep lists", "aliases", "zeros")
OFTEN_KINDS = ("pipe", "socket", "sparse", "memory")
"""Of contents and of kinds of files, those that are tried in every run of the tests."""


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FACEFLOW_PATHS__SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("FACEFLOW_MODELS__OFFLINE", "true")
    (tmp_path / "list.csv").write_text("portrait,target,output\na.png,b.mp4,c.mp4\n")
    (tmp_path / "job.yaml").write_text("id: a\nframes: 100\n")


def ended(words: tuple[str, ...], folder: Path, name: str) -> tuple[int, str]:
    """Exit code and error code of a command with such a file."""
    file = str(folder / name)
    done = given([word.replace("{file}", file).replace("{folder}", str(folder)) for word in words] + ["--json"])
    assert "Traceback" not in done.stdout + done.stderr, (words, name, done.stderr[-1000:])
    return done.exit_code, code_of(done)


def require_users(command: str, what: str, found: tuple[int, str]) -> None:
    if found != TAKEN.get((command, what)):
        assert found[0] == 2, (command, what, found)
        assert not found[1].startswith("fault."), (command, what, found)
        assert found[1] not in NOT_READ, (command, what, found)


def try_contents(command: str, contents: Iterable[str], folder: Path) -> None:
    for number, content in enumerate(contents):
        for ending in (".yaml", ".csv", ".jsonl"):
            (folder / f"file{number}{ending}").write_bytes(CONTENTS[content])
        require_users(command, content, ended(COMMANDS[command], folder, f"file{number}"))


def try_kinds(command: str, kinds: Iterable[str], folder: Path) -> None:
    for number, kind in enumerate(kinds):
        for ending in (".yaml", ".csv", ".jsonl"):
            KINDS[kind](folder / f"file{number}{ending}")
        found = ended(COMMANDS[command], folder, f"file{number}")
        if (command, kind, found) != ("policy replay", "process", (2, "policy.record_invalid")):
            require_users(command, kind, found)


@pytest.mark.parametrize("command", COMMANDS)
def test_some_broken_files(command: str, tmp_path: Path) -> None:
    try_contents(command, OFTEN, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_every_broken_file(command: str, tmp_path: Path) -> None:
    try_contents(command, CONTENTS, tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_some_files_that_are_none(command: str, tmp_path: Path) -> None:
    try_kinds(command, OFTEN_KINDS, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_that_is_none(command: str, tmp_path: Path) -> None:
    try_kinds(command, KINDS, tmp_path)


@pytest.mark.parametrize("variable", SETTINGS)
def test_a_file_that_a_setting_names(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, kind in enumerate(("pipe", "socket", "folder", "missing", "endless", "memory")):
        path = tmp_path / f"odd{number}"
        KINDS[kind](path)
        monkeypatch.setenv(variable, str(path))
        exit_code, code = ended(SETTINGS[variable], tmp_path, "unused")
        assert (exit_code, code.split(".")[0]) in {(2, "policy"), (1, "policy"), (2, "model")}, (kind, exit_code, code)
    for number, content in enumerate(OFTEN):
        path = tmp_path / f"text{number}"  # a catalogue is read once in a process
        path.write_bytes(CONTENTS[content])
        monkeypatch.setenv(variable, str(path))
        exit_code, code = ended(SETTINGS[variable], tmp_path, "unused")
        taken = (variable, content) == ("FACEFLOW_MODELS__EXTRA", "empty")  # a catalogue that adds nothing
        assert exit_code == (0 if taken else 2) or code == "policy.no_rules", (content, exit_code, code)


@pytest.mark.parametrize("kind", KINDS)
def test_portraits_that_are_no_folder(kind: str, tmp_path: Path) -> None:
    KINDS[kind](tmp_path / "portraits")
    words = ("campaign", "run", "--portraits", "{file}", "--target", "b.mp4", "-o", "{folder}")
    assert ended(words, tmp_path, "portraits") == (2, "job.manifest_unreadable")


def test_odd_files_among_portraits_are_none(tmp_path: Path) -> None:
    for kind in set(KINDS) - {"missing"}:
        KINDS[kind](tmp_path / f"{kind.replace(' ', '-')}.png")
    words = ("campaign", "run", "--portraits", "{folder}", "--target", "b.mp4", "-o", "{folder}", "--no-check-files")
    found = ended(words, tmp_path, "unused")
    assert found in {(1, "server.unreachable"), (2, "job.manifest_unreadable")}


def test_a_name_with_a_nul(tmp_path: Path) -> None:
    for command, words in COMMANDS.items():
        exit_code, code = ended(words, tmp_path, "fi\0le")
        assert (exit_code, code.split(".")[0] == "fault") == (2, False), (command, code)
