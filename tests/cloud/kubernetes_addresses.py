"""Addresses for pods and services: 127.1.N.2 and on, N being the cluster's own, so that clusters do not meet."""

from __future__ import annotations

import socket
from itertools import cycle

_MARK = 4199
"""Port on 127.1.N.1 that a living cluster holds."""


class Addresses:
    """A network of 252 addresses, each given once before any is given again."""

    def __init__(self) -> None:
        for number in range(1, 255):
            self._mark = socket.socket()
            try:
                self._mark.bind((f"127.1.{number}.1", _MARK))
            except OSError:
                self._mark.close()
            else:
                self.network = f"127.1.{number}.0/24"
                self._free = cycle(f"127.1.{number}.{host}" for host in range(2, 254))
                return
        raise OSError("each network of 127.1.0.0/16 belongs to a cluster already")

    def next(self) -> str:
        return next(self._free)

    def close(self) -> None:
        self._mark.close()
