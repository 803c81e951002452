"""Every file and setting that a command reads, broken in every way: a code of the user's, exit code 2, no traceback.

Runs the program's `main` in this process, so that a hundred cases cost seconds. Varied: the command, and what its file
is (missing, a folder, a device, empty, text of another encoding, nested without end, aliases that multiply, ...).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceflow.gateway.cli.main import main
from faceflow.infrastructure.settings import current_settings
from tests.matrix import thinned

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
KINDS = ("missing", "folder", "device", "endless", "pipe", "sparse", "NUL")
POOLS = ("--pools", "deployments/policies/pools.yaml")
COMMANDS: dict[str, tuple[str, ...]] = {
    "policy check": ("policy", "check", "{file}.yaml", *POOLS),
    "policy pools": ("policy", "check", "deployments/policies/canonical.yaml", "--pools", "{file}.yaml"),
    "policy explain": ("policy", "explain", "{file}.yaml", "--rules", "deployments/policies/canonical.yaml", *POOLS),
    "policy replay": ("policy", "replay", "{file}.jsonl", "--rules", "deployments/policies/canonical.yaml", *POOLS),
    "simulate scenario": ("simulate", "--scenario", "{file}.yaml", *POOLS),
    "simulate trace": ("simulate", "--trace", "{file}.csv", *POOLS),
    "campaign csv": ("campaign", "run", "{file}.csv"),
    "campaign jsonl": ("campaign", "run", "{file}.jsonl"),
}


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FACEFLOW_PATHS__SCRATCH", str(tmp_path / "scratch"))
    current_settings.cache_clear()
    yield
    current_settings.cache_clear()


def ended(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    exit_code = main([*arguments, "--json"])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return exit_code, json.loads(out.splitlines()[-1]) if out.strip() else {}


@pytest.mark.parametrize(("command", "content"), thinned(COMMANDS, CONTENTS, keep=4))
def test_a_broken_file_is_the_users(
    command: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in (".yaml", ".csv", ".jsonl"):
        (tmp_path / f"file{ending}").write_bytes(CONTENTS[content])
    arguments = tuple(part.replace("{file}", str(tmp_path / "file")) for part in COMMANDS[command])
    exit_code, answer = ended(arguments, capsys)
    if (command, content) == ("policy replay", "empty"):
        assert exit_code == 0, answer
        return
    assert exit_code == 2, answer
    assert not str(answer["code"]).startswith("fault."), answer
    assert answer["code"] not in {"job.usage", "policy.pools_missing"}, answer  # it came as far as the file


@pytest.mark.parametrize(("command", "kind"), thinned(COMMANDS, KINDS, keep=4))
def test_a_file_that_is_none_is_the_users(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in (".yaml", ".csv", ".jsonl"):
        path = tmp_path / f"file{ending}"
        if kind == "folder":
            path.mkdir()
        elif kind == "device":
            path.symlink_to("/dev/null")
        elif kind == "endless":
            path.symlink_to("/dev/zero")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "sparse":
            with path.open("wb") as file:
                file.truncate(2**36)
    name = str(tmp_path / ("fi\0le" if kind == "NUL" else "file"))
    exit_code, answer = ended(tuple(part.replace("{file}", name) for part in COMMANDS[command]), capsys)
    assert exit_code == 2, answer
    assert not str(answer["code"]).startswith("fault."), answer
    if kind != "NUL":  # which is no path at all
        assert answer["code"] not in {"job.usage", "policy.pools_missing"}, answer
