"""Settings of what decisions take their facts from: how rules are followed, who measures what, what clouds ask."""

from __future__ import annotations

from pydantic import Field, SecretStr

from faceflow.infrastructure.routing_settings import SettingsWithRouting
from faceflow.setting_group import Group, Names, Place


class RuleSourceSettings(Group):
    """How the source of routing rules is asked and followed."""

    timeout_s: float = Field(default=3.0, gt=0, le=60)
    """Longest wait for an answer of the source, seconds. Then the last good rules hold."""
    poll_s: float = Field(default=0.3, ge=0.05, le=60)
    """How often a file or a Prefect block is looked at, seconds. etcd and Consul say by themselves what changed."""
    check_s: float = Field(default=10.0, ge=0.5, le=600)
    """How often a source that is silent is asked whether it still lives, seconds."""
    etcd_user: str | None = None
    """User name for etcd, where it asks for one."""
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
    """Live signals for routing: who is asked, and for how long."""

    deadline_s: float = Field(default=3.0, gt=0, le=60)
    """Longest time that all signals together may take, seconds; what is late is missing."""
    prefect: bool = True
    """Whether the Prefect server is asked for paused pools, queues and free places."""
    prefect_ttl_s: float = Field(default=3.0, ge=0, le=600)
    """How long what Prefect said is used, seconds."""
    arrival_window_s: float = Field(default=600.0, ge=10, le=86_400)
    """Over how long arriving work is counted for the peak load, seconds."""


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
    """Base address of the server, such as `http://prometheus:9090`. Without it nothing is asked."""
    token: SecretStr | None = None
    """Bearer token, where the server asks for one."""
    free_gpus_query: str = _FREE_GPUS
    """GPUs that could start a job now, for each pool: those of ready nodes, less what pods have asked for."""
    utilisation_query: str = _UTILISATION
    """Share of time in which GPUs work, 0 to 1, for each pool. Shown to people; no rule reads it."""
    queue_depth_query: str = ""
    """Jobs that wait, for each pool. Empty: Prefect is asked."""
    peak_load_query: str = ""
    """Arriving work over what the owned GPUs can do, one value. Empty: reckoned from the jobs that arrived."""
    age_query: str = _AGE
    """Age of the samples, seconds; for each pool, or one value for all. Prometheus itself does not say it. Empty: they
    count as new."""
    pool_label: str = "pool"
    """Label by which the queries tell pools apart."""
    pools: dict[str, str] = Field(default_factory=dict)
    """Name of the pool by value of that label, where they differ, as JSON: `{"gpu-a": "private-k8s"}`."""
    ttl_s: float = Field(default=5.0, ge=0, le=600)
    """How long what Prometheus said is used, seconds."""


class PriceSettings(Group):
    """Spot prices of clouds. Where none is asked, or none answers, the list price of the pool is reckoned with."""

    ec2: bool = False
    """Whether EC2's spot price history is asked for the spot pools of the provider `aws`. Needs the extra `aws` and the
    permission `ec2:DescribeSpotPriceHistory`."""
    ec2_region: str = "us-east-1"
    """Region of pools that `regions` does not name."""
    ec2_zones: Names = ()
    """Availability zones that count, with commas; empty: all of the region. The dearest is reckoned with."""
    azure: bool = False
    """Whether Azure's public price list is asked for the spot pools of the provider `azure`."""
    azure_region: str = "eastus"
    """Region of pools that `regions` does not name."""
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
