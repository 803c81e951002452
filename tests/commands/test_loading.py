"""What ends the imports of the program: a line with a code, in words or as JSON, and exit code 1; never a traceback."""

from __future__ import annotations

import json
import sys

import pytest

from faceflow.gateway.program import start

MAIN = "faceflow.gateway.cli.main"


class Ends:
    """Importing the program's commands raises `error`."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == MAIN:
            raise self.error("no part")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt, "fault.cancelled"),
        (MemoryError, "fault.out_of_memory"),
        (ModuleNotFoundError, "fault.installation"),
        (ImportError, "fault.installation"),
    ],
)
def test_an_import_that_ends(
    error: type[BaseException],
    code: str,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, MAIN, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Ends(error), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["faceflow", "faces", *(["--json"] if as_json else [])])
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert (json.loads(out)["code"] if as_json else err.split()[1]) == code
