"""What the manifests promise, as far as it can be seen without a cluster."""

import copy
import pathlib

import manifests
import pods
import rpc
from harness import check, expect, until
from store import CLUSTER, STORE

OVERLAY = pathlib.Path("k8s/overlays/raft")
RING = pathlib.Path("k8s/overlays/chord")


@check("every overlay of Kubernetes renders, and nothing is wrong with it")
def valid() -> str:
    count = 0
    for overlay in manifests.overlays():
        resources = manifests.render(overlay)
        count += len(resources)
        wrong = manifests.problems(resources, manifests.versions())
        expect(not wrong, f"{overlay}: {'; '.join(wrong)}")
    expect(count, "there is no overlay")
    seen = manifests.versions()
    return f"{count} resources, Kubernetes {seen[0]} to {seen[-1]}"


def broken(change, overlay: pathlib.Path = OVERLAY) -> list[str]:
    """What is found wrong once a change is made to the workload, its pod, container and all."""
    resources = copy.deepcopy(manifests.render(overlay))
    workload = manifests.workloads(resources)[0]
    template = manifests.pod(workload)
    change(workload, template, template["containers"][0], resources)
    return manifests.problems(resources, manifests.versions()[-1:])


def of_kind(resources: list[dict], kind: str, name: str) -> dict:
    """The specification of one resource."""
    return next(
        each["spec"]
        for each in manifests.of_kind(resources, kind)
        if each["metadata"]["name"] == name
    )


# What could go wrong, what it is done by, and a word of what must be said.
MISTAKES = {
    "a field misspelt": (lambda w, p, c, r: c.update(readinesProbe={}), "readinesProbe"),
    "a word for a number": (lambda w, p, c, r: w["spec"].update(replicas="3"), "replicas"),
    "a field of another place": (lambda w, p, c, r: p.update(replicas=3), "replicas"),
    "a port that is none": (
        lambda w, p, c, r: c["ports"][0].update(containerPort=808080),
        "808080 is no port",
    ),
    "a port that nobody has": (
        lambda w, p, c, r: of_kind(r, "Service", "raft")["ports"][0].update(targetPort="http"),
        "no port http",
    ),
    "a port of a policy that nobody has": (
        lambda w, p, c, r: of_kind(r, "NetworkPolicy", "raft")["ingress"][0].update(
            ports=[{"port": "http"}]
        ),
        "no port http",
    ),
    "a selector of other pods": (
        lambda w, p, c, r: w["spec"]["selector"]["matchLabels"].update(a="b"),
        "does not select its own",
    ),
    "a budget of other pods": (
        lambda w, p, c, r: of_kind(r, "PodDisruptionBudget", "raft")["selector"].update(
            matchLabels={"a": "b"}
        ),
        "selects no pod",
    ),
    "a Service that is not headless": (
        lambda w, p, c, r: of_kind(r, "Service", "raft-nodes").pop("clusterIP"),
        "no headless Service",
    ),
    "names only for who is ready": (
        lambda w, p, c, r: of_kind(r, "Service", "raft-nodes").pop("publishNotReadyAddresses"),
        "hides pods",
    ),
    "a probe that is no command": (
        lambda w, p, c, r: c["livenessProbe"]["exec"].update(command=["/bin/true"]),
        "no command of a role",
    ),
    "a probe of no service": (
        lambda w, p, c, r: c["readinessProbe"]["exec"]["command"].__setitem__(2, "a.v1.B"),
        "no role has a service a.v1.B",
    ),
    "a node killed for its peers' absence": (
        lambda w, p, c, r: c.update(livenessProbe=c["readinessProbe"]),
        "would be killed",
    ),
    "a volume under another name": (
        lambda w, p, c, r: c["volumeMounts"][0].update(name="log"),
        "no volume log",
    ),
    "a volume elsewhere": (
        lambda w, p, c, r: c["volumeMounts"][0].update(mountPath="/elsewhere"),
        "on no volume",
    ),
    "a volume of root's": (
        lambda w, p, c, r: p["securityContext"].pop("fsGroup"),
        "cannot write to its volumes",
    ),
    "variables of Services": (
        lambda w, p, c, r: p.pop("enableServiceLinks"),
        "enableServiceLinks",
    ),
    "a variable before what it names": (lambda w, p, c, r: c["env"].reverse(), "not set before"),
    "a root that can be written": (
        lambda w, p, c, r: c["securityContext"].pop("readOnlyRootFilesystem"),
        "readOnlyRootFilesystem",
    ),
    "an image of nobody's": (
        lambda w, p, c, r: c.update(image="ensemble/raft-nod:1"),
        "no image of ours",
    ),
    "a namespace that is not there": (
        lambda w, p, c, r: w["metadata"].update(namespace="default"),
        "is not made",
    ),
}


def joining(container: dict, others: str) -> None:
    """Has a node of the ring join by others."""
    next(it for it in container["env"] if it["name"] == "CHORD_JOIN")["value"] = others


# What could go wrong with the ring besides.
MISTAKES_OF_THE_RING = {
    "a pod of another set": (
        lambda w, p, c, r: joining(c, "ring-0.chord-nodes:50081"),
        "ring-0.chord-nodes:50081, which is no pod",
    ),
    "a pod beyond the last": (
        lambda w, p, c, r: joining(c, "chord-6.chord-nodes:50081"),
        "which is no pod",
    ),
    "a pod at another port": (
        lambda w, p, c, r: joining(c, "chord-0.chord-nodes:50082"),
        "which is no pod",
    ),
    "a pod of a Service that is not its own": (
        lambda w, p, c, r: joining(c, "chord-0.chord:50081"),
        "which is no pod",
    ),
    "all that is in memory gone at once": (
        lambda w, p, c, r: w["spec"].update(podManagementPolicy="Parallel"),
        "stop all at once",
    ),
}


@check("whatever is broken in a manifest on purpose is found")
def found() -> str:
    for overlay, mistakes in [(OVERLAY, MISTAKES), (RING, MISTAKES_OF_THE_RING)]:
        for mistake, (change, word) in mistakes.items():
            told = broken(change, overlay)
            expect(any(word in each for each in told), f"{mistake}: {told}")
    return f"{len(MISTAKES) + len(MISTAKES_OF_THE_RING)} mistakes"


def members(port: int) -> dict[int, int]:
    """The members that a node knows, each with its standing."""
    told = rpc.call(rpc.schema(port), port, f"{CLUSTER}/GetStatus", 2)
    return {each.member.id: each.member.standing for each in told.members}


def put(port: int, key: str) -> None:
    """Writes, as soon as there is a leader to write it."""

    def done() -> bool:
        fields = {"key": key.encode(), "value": b"1"}
        return rpc.call(rpc.schema(port), port, f"{STORE}/Put", 5, **fields).done

    until(f"{key!r} is written", 10, done)


def has(port: int, key: str) -> bool:
    """Whether a node finds a key."""
    found = rpc.call(rpc.schema(port), port, f"{STORE}/Get", 5, key=key.encode())
    return found.HasField("item")


@check("the pods of the StatefulSet find each other, move to other addresses, and grow in number")
def live() -> str:
    return pods.alive(OVERLAY, lives)


def lives(group: pods.Pods) -> str:
    """The life of three pods, and of two more."""
    replicas = group.set["spec"]["replicas"]
    voter = 1

    group.start(0, 10)
    until("the first is alive", 30, lambda: group.passes(0, "livenessProbe"))
    expect(not group.passes(0, "readinessProbe"), "one of three is ready without a majority")
    for ordinal in range(1, replicas):
        group.start(ordinal, 10 + ordinal)
    for ordinal in range(replicas):
        group.ready(ordinal)
    put(group.port(0), "before")
    # A rolling update: the last first, each with another address afterwards.
    for ordinal in reversed(range(replicas)):
        group.stop(ordinal)
        put(group.port((ordinal + 1) % replicas), f"while {ordinal} is away")
        group.start(ordinal, 20 + ordinal)
        group.ready(ordinal)
    # More replicas.
    for ordinal in (replicas, replicas + 1):
        group.start(ordinal, 10 + ordinal)
    everybody = dict.fromkeys(range(replicas + 2), voter)
    for ordinal in everybody:
        group.ready(ordinal)
        until(
            f"{group.name(ordinal)} knows all members",
            30,
            lambda it=ordinal: members(group.port(it)) == everybody,
        )
        for key in ("before", *(f"while {it} is away" for it in range(replicas))):
            expect(has(group.port(ordinal), key), f"{group.name(ordinal)} lacks {key!r}")
    # Fewer: the member first, then the pod.
    for ordinal in (replicas + 1, replicas):
        port = group.port(0)
        rpc.call(rpc.schema(port), port, f"{CLUSTER}/RemoveMember", 10, id=ordinal)
        group.stop(ordinal)
        everybody.pop(ordinal)
    until("the founders are left", 30, lambda: members(group.port(0)) == everybody)
    put(group.port(1), "after")
    # And more again, with the volume that is still there.
    group.start(replicas, 10 + replicas)
    group.ready(replicas)
    expect(has(group.port(replicas), "after"), "the one that came back lacks what came after")
    return f"{replicas} pods, {replicas + 2}, {replicas}, {replicas + 1}"
