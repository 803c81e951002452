"""The sources that the settings name, in the order in which they count."""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.sources.signals.arriving_work_source import Arrivals, ArrivingWorkSource
from faceflow.infrastructure.sources.signals.azure_retail_source import AzureRetailSource
from faceflow.infrastructure.sources.signals.board import SignalBoard
from faceflow.infrastructure.sources.signals.cache import SignalCache
from faceflow.infrastructure.sources.signals.ec2_spot_source import Ec2SpotSource
from faceflow.infrastructure.sources.signals.prometheus_source import PrometheusSource
from faceflow.infrastructure.sources.signals.signal_source import Figure, SignalSource
from faceflow.infrastructure.sources.source_settings import PriceSettings, PrometheusSettings, SettingsWithSources


def signal_board(
    settings: SettingsWithSources, pools: Pools, *, arrivals: Arrivals | None = None, first: Sequence[SignalSource] = ()
) -> SignalBoard:
    """The board with every source that the settings name, sharing its readings through the state folder.

    Args:
        settings: `signals`, `prometheus` and `prices` say who is asked.
        pools: what is asked about.
        arrivals: who knows what work arrived lately, for the peak load; None: only Prometheus may know.
        first: further sources, which count before the others.
    """
    return SignalBoard(
        [*first, *configured_sources(settings, arrivals)],
        pools,
        deadline_s=settings.signals.deadline_s,
        cache=SignalCache(settings.paths.state / "signals"),
    )


def configured_sources(settings: SettingsWithSources, arrivals: Arrivals | None = None) -> list[SignalSource]:
    """The sources that the settings name."""
    deadline_s = settings.signals.deadline_s
    sources: list[SignalSource] = []
    if settings.prometheus.url:
        sources.append(_prometheus(settings.prometheus, settings.prometheus.url, deadline_s))
    if settings.signals.prefect:
        from faceflow.infrastructure.sources.signals.prefect_source import PrefectSource  # noqa: PLC0415 (imports Prefect: 2 s)

        sources.append(PrefectSource(ttl_s=settings.signals.prefect_ttl_s))
    sources += _prices(settings.prices, deadline_s)
    if arrivals is not None:
        sources.append(ArrivingWorkSource(arrivals, settings.signals.arrival_window_s))
    return sources


def _prometheus(settings: PrometheusSettings, url: str, deadline_s: float) -> PrometheusSource:
    return PrometheusSource(
        url=url,
        queries={
            Figure.FREE_GPUS: settings.free_gpus_query,
            Figure.UTILISATION: settings.utilisation_query,
            Figure.QUEUE_DEPTH: settings.queue_depth_query,
            Figure.PEAK_LOAD: settings.peak_load_query,
        },
        age_query=settings.age_query,
        pool_label=settings.pool_label,
        pool_names=settings.pools,
        ttl_s=settings.ttl_s,
        timeout_s=deadline_s,
        token=None if settings.token is None else settings.token.get_secret_value(),
    )


def _prices(settings: PriceSettings, deadline_s: float) -> list[SignalSource]:
    found: list[SignalSource] = []
    if settings.ec2:
        found.append(
            Ec2SpotSource(
                region=settings.ec2_region,
                regions=settings.regions,
                zones=settings.ec2_zones,
                gpus_per_machine=settings.gpus_per_machine,
                ttl_s=settings.ttl_s,
                timeout_s=deadline_s,
            )
        )
    if settings.azure:
        found.append(
            AzureRetailSource(
                region=settings.azure_region,
                regions=settings.regions,
                gpus_per_machine=settings.gpus_per_machine,
                url=settings.azure_url,
                ttl_s=settings.ttl_s,
                timeout_s=deadline_s,
            )
        )
    return found
