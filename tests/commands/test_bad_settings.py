"""Every FACEFLOW_ variable with values that people and broken scripts give it: accepted, or named and refused.

The variables are taken from the settings themselves, so that a new one is tried too. Varied: the variable (every field
of every group, the groups, a part below a field, a named store), and the value (none of its type, negative, without
end, huge, nested without end, not UTF-8, with a line break).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import pytest
from pydantic import BaseModel

from faceflow.errors import JobError
from faceflow.gateway.cli.main import main
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.infrastructure.stores.store_settings import StoreConnection

VALUES = ("x", "-1", "inf", "1e300", "9" * 30, "9" * 5000, "[" * 20_000, "\udcff", "a\nb", '{"a":')


def variables() -> list[str]:
    names = []
    for group, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        below = [f"{group}__{name}" for name in field.annotation.model_fields]
        names += [group, *below, f"{below[0]}__part"]
    names += [f"stores__named__main__{name}" for name in StoreConnection.model_fields]
    return [f"FACEFLOW_{name.upper()}" for name in names]


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    current_settings.cache_clear()
    yield
    current_settings.cache_clear()


EVERY = [(name, number) for number, name in enumerate(variables())]


@pytest.mark.parametrize(("variable", "number"), EVERY, ids=variables())
def test_some_values_are_taken_or_their_variable_is_named(
    variable: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two values a variable, so that each value meets a fifth of them."""
    taken_or_named(variable, VALUES[number % 5 :: 5], monkeypatch)


@pytest.mark.full
@pytest.mark.parametrize("variable", variables())
def test_a_value_is_taken_or_its_variable_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_or_named(variable, VALUES, monkeypatch)


def taken_or_named(variable: str, values: Iterable[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if variable.startswith("FACEFLOW_STORES__NAMED__MAIN__") and not variable.endswith("ADDRESS"):
        monkeypatch.setenv("FACEFLOW_STORES__NAMED__MAIN__ADDRESS", "s3://bucket")
    for value in values:
        monkeypatch.setenv(variable, value)
        current_settings.cache_clear()
        try:
            taken = current_settings()
        except JobError as error:
            assert error.code == "job.settings_invalid"
            field = variable.rpartition("__")[2].lower()  # as messages about several fields name it
            assert variable in error.message or field in error.message, (value[:40], error.message)
            assert len(error.message) < 1000, value[:40]
            error.message.encode()
        else:
            for seconds in times(taken):
                assert datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


def times(model: BaseModel) -> Iterator[float]:
    for value in dict(model).values():
        if isinstance(value, BaseModel):
            yield from times(value)
        elif isinstance(value, float):
            yield value


@pytest.mark.parametrize("value", ["[" * 20_000, "{", "x", "\udcff", "9" * 5000])
def test_the_program_ends_with_the_code(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEFLOW_PRICES__REGIONS", value)
    assert main(["models", "list", "--json"]) == 2
    out, err = capsys.readouterr()
    assert '"code": "job.settings_invalid"' in out
    assert "FACEFLOW_PRICES__REGIONS" in out
    assert "Traceback" not in out + err


def test_a_group_and_one_of_its_variables_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_LIMITS", "[]")
    monkeypatch.setenv("FACEFLOW_LIMITS__MAX_FRAMES", "7")
    with pytest.raises(JobError, match="FACEFLOW_LIMITS"):
        current_settings()
    monkeypatch.setenv("FACEFLOW_LIMITS", '{"max_side_px": 4}')
    with pytest.raises(JobError, match="FACEFLOW_LIMITS: "):  # and not FACEFLOW_LIMITS__MAX_SIDE_PX, which nobody set
        current_settings()
