"""What processes of faceflow take over from the user's environment: what is on the list, whatever else is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.infrastructure.machine.server.environment import (
    client_environment,
    server_environment,
    worker_environment,
)
from faceflow.infrastructure.machine.server.inherited import inherited
from faceflow.infrastructure.machine.server.python_variables import ROOT, python_path

STATE = Path("/state")
FOREIGN = [
    "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_API_BASE_PATH",
    "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_HOME",
    "PREFECT_TEST_MODE", "PREFECT_LOGGING_SETTINGS_PATH", "PREFECT_CLIENT_CUSTOM_HEADERS", "prefect_server_api_port",
    "prefect_api_url", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONMALLOC",
    "PYTHONIOENCODING", "PYTHONASYNCIODEBUG", "SQLALCHEMY_WARN_20", "OTEL_PROPAGATORS", "UVICORN_PORT", "HTTPX_X",
    "LOGGING", "WEB_CONCURRENCY", "REQUEST_METHOD", "VIRTUAL_ENV", "NEVER_HEARD_OF",
]  # fmt: skip
ORDINARY = {
    "PATH": "/bin", "HOME": "/home/me", "LANG": "de_DE.UTF-8", "LC_ALL": "C", "TZ": "Asia/Tokyo", "TMPDIR": "/t",
    "SSL_CERT_FILE": "/c.pem", "AWS_PROFILE": "p", "AZURE_CLIENT_ID": "i", "GOOGLE_APPLICATION_CREDENTIALS": "/g",
    "CUDA_VISIBLE_DEVICES": "1", "NVIDIA_VISIBLE_DEVICES": "all", "LD_LIBRARY_PATH": "/lib", "OMP_NUM_THREADS": "2",
    "FACEFLOW_LOG__FORMAT": "json", "PGSSLROOTCERT": "/r", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


def test_workers_take_over_what_jobs_need_and_nothing_else() -> None:
    users = ORDINARY | dict.fromkeys(FOREIGN, "of the user")
    pointed = inherited(users) | client_environment(STATE, "http://127.0.0.1:1/api")
    for taken in (inherited(users), worker_environment(pointed)):
        assert {name: taken.get(name) for name in ORDINARY} == ORDINARY
        assert "of the user" not in taken.values()
    assert [name for name in inherited(users) if name.upper().startswith("PREFECT_")] == []


@given(names=st.sets(st.text(alphabet=st.characters(codec="ascii", exclude_characters="=\0"), min_size=1)))
def test_the_server_knows_nothing_of_the_user(names: set[str]) -> None:
    users = {**dict.fromkeys([*names, *FOREIGN, *ORDINARY], "of the user"), "LD_LIBRARY_PATH": "/lib"}
    told = server_environment(STATE, 4200, users)
    bare = server_environment(STATE, 4200, {})
    others = {name: value for name, value in told.items() if bare.get(name) != value}
    assert set(others) <= {"PATH", "TMPDIR", "TZ", "SSL_CERT_FILE", "LD_LIBRARY_PATH", "PYTHONUNBUFFERED"} | {
        name for name in names if name.startswith(("LD_", "SSL_CERT_", "PYTHON")) or name.lower().endswith("_proxy")
    }
    assert told["HOME"] == "/state/prefect"
    assert "/state/" in told["PREFECT_API_DATABASE_CONNECTION_URL"]


def test_a_named_server_is_reached_as_the_user_says() -> None:
    how = {
        "PREFECT_API_URL": "https://prefect.example/api",
        "PREFECT_API_KEY": "k",
        "PREFECT_API_AUTH_STRING": "a:b",
        "PREFECT_API_SSL_CERT_FILE": "/c.pem",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X": "y"}',
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    }
    taken = inherited(dict.fromkeys(FOREIGN, "of the user") | how)
    assert {name: value for name, value in taken.items() if name.upper().startswith("PREFECT_")} == how
    assert "PREFECT_API_KEY" not in inherited(how | {"PREFECT_API_URL": "  "})


def test_folders_of_the_user_do_not_come_before_pythons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "typing.py").touch()
    hostile = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    assert python_path(hostile) == str(ROOT)
    # Where our libraries were installed into a folder of PYTHONPATH, that folder stays.
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(ROOT)])
    monkeypatch.setattr("faceflow.infrastructure.machine.server.python_variables._site_folders", list)
    assert python_path(hostile) == f"{ROOT}{os.pathsep}{tmp_path}"
