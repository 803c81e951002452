"""What all groups of settings share."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from faceflow.locations import local_path

LONGEST_S = 100 * 365 * 86_400.0
"""More than any wait: a time that is added to one of today must still be one."""
LARGEST = 2**63 - 1
"""What databases, files and the libraries' counters hold."""


def _split(value: Any) -> Any:
    return (
        tuple(part for part in (part.strip() for part in value.split(",")) if part) if isinstance(value, str) else value
    )


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Names in one variable, with commas."""


def _place(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("the name of a configured folder or file must be valid UTF-8") from None
    if "\0" in str(path):
        raise ValueError("a path must not contain a NUL character")
    return local_path(str(path))


Place = Annotated[Path, AfterValidator(_place)]
"""A file or folder of the installation, made absolute: other processes, with other current folders, read it too."""


class Group(BaseModel):
    """One group of settings: values that do not change, each described by the text below it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _within_bounds(cls, value: Any, field: ValidationInfo) -> Any:
        """Numbers with a fraction are times in seconds, whole ones count something; text goes into requests and logs,
        where a line break (what a file of a secret ends with) is no part of a name, an address or a key."""
        if isinstance(value, float) and abs(value) > LONGEST_S:
            raise ValueError(f"it must be at most {LONGEST_S:.0f} (a century in seconds)")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"it must be at most {LARGEST}")
        for text in _texts(value):
            if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
                raise ValueError("it must be text in UTF-8")
            if not str(field.field_name).endswith("_query") and any(map(_is_control, text)):
                raise ValueError("it contains a line break or another control character")
        return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, held in value.items():
            yield from (*_texts(key), *_texts(held))
    elif isinstance(value, tuple):
        for held in value:
            yield from _texts(held)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"
