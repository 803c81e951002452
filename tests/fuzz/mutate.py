"""Strikes a whole clip: one to four mutations, all of them told by the container, the seed and the number of the case.

Half of the strikes go at the numbers of headers (see `layout`), the rest at parts of the file and at plain bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.bases import CONTAINERS, bases, layout_of
from tests.fuzz.layout import Block, Field, Layout

_MENDED = 0.8
"""Share of the cases whose checksums and outer sizes fit again, so that a demuxer reads on behind them."""
_EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 255, 256, 1000, 32767, 32768, 65535, 65536, 90000)
_LONGEST_INSERT = 64


@dataclass(slots=True)
class _Struck:
    """A file that is being mutated, and what is still known of its layout."""

    data: bytearray
    layout: Layout
    others: Sequence[bytes]
    random: Random
    mended: bool


def case(folder: Path, container: str, seed: int, number: int) -> bytes:
    """The bytes of one case. Its clips lie in `folder` (`make_bases`)."""
    random = Random(f"{container}/{seed}/{number}")
    kind = CONTAINERS[container]
    clips = bases(folder, container)
    chosen = random.randrange(len(clips))
    others = clips if random.random() < 0.8 else bases(folder, random.choice(list(CONTAINERS)))
    return strike(random, clips[chosen], layout_of(folder, container, chosen), others, kind.layout, kind.checked)


def strike(
    random: Random,
    whole: bytes,
    layout: Layout,
    others: Sequence[bytes],
    layout_of_it: Callable[[bytes], Layout],
    checked: Callable[[bytearray], None] | None,
) -> bytes:
    """A whole file with one to four mutations, all drawn from `random`.

    Args:
        random: tells everything that is done.
        whole: the file.
        layout: its numbers and parts.
        others: files that it may be spliced with.
        layout_of_it: reads the layout again after its length has changed.
        checked: mends checksums, where the format has some.
    """
    struck = _Struck(bytearray(whole), layout, others, random, random.random() < _MENDED)
    strikes = random.choices((1, 2, 3, 4), (6, 2, 1, 1))[0]
    for _ in range(strikes):
        one = random.choices(_STRIKES, _WEIGHTS)[0]
        before = len(struck.data)
        one(struck)
        if len(struck.data) != before:  # places after it are no longer known: the layout is read again
            struck.layout = layout_of_it(bytes(struck.data))
    if struck.mended and checked is not None:
        checked(struck.data)
    return bytes(struck.data)


def _field(struck: _Struck) -> Field | None:
    names = sorted({field.name for field in struck.layout.fields})
    if not names:
        return None
    name = struck.random.choice(names)
    return struck.random.choice([field for field in struck.layout.fields if field.name == name])


def _set_number(struck: _Struck) -> None:
    """Writes a value at the edge of what a number can be."""
    field = _field(struck)
    if field is None:
        return
    old, bits, random = field.read(struck.data), 8 * field.size, struck.random
    top = 1 << bits
    value = random.choice(
        (
            *_EDGES, top - 1, top - 2, top // 2, top // 2 - 1, top // 2 + 1, top // 4, top // 8, top // 16,
            top - 1000, old + 1, old - 1, old * 2, old // 2, old ^ 1 << random.randrange(bits),
            random.randrange(top), len(struck.data), len(struck.data) + 1, -old,
        )
    )  # fmt: skip
    field.write(struck.data, value)


def _set_several(struck: _Struck) -> None:
    """The same edge in every number of one name, or in a row of them: a whole table that lies."""
    field = _field(struck)
    if field is None:
        return
    named = [other for other in struck.layout.fields if other.name == field.name]
    start = struck.random.randrange(len(named))
    value = struck.random.choice((*_EDGES, -1, 1 << 31, (1 << 31) - 1, (1 << 63) - 1, 1 << 63))
    for other in named[start : start + struck.random.randint(2, 12)]:
        other.write(struck.data, value)


def _swap_numbers(struck: _Struck) -> None:
    one, other = _field(struck), _field(struck)
    if one is None or other is None:
        return
    values = one.read(struck.data), other.read(struck.data)
    one.write(struck.data, values[1])
    other.write(struck.data, values[0])


def _flip_bits(struck: _Struck) -> None:
    data = struck.data
    for _ in range(struck.random.choice((1, 1, 2, 8, 40)) if data else 0):
        data[struck.random.randrange(len(data))] ^= 1 << struck.random.randrange(8)


def _flip_in_head(struck: _Struck) -> None:
    if struck.data:
        struck.data[struck.random.randrange(min(len(struck.data), 1024))] = struck.random.choice((0, 1, 127, 128, 255))


def _overwrite(struck: _Struck) -> None:
    """Fills a stretch with noughts, ones or noise."""
    begin, end = _stretch(struck)
    noise = struck.random.choice((bytes, lambda n: b"\xff" * n, struck.random.randbytes))
    struck.data[begin:end] = noise(end - begin)


def _insert(struck: _Struck) -> None:
    place = struck.random.randint(0, len(struck.data))
    struck.data[place:place] = struck.random.randbytes(struck.random.randint(1, _LONGEST_INSERT))


def _cut_off(struck: _Struck) -> None:
    """Ends the file early: anywhere, or at the border of a part, or a byte beside it."""
    random = struck.random
    places = [block.begin for block in struck.layout.blocks] + [block.end for block in struck.layout.blocks]
    at_border = places and random.random() < 0.6
    place = (
        random.choice(places) + random.choice((-1, 0, 0, 1, 4, 8)) if at_border else random.randint(0, len(struck.data))
    )
    del struck.data[max(0, place) :]


def _cut_out(struck: _Struck) -> None:
    block = _block(struck)
    if block is not None:
        _replace(struck, block, b"")


def _double(struck: _Struck) -> None:
    block = _block(struck)
    if block is not None:
        _replace(struck, block, bytes(struck.data[block.begin : block.end]) * struck.random.choice((2, 2, 3, 20)))


def _transplant(struck: _Struck) -> None:
    """Puts one part in the place of another."""
    block, other = _block(struck), _block(struck)
    if block is not None and other is not None:
        _replace(struck, block, bytes(struck.data[other.begin : other.end]))


def _splice(struck: _Struck) -> None:
    """Goes on with another clip, from a place near the same one."""
    random, other = struck.random, struck.random.choice(struck.others)
    place = random.randint(0, len(struck.data))
    from_ = random.choice((place, random.randint(0, len(other)), 0))
    struck.data[place:] = other[from_:]


def _block(struck: _Struck) -> Block | None:
    names = sorted({block.name for block in struck.layout.blocks})
    if not names:
        return None
    name = struck.random.choice(names)
    return struck.random.choice([block for block in struck.layout.blocks if block.name == name])


def _replace(struck: _Struck, block: Block, new: bytes) -> None:
    grown = len(new) - (block.end - block.begin)
    if struck.mended:
        for size in block.around:
            size.write(struck.data, size.read(struck.data) + grown)
    struck.data[block.begin : block.end] = new


def _stretch(struck: _Struck) -> tuple[int, int]:
    block = _block(struck) if struck.random.random() < 0.5 else None
    if block is not None:
        return block.begin, min(block.end, len(struck.data))
    begin = struck.random.randint(0, len(struck.data))
    return begin, min(len(struck.data), begin + struck.random.choice((1, 2, 4, 8, 64, 512)))


_WEIGHTED: dict[Callable[[_Struck], None], int] = {
    _set_number: 40,
    _set_several: 8,
    _swap_numbers: 4,
    _flip_bits: 8,
    _flip_in_head: 4,
    _overwrite: 5,
    _insert: 3,
    _cut_off: 7,
    _cut_out: 7,
    _double: 6,
    _transplant: 4,
    _splice: 4,
}
_STRIKES, _WEIGHTS = list(_WEIGHTED), list(_WEIGHTED.values())
