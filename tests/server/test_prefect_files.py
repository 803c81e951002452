"""Files of the folder in which the user works say nothing to Prefect, at its import or later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.inherited import inherited

TELL = """
import json, os, sys
from pathlib import Path
from faceflow.infrastructure.machine.server.environment import point_prefect_at
point_prefect_at(Path(sys.argv[1]), "http://127.0.0.1:4200/api")
here = os.getcwd()
from prefect.settings import get_current_settings, temporary_settings
from prefect.settings.base import PrefectBaseSettings, build_settings_config
class Later(PrefectBaseSettings):
    model_config = build_settings_config(("integrations", "later"))
    word: str = "default"
from prefect.settings import PREFECT_LOGGING_LEVEL
from prefect.utilities.importtools import import_object
assert import_object("colorsys.rgb_to_hsv")(0, 0, 0) == (0, 0, 0)
before = get_current_settings()
with temporary_settings({PREFECT_LOGGING_LEVEL: "ERROR"}) as copied:
    said = [one.model_dump(mode="json") for one in (before, copied)]
print(json.dumps({"here": here, "url": [one["api"]["url"] for one in said], "retries": copied.client.max_retries,
    "level": [one["logging"]["level"] for one in said], "later": Later().word}))
"""
GOOD = {
    "prefect.toml": '[api]\nurl = "http://x/api"\n[client]\nmax_retries = 77\n[integrations.later]\nword = "x"',
    "pyproject.toml": '[tool.prefect]\nhome = "/elsewhere"\n[tool.prefect.client]\nmax_retries = 78\n',
    ".env": "PREFECT_LOGGING_LEVEL=CRITICAL\nPREFECT_INTEGRATIONS_LATER_WORD=x\nPREFECT_PROFILES_PATH=/none\n",
}
BROKEN = {"prefect.toml": "this = is = not", "pyproject.toml": "[tool.prefect", ".env": "\xff\xfe PREFECT_API_URL"}


@pytest.mark.parametrize("written", [GOOD, BROKEN], ids=["good", "broken"])
def test_files_of_the_folder_say_nothing(written: dict[str, str], tmp_path: Path) -> None:
    folder, state = tmp_path / "folder", tmp_path / "state"
    folder.mkdir()
    (state / "prefect").mkdir(parents=True)
    (state / "prefect" / "profiles.toml").write_text('active = "x"\n[profiles.x]\nbroken')
    (folder / "colorsys.py").write_text("raise SystemExit('a module of the folder was imported')")
    for name, text in written.items():
        (folder / name).write_bytes(text.encode("latin-1"))
    environment = inherited(dict(os.environ)) | client_environment(state, "http://127.0.0.1:4200/api")
    done = subprocess.run(
        [sys.executable, "-c", TELL, str(state)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["here"] == str(folder)
    assert told["url"] == ["http://127.0.0.1:4200/api"] * 2
    assert told["level"] == ["INFO", "ERROR"]
    assert told["later"] == "default"
    assert told["retries"] == 5
    assert done.stderr == ""


def test_a_setting_by_which_the_user_names_a_server_is_named_and_its_value_is_not(tmp_path: Path) -> None:
    environment = inherited(
        {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_API_REQUEST_TIMEOUT": "secret"} | dict(os.environ)
    )
    done = subprocess.run(
        [sys.executable, "-c", TELL, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert "server.settings_invalid" in done.stderr
    assert "request_timeout" in done.stderr
    assert "secret" not in done.stderr.splitlines()[-1]
