"""Settings come from the environment, keep their units and are all described in docs/settings.md."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.zones import Zone

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("FACEFLOW_")]:
        monkeypatch.delenv(name)


def test_defaults_suit_one_machine():
    settings = Settings()
    assert settings.pool.zone is Zone.PRIVATE
    assert settings.limits.max_side_px == 8192
    assert settings.encode.threads == 1  # more are not byte-exact


def test_environment(monkeypatch):
    monkeypatch.setenv("FACEFLOW_LIMITS__MAX_DURATION_S", "12.5")
    monkeypatch.setenv("FACEFLOW_POOL__ZONE", "isolated")
    monkeypatch.setenv("FACEFLOW_LOG__FORMAT", "json")
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", "/somewhere else")
    settings = Settings()
    assert settings.limits.max_duration_s == 12.5
    assert settings.limits.max_frames == 1_000_000
    assert settings.pool.zone is Zone.ISOLATED
    assert settings.log.format == "json"
    assert settings.paths.state == Path("/somewhere else")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FACEFLOW_ENCODE__THREADS", "0"),
        ("FACEFLOW_POOL__ZONE", "secret"),
        ("FACEFLOW_LOG__FORMAT", "xml"),
        ("FACEFLOW_LIMITS__MAX_SIDE_PX", "many"),
        ("FACEFLOW_LIMITS__MAX_SIDEPX", "100"),
    ],
)
def test_wrong_values_and_misspelt_names_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_folders_follow_the_desktop_rules(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert Settings().paths.state == tmp_path / "state" / "faceflow"
    assert Settings().paths.scratch == tmp_path / "cache" / "faceflow"


def test_read_once():
    current_settings.cache_clear()
    assert current_settings() is current_settings()
    current_settings.cache_clear()


def test_every_setting_is_described():
    for group in Settings.model_fields.values():
        for name, field in group.annotation.model_fields.items():
            assert field.description, name


def test_settings_page_is_up_to_date():
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_settings.py", "--check"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
