"""Every option and argument of every command with the values that people, scripts and shells come up with.

A value is taken or refused: exit code 2 and a code of the user's. No traceback, no `fault.unexpected`, no waiting for
ever, no answer that is no JSON. Commands, arguments and options are read from the command line itself, so a new one is
swept too; `GIVEN` only brings a command as far as the option that is tried. What comes after the checks is kept away by
a server that does not answer: a value that is taken ends as the command ends without it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from docs.make_errors import codes
from tests.conftest import ROOT
from tests.faces import ASTRONAUT, face_clip
from tests.in_process import Command, Hangs, Parameter, code_of, commands, given

COMMANDS = commands()
CODES = codes()
POLICIES = ROOT / "deployments" / "policies"
POOLS = ("--pools", f"{POLICIES}/pools.yaml")
RULES = f"{POLICIES}/canonical.yaml"
GIVEN: dict[str, tuple[str, ...]] = {
    "swap": ("face.png", "clip.mp4", "-o", "swapped.mp4"),
    "faces": ("face.png",),
    "demo": ("--source", "face.png", "--target", "clip.mp4"),
    "register": POOLS,
    "examples": ("new",),
    "simulate": ("rules.yaml", *POOLS, "--trace", "trace.csv", "--no-bound"),
    "models pull": ("inswapper_128",),
    "models import": ("face.png",),
    "models path": ("inswapper_128",),
    "policy push": (RULES, *POOLS, "--to", "rules.yaml"),
    "policy show": ("--rules", RULES, *POOLS),
    "policy signals": POOLS,
    "policy check": (RULES, *POOLS),
    "policy explain": ("job.yaml", "--rules", RULES, *POOLS),
    "policy diff": (RULES, "rules.yaml", *POOLS),
    "policy replay": ("records.jsonl", "--rules", RULES, *POOLS),
    "campaign run": ("list.csv",),
    "decision show": ("abc",),
    "budget set": ("film", "5"),
    "budget remove": ("film",),
}
"""What a command is given so that it comes as far as the value that is tried; the others need nothing."""
VALUES: dict[str, str] = {
    "empty": "",
    "dash": "-",
    "two dashes": "--",
    "space": " ",
    "NUL": "a\0b",
    "line break": "a\nb",
    "not UTF-8": "n\udcff",
    "markup": "[/bold]{x}%s",
    "long": "x" * 5000,
    "long path": "/".join(["x" * 200] * 30),
    "negative": "-1",
    "zero": "0",
    "not a number": "nan",
    "endless": "inf",
    "huge": "1e300",
    "digits": "9" * 5000,
    "other digits": "٣",
    "equals": "=",
    "surrogate equals": "a\udcff=b\udcff",
    "missing": "nowhere/at all",
    "folder": "folder",
    "pipe": "pipe",
    "socket": "socket",
    "device": "/dev/null",
    "endless device": "/dev/zero",
    "memory": "/proc/self/mem",
    "process": "/proc/self/environ",
    "circle": "circle",
    "not text": "face.png",
    "sparse": "sparse",
    "file URI": "file:///%00",
    "store": "s3://",
    "unknown scheme": "gopher://a/b",
    "web": "http://127.0.0.1:9/a",
}
ANSWERS: dict[str, set[tuple[int, str]]] = {
    "policy push": {(1, "policy.source_failed")},
    "policy show": {(1, "")},  # which says what is in force, and why it is not what lies there
}
"""Exit codes 1 that say what became of a source that the value names, as docs/routing.md does."""
FAR_ENOUGH = {
    "",
    "server.unreachable",
    "job.unknown",
    "budget.not_set",
    "model.import_unknown",
    "model.licence",
    "model.missing",
    "model.unavailable",
}
"""How a command ends that has looked at everything it was given."""
A_RUN = 2
"""Values that each argument and option is given in every run of the tests; all of them are, somewhere."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=0.2)


@pytest.fixture
def here(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands are given, and with what is no ordinary file."""
    shutil.copy(ASTRONAUT, tmp_path / "face.png")
    shutil.copy(clip, tmp_path / "clip.mp4")
    shutil.copy(RULES, tmp_path / "rules.yaml")
    (tmp_path / "job.yaml").write_text("id: a\nframes: 100\n")
    (tmp_path / "records.jsonl").touch()
    (tmp_path / "list.csv").write_text("portrait,target,output\nface.png,clip.mp4,out.mp4\n")
    (tmp_path / "trace.csv").write_text("arrival_s,frames\n1,200\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**36)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FACEFLOW_PATHS__SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("FACEFLOW_MODELS__OFFLINE", "true")
    monkeypatch.setenv("FACEFLOW_RULE_SOURCE__TIMEOUT_S", "1")
    return tmp_path


def with_value(command: Command, parameter: Parameter, value: str) -> list[str]:
    """The command with what it needs, and `value` for one of its parameters."""
    words = list(GIVEN.get(" ".join(command.words), ()))
    if parameter.argument is None:
        named = f"{parameter.name}={value}" if parameter.name.startswith("--") else f"{parameter.name}{value}"
        known = [parameter.name, "-o"] if parameter.name == "--output" else [parameter.name]
        for name in known:
            if name in words and not parameter.several:
                del words[words.index(name) : words.index(name) + 2]
        words = [named, *words]
    else:
        places = [place for place, word in enumerate(words) if not word.startswith("-")]
        if parameter.argument < len(places):
            words[places[parameter.argument]] = value
        else:
            words = [value, *words]
        options = [place for place, word in enumerate(words) if word.startswith("-") and word != value]
        first = options[0] if options else len(words)
        words = [*words[first:], "--", *words[:first]]
    return [*command.words, *(["--json"] if command.takes_json else []), *words]


def wrong(arguments: list[str], right: set[tuple[int, str]]) -> tuple[tuple[int, str], str]:
    """How a command ended, and what is wrong with that."""
    try:
        done = given(arguments)
    except Hangs as error:
        return (-1, ""), f"waits: {error}"
    said = done.stdout + done.stderr
    problems = [word for word in ("Traceback", "fault.unexpected") if word in said]
    code = ""
    if "--json" in arguments:
        lines = done.stdout.splitlines()
        if len(lines) == 1:
            code = code_of(done)
        else:
            problems.append(f"{len(lines)} lines instead of an answer")
    if done.exit_code not in (0, 2) and (done.exit_code, code) not in right:
        problems.append(f"none of {right}")
    if code and code not in CODES:
        problems.append("a code that is not documented")
    told = [f"{', '.join(problems)}: {[word[:70] for word in arguments]}", done.stdout[-500:], done.stderr[-700:]]
    return (done.exit_code, code), "\n  ".join(told) if problems else ""


def sweep(command: Command, values: Callable[[int], Iterable[str]]) -> Counter[tuple[int, str]]:
    """How often each exit code and error code came, all of them right.

    Args:
        command: whose arguments and options are tried.
        values: names of the values for the first, second, ... of them.
    """
    name = " ".join(command.words)
    plain = given([*command.words, *(["--json"] if command.takes_json else []), *GIVEN.get(name, ())])
    as_without = (plain.exit_code, code_of(plain) if command.takes_json else "")
    right = {as_without, *ANSWERS.get(name, ())}
    ended: Counter[tuple[int, str]] = Counter()
    problems = []
    for number, one in enumerate(parameter for parameter in command.parameters if parameter.name != "--json"):
        for value in values(number):
            found, problem = wrong(with_value(command, one, VALUES[value]), right)
            ended[found] += 1
            problems += [f"{one.name}, {value}: {problem}"] if problem else []
    assert not problems, "\n".join(problems)
    return ended


@pytest.mark.parametrize("command", COMMANDS)
def test_some_values(command: str, here: Path) -> None:
    names, offset = list(VALUES), 7 * list(COMMANDS).index(command)
    sweep(COMMANDS[command], lambda number: [names[(offset + A_RUN * number + n) % len(names)] for n in range(A_RUN)])


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_every_value(command: str, here: Path) -> None:
    print(command, dict(sweep(COMMANDS[command], lambda _: VALUES)))


def test_the_sweep_meets_every_option() -> None:
    """A command line that only lists its commands would be swept in no time, and nothing would be found."""
    assert len(COMMANDS) > 30
    assert set(GIVEN) < set(COMMANDS)
    assert {"--crf", "--map", "--age", "PATHS"} < {one.name for one in COMMANDS["swap"].parameters}
    assert [name for name, command in COMMANDS.items() if not command.parameters] == ["policy schema"]


def test_every_command_comes_as_far_as_its_values(here: Path) -> None:
    """What `GIVEN` says is right: no command ends before the option that is tried could be looked at."""
    for name, command in COMMANDS.items():
        if name in GIVEN:
            done = given([*command.words, *(["--json"] if command.takes_json else []), *GIVEN[name]])
            assert code_of(done) in FAR_ENOUGH, (name, done.stdout)


@pytest.mark.parametrize(
    "words",
    [
        ["--map", "9" * 5000],
        ["--map", "9" * 19],
        ["--map", f"{'9' * 5000}=source"],
        ["--map", "٣=nobody"],
        ["--map", ""],
        ["--map", "="],
        ["--map", "0=source", "--faces", "all"],
        ["--age", "9" * 5000],
        ["--age", f"{'9' * 5000}-"],
        ["--age=-" + "9" * 5000],
        ["--age", f"1-{'9' * 19}"],
        ["--age", "40-18"],
        ["--age", "-"],
        ["--age", "²-³"],
        ["--age", "nan-inf"],
        ["--age", "1-2-3"],
        ["--first", "9" * 5000],
    ],
    ids=lambda words: " ".join(words)[:24],
)
def test_numbers_in_texts(words: list[str], here: Path) -> None:
    """Numbers that are part of a text are read by us: thousands of digits end no `int`, and no age is endless."""
    done = given(["swap", *words, *GIVEN["swap"], "--json"])
    assert done.exit_code == 2, done.stdout
    assert code_of(done) in {"job.usage", "job.invalid", "picture.missing", "picture.unreadable"}, done.stdout
