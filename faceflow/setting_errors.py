"""The `FACEFLOW_` variables as they are read, and what is wrong with one, in words that name it.

pydantic-settings says in which group a value is that is no JSON, and not in which variable; a value that is nested
without end it does not catch at all. `NamedSource` knows the variable at the time of reading, `setting_error` puts what
was found into the one error that every process of ours ends with: `job.settings_invalid`.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, SettingsError

from faceflow.errors import JobError

SHOWN = 3
"""How many wrong values one message names."""
SHOWN_CHARACTERS = 200
"""How much of a reason is shown: it may repeat the value, which may be as long as the system allows."""


class NamedSource(EnvSettingsSource):
    """The environment. Raises SettingsError that names the variable where a value is not the JSON that it must be."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """The value as JSON. A ValueError is kept: pydantic-settings may go on with the text as it is."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except RecursionError:
            raise ValueError(self._words(value, "it is nested too deeply")) from None
        except ValueError as error:
            raise ValueError(self._words(value, f"it must be JSON ({error})")) from error

    def _words(self, value: Any, reason: str) -> str:
        prefix = self.env_prefix.lower()
        names = (name.upper() for name, held in self.env_vars.items() if name.startswith(prefix) and held == value)
        return f"{next(names, prefix.upper())}: {reason}"


def setting_error(error: ValidationError | SettingsError, prefix: str) -> JobError:
    """`job.settings_invalid` for what reading the settings raised.

    Args:
        error: what was raised.
        prefix: what the names of all variables begin with.
    """
    if isinstance(error, ValidationError):
        wrong = error.errors(include_url=False, include_input=False)[:SHOWN]
        reason = "; ".join(f"{_variable(prefix, item['loc'])}: {_short(item['msg'])}" for item in wrong)
    else:
        reason = _short(str(error.__cause__ or error))
    return JobError(
        "job.settings_invalid",
        f"A {prefix} setting is not valid: {reason}.",
        "Correct or unset that environment variable; docs/settings.md lists them all.",
    )


def _variable(prefix: str, location: tuple[int | str, ...]) -> str:
    """The variable that is set: that of this field, those of its parts, or that of the group that holds it."""
    field = prefix + "__".join(str(part) for part in location).upper()
    names = sorted(name.upper() for name in os.environ if name.upper().startswith(prefix))
    below = [name for name in names if name.startswith(f"{field}__")]
    above = [name for name in names if field.startswith(f"{name}__")]
    if field in names or not (below or above):
        return _short(field)
    if len(below) > 1:
        return _short(f"{field}__*")
    return _short([*above, *below][-1])


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
