"""Containers that stand for the pods of a StatefulSet: the same image, environment, user, names,
probes and rights, on a network like a cluster's. What no cluster here can prove, they do."""

import json
import pathlib
import re
import tempfile
from collections.abc import Callable

import manifests
import topology
from harness import Broken, until

NETWORK = f"{topology.PROJECT}-pods"
SUBNET = "10.244.77"


def alive(overlay: pathlib.Path, lives: "Callable[[Pods], str]") -> str:
    """What comes of the life of an overlay's pods, of which nothing is left."""
    topology.remove_pods()
    topology.command("docker", "network", "create", "--subnet", f"{SUBNET}.0/24", NETWORK)
    with tempfile.TemporaryDirectory(prefix="ensemble-pods-") as folder:
        group = Pods(manifests.render(overlay), pathlib.Path(folder))
        try:
            return lives(group)
        except Exception as error:  # whatever it is, the pods know more
            raise Broken(f"{error}\n{group.last_logs()}") from error
        finally:
            topology.remove_pods()


class Pods:
    """The pods of one StatefulSet, or of one Deployment."""

    def __init__(self, resources: list[dict], volumes: pathlib.Path):
        self.volumes = volumes
        self.set = manifests.workloads(resources)[0]
        self.spec = manifests.pod(self.set)
        self.container = self.spec["containers"][0]
        self.service = self.set["spec"].get("serviceName", self.set["metadata"]["name"])

    @classmethod
    def beside(cls, overlay: pathlib.Path) -> "Pods":
        """Those of another overlay, which keep nothing, in the cluster that is there."""
        return cls(manifests.render(overlay), pathlib.Path("/nowhere"))

    def name(self, ordinal: int) -> str:
        """The name of a pod."""
        return f"{self.set['metadata']['name']}-{ordinal}"

    def docker_name(self, ordinal: int) -> str:
        """The name of its container."""
        return f"{topology.PROJECT}-pod-{self.name(ordinal)}"

    def environment(self, ordinal: int, address: str) -> dict[str, str]:
        """The variables of a pod, with references replaced."""
        fields = {"metadata.name": self.name(ordinal), "status.podIP": address}
        found: dict[str, str] = {}
        for each in self.container["env"]:
            source = each.get("valueFrom", {})
            if source.get("secretKeyRef", {}).get("optional"):
                continue
            if source:
                found[each["name"]] = fields[source["fieldRef"]["fieldPath"]]
            else:
                known = dict(found)
                found[each["name"]] = re.sub(
                    r"\$\((\w+)\)", lambda name, known=known: known[name[1]], each["value"]
                )
        return found

    def volume(self, ordinal: int, claim: str) -> pathlib.Path:
        """What a freshly formatted disk is, once its group is that of the pod."""
        path = self.volumes / f"{claim}-{self.name(ordinal)}"
        if not path.exists():
            (path / "lost+found").mkdir(parents=True, mode=0o700)
            topology.command("chown", f"0:{self.spec['securityContext']['fsGroup']}", str(path))
            path.chmod(0o2775)
        return path

    def start(self, ordinal: int, last: int) -> None:
        """Starts a pod, at an address that ends so."""
        address, security = f"{SUBNET}.{last}", self.spec["securityContext"]
        port = self.container["ports"][0]["containerPort"]
        mounts = [
            f"{self.volume(ordinal, each['name'])}:{each['mountPath']}"
            for each in self.container.get("volumeMounts", [])
        ]
        options = {
            "--name": self.docker_name(ordinal),
            "--label": f"{topology.PROJECT}=pod",
            "--hostname": self.name(ordinal),
            "--network": NETWORK,
            "--network-alias": f"{self.name(ordinal)}.{self.service}",
            "--ip": address,
            "--publish": f"127.0.0.1::{port}",
            "--user": f"{security['runAsUser']}:{security['runAsGroup']}",
            "--cap-drop": "ALL",
            "--security-opt": "no-new-privileges:true",
            "--memory": self.container["resources"]["limits"]["memory"].removesuffix("i"),
        }
        words = [word for pair in options.items() for word in pair]
        words += ["--network-alias", self.service]
        words += [word for each in mounts for word in ("--volume", each)]
        for name, value in self.environment(ordinal, address).items():
            words += ["--env", f"{name}={value}"]
        image = self.container["image"]
        topology.command("docker", "run", "--detach", "--read-only", *words, image)

    def stop(self, ordinal: int) -> int:
        """Ends a pod as Kubernetes does, and tells its exit code; its volume stays."""
        name, grace = self.docker_name(ordinal), self.spec["terminationGracePeriodSeconds"]
        topology.command("docker", "stop", "--time", str(grace), name)
        code = topology.command("docker", "inspect", "--format", "{{.State.ExitCode}}", name)
        topology.command("docker", "rm", name)
        return int(code)

    def crash(self, *ordinals: int) -> None:
        """Kills the processes of some pods at once."""
        names = [self.docker_name(each) for each in ordinals]
        topology.command("docker", "kill", *names)

    def revive(self, ordinal: int) -> None:
        """Starts the process of a pod again, in the same pod."""
        topology.command("docker", "start", self.docker_name(ordinal))

    def port(self, ordinal: int) -> int:
        """Where it is reached from here."""
        name = self.docker_name(ordinal)
        found = json.loads(topology.command("docker", "inspect", name))[0]
        return int(next(iter(found["NetworkSettings"]["Ports"].values()))[0]["HostPort"])

    def passes(self, ordinal: int, probe: str) -> bool:
        """Whether a probe of its passes."""
        command = self.container[probe]["exec"]["command"]
        try:
            topology.command("docker", "exec", self.docker_name(ordinal), *command)
        except RuntimeError:
            return False
        return True

    def ready(self, ordinal: int) -> int:
        """Waits until a pod is ready, and tells its port."""
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            name = self.name(ordinal)
            until(f"{probe} of {name} passes", 30, lambda it=probe: self.passes(ordinal, it))
        return self.port(ordinal)

    def logs(self, ordinal: int) -> str:
        """Every line that a pod has written."""
        return topology.command("docker", "logs", self.docker_name(ordinal))

    def last_logs(self) -> str:
        """The last lines of every pod there is."""
        found = []
        for ordinal in range(9):
            name = self.docker_name(ordinal)
            lines = topology.command("docker", "logs", "--tail", "8", name, fails=True)
            found += [f"    {self.name(ordinal)}: {line[:300]}" for line in lines.splitlines()]
        return "\n".join(found)
