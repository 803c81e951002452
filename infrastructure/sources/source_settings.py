"""Settings of what decisions take their facts from: how rules are followed, who measures what, what clouds ask."""

from __future__ import annotations

from pydantic import Field, SecretStr

from faceflow.infrastructure.routing_settings import SettingsWithRouting
from faceflow.setting_group import Group, Names, Place


class RuleSourceSettings(Group):
    """How faceflow reads and follows the source of the routing rules."""

    timeout_s: float = Field(default=3.0, gt=0, le=60)
    """Longest wait for an answer from the source, seconds. After that, the last valid rules apply."""
    poll_s: float = Field(default=0.3, ge=0.05, le=60)
    """How often faceflow reads a file or a Prefect block, seconds. etcd and Consul push their changes."""
    check_s: float = Field(default=10.0, ge=0.5, le=600)
    """How often faceflow checks that a silent source is still alive, seconds."""
    etcd_user: str | None = None
    """User name for etcd, if it requires one."""
    etcd_password: SecretStr | None = None
    """Password for etcd."""
    consul_token: SecretStr | None = None
    """Access token for Consul."""
    tls_authority: Place | None = None
    """Certificates of the authority that signed the store's certificate (PEM). Default: the machine's."""
    tls_certificate: Place | None = None
    """Client certificate for the store (PEM)."""
    tls_key: Place | None = None
    """Private key of the client certificate (PEM)."""


class SignalSettings(Group):
    """Live signals for routing: sources and time limits."""

    deadline_s: float = Field(default=3.0, gt=0, le=60)
    """Longest time for gathering all signals, seconds; late signals count as missing."""
    prefect: bool = True
    """Whether to query the Prefect server for paused pools, queues and free slots."""
    prefect_ttl_s: float = Field(default=3.0, ge=0, le=600)
    """How long an answer from Prefect is used, seconds."""
    arrival_window_s: float = Field(default=600.0, ge=10, le=86_400)
    """The time window over which arriving work is counted for the peak load, seconds."""


_NODE_POOLS = 'label_replace(kube_node_labels{label_faceflow_pool!=""}, "pool", "$1", "label_faceflow_pool", "(.+)")'
_FREE_GPUS = (
    'sum by (pool) ((kube_node_status_allocatable{resource="nvidia_com_gpu"}'
    " and on (node) (kube_node_spec_unschedulable == 0)"
    ' and on (node) (kube_node_status_condition{condition="Ready", status="true"} == 1))'
    f" * on (node) group_left (pool) {_NODE_POOLS})"
    ' - (sum by (pool) (kube_pod_container_resource_requests{resource="nvidia_com_gpu"}'
    ' * on (namespace, pod) group_left () (kube_pod_status_phase{phase=~"Pending|Running"} == 1)'
    f" * on (node) group_left (pool) {_NODE_POOLS})"
    ' or sum by (pool) (0 * kube_node_status_allocatable{resource="nvidia_com_gpu"}'
    f" * on (node) group_left (pool) {_NODE_POOLS}))"
)
_UTILISATION = (
    'avg by (pool) (label_replace(DCGM_FI_DEV_GPU_UTIL, "node", "$1", "Hostname", "(.+)") / 100'
    f" * on (node) group_left (pool) {_NODE_POOLS})"
)
_AGE = 'max(time() - timestamp(kube_node_status_allocatable{resource="nvidia_com_gpu"}))'


class PrometheusSettings(Group):
    """Signals from a Prometheus server.

    The queries are written for kube-state-metrics and NVIDIA's DCGM exporter. Nodes carry the label `faceflow/pool`,
    which kube-state-metrics shows with `--metric-labels-allowlist=nodes=[faceflow/pool]`.
    """

    url: str | None = None
    """Base address of the server, such as `http://prometheus:9090`. Without it, Prometheus is not queried."""
    token: SecretStr | None = None
    """Bearer token, if the server requires one."""
    free_gpus_query: str = _FREE_GPUS
    """GPUs that could start a job now, for each pool: those of ready nodes, minus those requested by pods."""
    utilisation_query: str = _UTILISATION
    """Share of time in which GPUs work, 0 to 1, for each pool. Shown to people; no rule reads it."""
    queue_depth_query: str = ""
    """Waiting jobs, for each pool. If empty, faceflow queries Prefect."""
    peak_load_query: str = ""
    """Arriving work divided by the capacity of the owned GPUs, one value. If empty, faceflow computes it from the
    arrived jobs."""
    age_query: str = _AGE
    """Age of the samples, seconds; for each pool, or one value for all. Prometheus itself does not report it. If empty,
    samples count as new."""
    pool_label: str = "pool"
    """The label of the queries that contains the pool."""
    pools: dict[str, str] = Field(default_factory=dict)
    """The pool's name for each value of that label, if they differ, as JSON: `{"gpu-a": "private-k8s"}`."""
    ttl_s: float = Field(default=5.0, ge=0, le=600)
    """How long an answer from Prometheus is used, seconds."""


class PriceSettings(Group):
    """Spot prices of clouds. Without a source or an answer, the pool's list price counts."""

    ec2: bool = False
    """Whether to query EC2's spot price history for the spot pools of the provider `aws`. Needs the extra `aws` and the
    permission `ec2:DescribeSpotPriceHistory`."""
    ec2_region: str = "us-east-1"
    """Region of pools that are not in `regions`."""
    ec2_zones: Names = ()
    """Availability zones that count, separated by commas; empty: all of the region. The most expensive one counts."""
    azure: bool = False
    """Whether to query Azure's public price list for the spot pools of the provider `azure`."""
    azure_region: str = "eastus"
    """Region of pools that are not in `regions`."""
    azure_url: str = "https://prices.azure.com/api/retail/prices"
    """Address of the price list."""
    regions: dict[str, str] = Field(default_factory=dict)
    """Region by pool, as JSON: `{"aws-g4dn-spot": "eu-central-1"}`."""
    gpus_per_machine: dict[str, int] = Field(default_factory=dict)
    """GPUs of machine types that faceflow does not know, as JSON: `{"g7.12xlarge": 4}`."""
    ttl_s: float = Field(default=120.0, ge=0, le=86_400)
    """How long a price is used, seconds. Keep it well below `max_signal_age_s` of the rules."""


class SettingsWithSources(SettingsWithRouting):
    """The settings of rules and signals."""

    rule_source: RuleSourceSettings = Field(default_factory=RuleSourceSettings)
    signals: SignalSettings = Field(default_factory=SignalSettings)
    prometheus: PrometheusSettings = Field(default_factory=PrometheusSettings)
    prices: PriceSettings = Field(default_factory=PriceSettings)
