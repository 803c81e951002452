"""Memory that is used again: never by two who need it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from faceflow.infrastructure.settings import Settings
from faceflow.settings import EngineSettings
from faceflow.vision.neural.pixels import to_tensor
from faceflow.vision.runtime.networks import open_network, release_networks
from faceflow.vision.runtime.scratch import release_scratch, scratch_array
from tests.engines.graphs import styled
from tests.engines.test_runtime import feeds

HALF = (0.5, 0.5, 0.5)


def test_the_same_name_gives_the_same_memory_and_others_give_others():
    one = scratch_array("one", (2, 3))
    assert np.shares_memory(one, scratch_array("one", (5,)))
    assert not np.shares_memory(one, scratch_array("other", (2, 3)))
    assert not np.shares_memory(one, scratch_array("one", (2, 3), np.float16))
    assert scratch_array("one", (100, 100)).shape == (100, 100)
    release_scratch()
    assert not np.shares_memory(one, scratch_array("one", (2, 3)))


def test_threads_do_not_share_it():
    barrier = Barrier(4)

    def work(number):
        picture = np.full((64, 64, 3), number, np.uint8)
        for _ in range(20):
            tensor = to_tensor([picture], HALF, HALF)
            barrier.wait(30)  # everybody has written
            assert (tensor == np.float32((number / 255 - 0.5) / 0.5)).all()
            barrier.wait(30)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))


def test_outputs_that_are_not_to_be_reused_stay_what_they_are(tmp_path):
    path = styled(tmp_path / "a.onnx")
    try:
        for batch in (1, 4):
            network = open_network(path, "a", Settings(engine=EngineSettings(threads=1, batch=batch)))
            inputs = feeds(4)
            kept = network.run(inputs)[0]
            before = kept.copy()
            again = network.run(inputs, reuse=True)[0]
            assert np.array_equal(again, before)
            network.run({name: array[::-1] for name, array in inputs.items()}, reuse=True)
            assert np.array_equal(kept, before)
    finally:
        release_networks()
