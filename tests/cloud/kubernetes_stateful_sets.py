"""The controller of StatefulSets: pods with a number each, and volume claims that stay when pods and sets go.

A pod is made when the one before it is ready, and again under its name when it has gone; a changed template ends the
old pods one after the other, the last first. Claims belong to nobody, as where a set says nothing of their retention.
"""

from __future__ import annotations

from tests.cloud.kubernetes_controllers import Controller
from tests.cloud.kubernetes_objects import CLAIMS, PODS, STATEFUL_SETS, Thing
from tests.cloud.kubernetes_services import is_ready


class StatefulSets(Controller):
    """One thread that brings pods to what StatefulSets say."""

    plural = STATEFUL_SETS
    label = "controller-revision-hash"

    def bring(self, owner: Thing) -> None:
        wanted = owner["spec"]["replicas"]
        pods = self.cluster.pods_of(owner)
        ready = sum(is_ready(pod) for pod in pods)
        self.tell(owner, {"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready})
        if ready < len(pods):
            return
        numbered = {pod["metadata"]["name"]: pod for pod in pods}
        names = [f"{owner['metadata']['name']}-{number}" for number in range(wanted)]
        for name in names:
            if name not in numbered:
                self._create(owner, name)
                return
        for name in sorted(numbered, reverse=True):
            if name not in names or not self.is_current(owner, numbered[name]):
                self.end_pod(numbered[name])
                return

    def _create(self, owner: Thing, name: str) -> None:
        namespace, volumes = owner["metadata"]["namespace"], []
        for template in owner["spec"].get("volumeClaimTemplates", ()):
            volume = template["metadata"]["name"]
            claim = f"{volume}-{name}"
            if (namespace, claim) not in self.cluster.things[CLAIMS]:
                labels = owner["spec"]["selector"]["matchLabels"]
                self.cluster.create(CLAIMS, {**template, "metadata": {"name": claim, "labels": labels}}, namespace)
            volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": claim}})
        if (namespace, name) not in self.cluster.things[PODS]:
            self.create_pod(owner, {"name": name}, volumes)
