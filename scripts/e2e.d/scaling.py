"""What the manifests of the hash ring promise: pods come and go, and no key is lost."""

import pathlib
import time

import pods
import ring
import rpc
from harness import check, expect

OVERLAY = pathlib.Path("k8s/overlays/chord")
# As many as keep a key, of which all but one may die at once.
COPIES = 3


@check("the pods of the ring grow in number, crash and shrink under load, and no key is lost")
def live() -> str:
    return pods.alive(OVERLAY, lives)


def started(group: pods.Pods, ordinal: int) -> int:
    """Starts a pod as a StatefulSet does, waits until it is ready, and tells its port."""
    group.start(ordinal, 10 + ordinal)
    return group.ready(ordinal)


def neighbours(at: dict[str, int], known: rpc.Schema) -> list[str]:
    """As many nodes that follow each other as may die at once."""

    def place(name: str) -> int:
        return rpc.call(known, at[name], f"{ring.NODE}/GetState", 5).node.id

    return sorted(at, key=place)[1:COPIES]


def lives(group: pods.Pods) -> str:
    """The life of a few pods, of more, and of two."""
    replicas, few, least = group.set["spec"]["replicas"], 3, 2
    began = time.monotonic()
    at = {group.name(ordinal): started(group, ordinal) for ordinal in range(few)}
    founded = time.monotonic() - began
    known = rpc.schema(at[group.name(0)])
    load = ring.Load(at, known)
    with load:
        for ordinal in range(few, replicas):
            port = started(group, ordinal)
            load.at = {**load.at, group.name(ordinal): port}
        everybody = dict(load.at)
        grown = ring.mended(list(everybody.values()))
        load.goes_on()
        # All at once: what they keep together is on one more.
        dying = neighbours(everybody, known)
        ordinals = [int(name.rpartition("-")[2]) for name in dying]
        load.at = {name: port for name, port in everybody.items() if name not in dying}
        group.crash(*ordinals)
        load.goes_on()
        for ordinal in ordinals:
            group.revive(ordinal)
        for ordinal in ordinals:
            everybody[group.name(ordinal)] = group.ready(ordinal)
        mended = ring.mended(list(everybody.values()))
        load.at = dict(everybody)
        slowest = 0.0
        for ordinal in reversed(range(least, replicas)):
            everybody.pop(group.name(ordinal))
            load.at = dict(everybody)
            since = time.monotonic()
            code = group.stop(ordinal)
            slowest = max(slowest, time.monotonic() - since)
            expect(code == 0, f"{group.name(ordinal)} ends with {code}\n{group.last_logs()}")
        ring.mended(list(everybody.values()))
        load.goes_on()
    return (
        f"{few} pods after {founded:.1f} s, {replicas} whole after {grown}, {' and '.join(dying)} "
        f"crash, whole after {mended}; {least} are left, each stopped within {slowest:.1f} s; "
        f"{load.judge()}"
    )
