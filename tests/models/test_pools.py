"""Which models a pool needs: the settings say it, or the list of pools."""

from __future__ import annotations

import pytest

from faceflow.errors import JobError
from faceflow.infrastructure.models.pools import models_of_pool
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing_settings import RoutingSettings
from faceflow.infrastructure.settings import Settings
from faceflow.settings import ModelSettings

LIST = """
pools:
  - {name: gpu, zone: private, capacity: owned, gpus: 2, price_usd_per_gpu_hour: 0.1, models: [net, two]}
  - {name: other, zone: public, capacity: owned, gpus: 2, price_usd_per_gpu_hour: 0.1}
"""


def settings(path=None, **named) -> Settings:
    return Settings(models=ModelSettings(pools=named), routing=RoutingSettings(pools=path))


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "pools.yaml"
    path.write_text(LIST)
    return path


def test_the_settings_come_before_the_list(listed):
    assert models_of_pool("gpu", settings(listed)) == ("net", "two")
    assert models_of_pool("gpu", settings(listed, gpu=("one",))) == ("one",)
    assert models_of_pool("gpu", settings(gpu=())) == ()


@pytest.mark.parametrize("pool", ["other", "nobody"])
def test_a_pool_of_which_nothing_is_said(listed, pool):
    with pytest.raises(JobError) as caught:
        models_of_pool(pool, settings(listed, third=("net",)))
    assert caught.value.code == "job.pool_unknown"
    assert caught.value.fields["known"] == ["gpu", "third"]


@pytest.mark.parametrize(("text", "code"), [(None, "policy.unreadable"), ("pools: [{name: gpu}]", "policy.invalid")])
def test_a_list_that_cannot_be_used(tmp_path, text, code):
    path = tmp_path / "pools.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PolicyError) as caught:
        models_of_pool("gpu", settings(path))
    assert caught.value.code == code
