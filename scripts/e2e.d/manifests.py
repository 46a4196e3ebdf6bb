"""What is wrong with Kubernetes manifests: by the schemas of its API, and by what no schema says.

The API server accepts a StatefulSet whose pods can never run: it looks at their template when it
makes them. So it is looked at here.
"""

import functools
import pathlib
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import topology
import yaml
from harness import Broken

# The oldest Kubernetes in which all that is used is there by default; newer ones are tried too.
OLDEST = (1, 29)
ROLE = "/role"
# How pods of a StatefulSet are named: set, ordinal, headless Service and port.
POD = re.compile(r"([a-z][a-z-]*)-(\d+)\.([a-z-]+):(\d+)")
# The longest time, in seconds, from a pod's wish to stop to its end.
GRACE_LIMIT = 60
# Whoever says nothing gets these.
HARDENED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def overlays() -> list[pathlib.Path]:
    """Every overlay there is."""
    return sorted(path.parent for path in pathlib.Path("k8s/overlays").glob("*/kustomization.yaml"))


def render(overlay: pathlib.Path) -> list[dict]:
    """The resources of an overlay, as `kubectl apply -k` sends them."""
    return [each for each in yaml.safe_load_all(rendered(overlay)) if each]


@functools.cache
def rendered(overlay: pathlib.Path) -> str:
    """The same as text."""
    installed = f"{sys.prefix}/bin/kubectl"
    for command in ([installed, "kustomize"], ["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            result = subprocess.run(
                [*command, str(overlay)], capture_output=True, text=True, timeout=60
            )
            if result.returncode != 0:
                raise Broken(f"{' '.join(command)} {overlay}: {result.stderr.strip()}")
            return result.stdout
    raise Broken("there is no kubectl and no kustomize to render with: scripts/tools installs one")


@functools.cache
def versions() -> list[str]:
    """The versions of Kubernetes whose schemas are asked."""
    known = kubernetes_validate.utils.all_versions()
    return [each for each in known if tuple(map(int, each.split(".")[:2])) >= OLDEST]


@functools.cache
def services_of_roles() -> set[str]:
    """Every gRPC service that a role may be asked the health of."""
    found = set()
    for file in pathlib.Path("proto").rglob("*.proto"):
        text = file.read_text()
        if package := re.search(r"^package (\S+);", text, re.MULTILINE):
            found |= {f"{package[1]}.{it}" for it in re.findall(r"^service (\w+)", text, re.M)}
    return found


@functools.cache
def images() -> set[str]:
    """Every image that compose.yaml builds."""
    return {each["image"] for each in topology.description(*topology.OURS)["services"].values()}


def problems(resources: list[dict], asked: list[str]) -> list[str]:
    """All that is wrong, by these versions of Kubernetes."""
    return [*by_schema(resources, asked), *by_names(resources), *by_sense(resources)]


def by_schema(resources: list[dict], asked: list[str]) -> list[str]:
    """What the API of some version does not know, or knows otherwise."""
    found = {}
    for each in resources:
        for version in asked:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = ".".join(map(str, error.path))
                found.setdefault(f"{name_of(each)}: {path}: {error.message}", version)
            except kubernetes_validate.SchemaNotFoundError as error:
                found.setdefault(f"{name_of(each)}: {error.message}", version)
    return [f"Kubernetes {version}: {problem}" for problem, version in found.items()]


def name_of(resource: dict) -> str:
    """Kind and name."""
    return f"{resource['kind']} {resource['metadata']['name']}"


def of_kind(resources: list[dict], *kinds: str) -> list[dict]:
    """The resources of these kinds."""
    return [each for each in resources if each["kind"] in kinds]


def workloads(resources: list[dict]) -> list[dict]:
    """Whatever makes pods."""
    return of_kind(resources, "StatefulSet", "Deployment", "DaemonSet", "Job")


def labels(workload: dict) -> dict[str, str]:
    """The labels of its pods."""
    return workload["spec"]["template"]["metadata"].get("labels", {})


def pod(workload: dict) -> dict:
    """What its pods are."""
    return workload["spec"]["template"]["spec"]


def selected(resources: list[dict], selector: dict) -> list[dict]:
    """The workloads whose pods bear all these labels; an empty selector selects none here."""
    return [
        it for it in workloads(resources) if selector and selector.items() <= labels(it).items()
    ]


def ports(workload: dict) -> dict[str | int, int]:
    """The ports of its containers, by name and by number."""
    found: dict[str | int, int] = {}
    for container in pod(workload)["containers"]:
        for port in container.get("ports", []):
            found[port["containerPort"]] = port["containerPort"]
            if "name" in port:
                found[port["name"]] = port["containerPort"]
    return found


def by_names(resources: list[dict]) -> list[str]:
    """Names that name nothing: namespaces, selectors, ports, services."""
    found = []
    spaces = {each["metadata"]["name"] for each in of_kind(resources, "Namespace")}
    for each in resources:
        space = each["metadata"].get("namespace")
        if each["kind"] != "Namespace" and space not in spaces:
            found.append(f"{name_of(each)}: its namespace {space} is not made")
        wanted = {"app.kubernetes.io/part-of"} - each["metadata"].get("labels", {}).keys()
        found += [f"{name_of(each)}: has no label {label}" for label in wanted]
    for each in of_kind(resources, "Service"):
        found += [f"{name_of(each)}: {it}" for it in of_service(resources, each)]
    for each in workloads(resources):
        found += [f"{name_of(each)}: {it}" for it in of_workload(resources, each)]
    for each in of_kind(resources, "PodDisruptionBudget", "NetworkPolicy"):
        spec = each["spec"]
        selector = spec.get("selector") or spec.get("podSelector") or {}
        chosen = selected(resources, selector.get("matchLabels", {}))
        if not chosen:
            found.append(f"{name_of(each)}: selects no pod")
        for rule in spec.get("ingress", []):
            for port in rule.get("ports", []):
                if not all(port["port"] in ports(it) for it in chosen):
                    found.append(f"{name_of(each)}: there is no port {port['port']}")
    return found


def of_service(resources: list[dict], service: dict) -> list[str]:
    """Whom a Service leads to."""
    chosen = selected(resources, service["spec"].get("selector", {}))
    found = [] if chosen else ["selects no pod"]
    for port in service["spec"]["ports"]:
        target = port.get("targetPort", port["port"])
        for workload in chosen:
            if target not in ports(workload):
                found.append(f"{name_of(workload)} has no port {target}")
    return found


def of_workload(resources: list[dict], workload: dict) -> list[str]:
    """Whether a workload's own names fit, and whether its ports are served."""
    spec, found = workload["spec"], []
    if not spec["selector"]["matchLabels"].items() <= labels(workload).items():
        found.append("its selector does not select its own pods")
    for spread in pod(workload).get("topologySpreadConstraints", []):
        if not spread["labelSelector"]["matchLabels"].items() <= labels(workload).items():
            found.append("it spreads other pods than its own")
    own = [
        each
        for each in of_kind(resources, "Service")
        if workload in selected(resources, each["spec"].get("selector", {}))
    ]
    if workload["kind"] == "StatefulSet":
        head = [each for each in own if each["metadata"]["name"] == spec["serviceName"]]
        if not any(each["spec"].get("clusterIP") == "None" for each in head):
            found.append(f"{spec['serviceName']} is no headless Service of its pods")
        elif not head[0]["spec"].get("publishNotReadyAddresses"):
            found.append(f"{spec['serviceName']} hides pods from each other until they are ready")
    served = {
        ports(workload).get(port.get("targetPort", port["port"]))
        for each in own
        for port in each["spec"]["ports"]
    }
    for number in set(ports(workload).values()):
        if not 1 <= number <= 65535:
            found.append(f"{number} is no port")
        if number not in served:
            found.append(f"no Service leads to its port {number}")
    for container in pod(workload)["containers"]:
        for variable in container.get("env", []):
            others = strangers(resources, variable.get("value", ""))
            found += [f"{variable['name']} names {it}, which is no pod" for it in others]
    return found


def strangers(resources: list[dict], text: str) -> list[str]:
    """The names of pods in a text of which no StatefulSet makes one."""
    return [
        name[0]
        for name in POD.finditer(text)
        if not any(
            each["metadata"]["name"] == name[1]
            and int(name[2]) < int(each["spec"]["replicas"])
            and each["spec"]["serviceName"] == name[3]
            and int(name[4]) in ports(each)
            for each in of_kind(resources, "StatefulSet")
        )
    ]


def by_sense(resources: list[dict]) -> list[str]:
    """What a pod of ours must be: hardened, probed, and told nothing that is not there."""
    found = []
    for workload in workloads(resources):
        template = pod(workload)
        found += [f"{name_of(workload)}: {it}" for it in of_pod(template)]
        claims = {it["metadata"]["name"] for it in workload["spec"].get("volumeClaimTemplates", [])}
        ordered = workload["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        if workload["kind"] == "StatefulSet" and not claims and not ordered:
            found.append(f"{name_of(workload)}: what is on no disk would stop all at once")
        volumes = claims | {it["name"] for it in template.get("volumes", [])}
        for container in template["containers"]:
            name = f"{name_of(workload)}: container {container['name']}"
            found += [f"{name}: {it}" for it in of_container(container)]
            mounts = {it["name"]: it["mountPath"] for it in container.get("volumeMounts", [])}
            found += [f"{name}: there is no volume {it}" for it in mounts.keys() - volumes]
            found += [f"{name}: its claim {it} is not mounted" for it in claims - mounts.keys()]
            for variable in container.get("env", []):
                folder = variable.get("value", "")
                below = any(f"{folder}/".startswith(f"{path}/") for path in mounts.values())
                if variable["name"].endswith("_DIRECTORY") and not below:
                    found.append(f"{name}: {variable['name']}={folder} is on no volume")
    return found


def of_pod(template: dict) -> list[str]:
    """What is amiss with a pod as a whole."""
    security, found = template.get("securityContext", {}), []
    if template.get("automountServiceAccountToken") is not False:
        found.append("it has a token for the API")
    if template.get("enableServiceLinks") is not False:
        found.append("Services become variables, which a role refuses: enableServiceLinks")
    if not security.get("runAsNonRoot"):
        found.append("it may run as root")
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        found.append("it may make every system call")
    mounts = [it for each in template["containers"] for it in each.get("volumeMounts", [])]
    if mounts and security.get("fsGroup") != security.get("runAsGroup"):
        found.append("it cannot write to its volumes: fsGroup")
    if template.get("terminationGracePeriodSeconds", 30) > GRACE_LIMIT:
        found.append("it takes too long to stop")
    return found


def of_container(container: dict) -> list[str]:
    """What is amiss with one container."""
    found, seen = [], set()
    security = container.get("securityContext", {})
    found += [
        f"{key} is not {value}" for key, value in HARDENED.items() if security.get(key) != value
    ]
    image, _, tag = container["image"].partition(":")
    if image not in images() or not tag:
        found.append(f"{container['image']} is no image of ours with a tag")
    if "memory" not in container.get("resources", {}).get("limits", {}):
        found.append("it may take all memory")
    for variable in container.get("env", []):
        for name in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
            if name not in seen:
                found.append(f"{variable['name']} names {name}, which is not set before it")
        seen.add(variable["name"])
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        command = container.get(kind, {}).get("exec", {}).get("command", [])
        service = command[2] if len(command) == 3 else ""
        if command[:2] != [ROLE, "health"] or len(command) > 3:
            found.append(f"{kind}: {command} is no command of a role")
        elif service and service not in services_of_roles():
            found.append(f"{kind}: no role has a service {service}")
        elif service and kind != "readinessProbe":
            found.append(f"{kind}: one that is not ready would be killed for it")
    return found
