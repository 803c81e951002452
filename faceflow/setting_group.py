"""What all groups of settings share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode

from faceflow.locations import local_path


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
        raise ValueError("a folder or file that faceflow is set up with needs a name in UTF-8") from None
    if "\0" in str(path):
        raise ValueError("a path holds no NUL character")
    return local_path(str(path))


Place = Annotated[Path, AfterValidator(_place)]
"""A file or folder of the installation, made absolute: other processes, with other current folders, read it too."""


class Group(BaseModel):
    """One group of settings: values that do not change, each described by the text below it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
