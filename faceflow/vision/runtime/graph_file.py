"""A model file without its weights: what goes in and out, single constants, and the graph written anew.

ONNX Runtime, given a file with weights inside, holds them twice while it loads: a network of 554 MB takes 1.2 GB. Given
the graph alone with every weight named as "so many bytes from there on in that file" (external data, which the format
provides for weights in files of their own), it maps the file and holds one copy. So `OnnxFile.graph` copies the graph,
some kilobytes, and points at the weights in the very file they came in; nothing is written to disk.

Field numbers are those of onnx.proto (ONNX 1.0 and later; numbers never change).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as attribute
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.vision.runtime.wire import (
    Field,
    WireError,
    bytes_field,
    fields,
    signed,
    varint_field,
    varints,
)

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 1, 5, 11, 12, 13
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
_TENSOR_FLOATS, _TENSOR_INT64S = 4, 7
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATION, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_NUMBER, _ATTRIBUTE_TENSOR = 1, 3, 5
_EXTERNAL = 1
_MOST_SIDES = 32
"""Sides of an array; NumPy takes no more."""
_LEAST_EXTERNAL_BYTES = 4096
"""Smaller constants (shapes, scales) stay in the graph, where ONNX Runtime reads them while it optimises."""
_MOST_LISTED_BYTES = 1 << 20
"""Longest list of whole numbers that is read one by one; those that are looked at (shapes) have a dozen."""

_DTYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """An input or output of the network.

    Attributes:
        name: its name in the graph.
        dtype: its NumPy type.
        shape: its sides; None where the file leaves one open.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """An operation: its type, the names of what it reads and writes, where it stands, its whole-number attributes."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    field: Field
    numbers: Mapping[str, int] = attribute(hash=False)


class OnnxFile:
    """A model file, mapped.

    Raises:
        EngineError: `engine.model_missing` when it cannot be opened, `engine.model_unusable` when it is no ONNX graph;
            the latter also where a part is damaged, by whatever looks at that part first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise EngineError(
                "engine.model_missing",
                f"The model file {str(path)!r} cannot be opened: {error}.",
                "Download it again with `faceflow models pull`.",
                model=path.name,
            ) from error
        with self._looking():
            self._read()

    @contextmanager
    def _looking(self) -> Iterator[None]:
        try:
            yield
        except (WireError, UnicodeDecodeError) as error:
            raise EngineError(
                "engine.model_unusable",
                f"The model file {str(self.path)!r} is not an ONNX model: {error}.",
                "Download it again with `faceflow models pull`.",
                model=self.path.name,
            ) from error

    def _read(self) -> None:
        graphs = [field for field in fields(self.buffer) if field.number == MODEL_GRAPH]
        if len(graphs) != 1:
            raise WireError("it contains no graph")
        self._graph = graphs[0]
        self._parts = list(fields(self.buffer, self._graph.first, self._graph.end))
        self._initializers = {self._name_of(field): field for field in self._parts if field.number == GRAPH_INITIALIZER}
        self.inputs = tuple(info for info in self._values(GRAPH_INPUT) if info.name not in self._initializers)
        self.outputs = self._values(GRAPH_OUTPUT)
        if not self.inputs or not self.outputs:
            raise WireError("its graph has no inputs or no outputs")

    def constant(self, name: str) -> NDArray[Any] | None:
        """The initializer `name`, or None where the graph has none of that name or keeps it elsewhere."""
        field = self._initializers.get(name)
        if field is None:
            return None
        with self._looking():
            return self._tensor(field)

    def held(self, node: Node) -> NDArray[Any] | None:
        """What a `Constant` node holds, or None where it is no tensor."""
        with self._looking():
            for part in _inside(self.buffer, node.field, _NODE_ATTRIBUTE):
                for tensor in _inside(self.buffer, part, _ATTRIBUTE_TENSOR):
                    return self._tensor(tensor)
        return None

    def last_initializer(self) -> NDArray[Any] | None:
        """The last initializer of the graph, where inswapper keeps its embedding matrix."""
        names = list(self._initializers)
        return self.constant(names[-1]) if names else None

    def nodes(self) -> list[Node]:
        """The operations of the graph, in the file's order; those inside loops and branches are left out."""
        with self._looking():
            return [self._node(field) for field in self._parts if field.number == GRAPH_NODE]

    def graph(
        self,
        *,
        external: bool,
        values: Mapping[int, Sequence[bytes]] | None = None,
        inputs: Mapping[tuple[Node, int], NDArray[np.int64]] | None = None,
    ) -> bytes:
        """The model written anew.

        Args:
            external: whether weights are named by their place in this file instead of being copied.
            values: encoded ValueInfoProtos that replace the graph's inputs (11), outputs (12) or value infos (13).
            inputs: constants that single inputs of single nodes read instead of what they read before.
        """
        with self._looking():
            return self._written(external, values or {}, inputs or {})

    def values(self, number: int) -> list[bytes]:
        """The encoded ValueInfoProtos of the graph's inputs (11) or outputs (12)."""
        return [self.buffer[part.first : part.end] for part in self._parts if part.number == number]

    def _written(
        self,
        external: bool,
        replaced: Mapping[int, Sequence[bytes]],
        inputs: Mapping[tuple[Node, int], NDArray[np.int64]],
    ) -> bytes:
        nodes: dict[Field, dict[int, str]] = {}
        written: list[bytes] = []
        for count, ((node, position), constant) in enumerate(inputs.items()):
            name = f"faceflow/constant/{count}"
            written.append(_int64_tensor(name, constant))
            nodes.setdefault(node.field, {})[position] = name
        for part in self._parts:
            if part.number in replaced:
                continue
            if part in nodes:
                written.append(self._renamed(part, nodes[part]))
            elif part.number == GRAPH_INITIALIZER and external:
                written.append(self._external(part))
            else:
                written.append(self._bytes(part))
        for number, infos in replaced.items():
            written += [bytes_field(number, info) for info in infos]
        around = [
            bytes_field(MODEL_GRAPH, written) if field == self._graph else self._bytes(field)
            for field in fields(self.buffer)
        ]
        return b"".join(around)

    def _bytes(self, field: Field) -> bytes:
        return self.buffer[field.begin : field.end]

    def _external(self, tensor: Field) -> bytes:
        parts = list(fields(self.buffer, tensor.first, tensor.end))
        raw = next((part for part in parts if part.number == _TENSOR_RAW), None)
        if raw is None or raw.end - raw.first < _LEAST_EXTERNAL_BYTES:
            return self._bytes(tensor)
        place = {"location": self.path.name, "offset": str(raw.first), "length": str(raw.end - raw.first)}
        written = [self._bytes(part) for part in parts if part is not raw]
        for key, value in place.items():
            entry = bytes_field(1, key.encode()) + bytes_field(2, value.encode())
            written.append(bytes_field(_TENSOR_EXTERNAL, entry))
        written.append(varint_field(_TENSOR_LOCATION, _EXTERNAL))
        return bytes_field(GRAPH_INITIALIZER, written)

    def _renamed(self, node: Field, names: Mapping[int, str]) -> bytes:
        """A node whose inputs at some positions have other names."""
        written, position = [], 0
        for part in fields(self.buffer, node.first, node.end):
            if part.number == _NODE_INPUT:
                new = names.get(position)
                written.append(self._bytes(part) if new is None else bytes_field(_NODE_INPUT, new.encode()))
                position += 1
            else:
                written.append(self._bytes(part))
        return bytes_field(GRAPH_NODE, written)

    def _text(self, field: Field) -> str:
        return self.buffer[field.first : field.end].decode()

    def _name_of(self, tensor: Field) -> str:
        for field in fields(self.buffer, tensor.first, tensor.end):
            if field.number == _TENSOR_NAME:
                return self._text(field)
        return ""

    def _tensor(self, tensor: Field) -> NDArray[Any] | None:
        dims: list[int] = []
        kind, content = 0, None
        for field in fields(self.buffer, tensor.first, tensor.end):
            if field.number == _TENSOR_DIMS:
                dims += varints(self.buffer, field) if field.end - field.first <= _MOST_SIDES else [-1]
            elif field.number == _TENSOR_TYPE:
                kind = field.value
            elif field.number in {_TENSOR_RAW, _TENSOR_FLOATS, _TENSOR_INT64S}:
                content = field
        dtype = _DTYPES.get(kind)
        if dtype is None or content is None:
            return None
        if min(dims, default=0) < 0 or len(dims) > _MOST_SIDES:
            raise WireError("a constant has dimensions that no array can have")
        if content.number == _TENSOR_INT64S:
            flat = self._listed(tensor)
        else:
            if (content.end - content.first) % np.dtype(dtype).itemsize:
                raise WireError("a constant ends in the middle of a number")
            flat = np.frombuffer(self.buffer[content.first : content.end], dtype)
        return flat.reshape(dims) if flat.size == math.prod(dims) else None

    def _listed(self, tensor: Field) -> NDArray[np.int64]:
        parts = list(_inside(self.buffer, tensor, _TENSOR_INT64S))
        if sum(part.end - part.first for part in parts) > _MOST_LISTED_BYTES:
            raise WireError("a list of integers is too long")
        return np.array([number for part in parts for number in varints(self.buffer, part)], np.int64)

    def _values(self, number: int) -> tuple[ValueInfo, ...]:
        return tuple(self._value(part) for part in self._parts if part.number == number)

    def _value(self, info: Field) -> ValueInfo:
        name, kind = "", 0
        shape: list[int | None] = []
        for field in fields(self.buffer, info.first, info.end):
            if field.number == 1:
                name = self._text(field)
            elif field.number == 2:
                for tensor in _inside(self.buffer, field, 1):
                    kind = next((part.value for part in _inside(self.buffer, tensor, 1)), 0)
                    for part in _inside(self.buffer, tensor, 2):
                        shape = [self._side(side) for side in islice(_inside(self.buffer, part, 1), _MOST_SIDES + 1)]
        if len(shape) > _MOST_SIDES:
            raise WireError(f"{name!r} has too many dimensions")
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise WireError(f"{name!r} has an unknown element type {kind}")
        return ValueInfo(name, np.dtype(dtype), tuple(shape))

    def _side(self, dimension: Field) -> int | None:
        """A side; None where it is open, which some programs write as a number below 0."""
        stated = next(_inside(self.buffer, dimension, 1), None)
        return None if stated is None or signed(stated.value) < 0 else stated.value

    def _node(self, field: Field) -> Node:
        inputs: list[str] = []
        outputs: list[str] = []
        operation, numbers = "", dict[str, int]()
        for part in fields(self.buffer, field.first, field.end):
            if part.number == _NODE_INPUT:
                inputs.append(self._text(part))
            elif part.number == _NODE_OUTPUT:
                outputs.append(self._text(part))
            elif part.number == _NODE_OPERATION:
                operation = self._text(part)
            elif part.number == _NODE_ATTRIBUTE:
                for number in _inside(self.buffer, part, _ATTRIBUTE_NUMBER):
                    name = next(_inside(self.buffer, part, _ATTRIBUTE_NAME), None)
                    if name is not None:
                        numbers[self._text(name)] = signed(number.value)
        return Node(operation, tuple(inputs), tuple(outputs), field, numbers)


def _inside(buffer: mmap.mmap, field: Field, number: int) -> Iterator[Field]:
    return (part for part in fields(buffer, field.first, field.end) if part.number == number)


def _int64_tensor(name: str, content: NDArray[np.int64]) -> bytes:
    written = [varint_field(_TENSOR_DIMS, side) for side in content.shape]
    written += [
        varint_field(_TENSOR_TYPE, 7),
        bytes_field(_TENSOR_NAME, name.encode()),
        bytes_field(_TENSOR_RAW, np.ascontiguousarray(content, "<i8").tobytes()),
    ]
    return bytes_field(GRAPH_INITIALIZER, written)
