"""What the console promises in its container, and in a pod."""

import http.client
import pathlib

import confined
import page
import pods
import topology
from harness import check, expect, until

OVERLAY = pathlib.Path("k8s/overlays/console")
RING = pathlib.Path("k8s/overlays/chord")
NODES = {f"overlay/{process}" for process in topology.PROCESSES}


def serving(nodes: dict[str, dict]) -> set[str]:
    """The keys of those that serve."""
    return {key for key, node in nodes.items() if node["health"] == "serving" and node["view"]}


@check("the page shows all six processes to whoever has the token of its log", page.SERVICE)
def shown() -> None:
    opened = page.opened()
    opened.sees("all six serve", 30, lambda nodes: serving(nodes) == NODES)
    status, text = opened.ask("/")
    expect(status == http.client.OK and "<script" in text, f"{status} {text[:300]}")
    status, text = opened.ask("/metrics")
    expect("rpc_server_call_duration" in text, f"its metrics are {text[:300]}")


@check("without the token nothing is seen, done or broken on the page", page.SERVICE)
def guarded() -> str:
    stranger = page.Page(page.opened().port)
    expect(stranger.ask("/")[0] == http.client.OK, "the page itself is no secret")
    status, _ = stranger.ask("/login", {"token": "0" * 32})
    expect(status == http.client.UNAUTHORIZED, f"a wrong token: {status}")
    asked = {
        "/events": None,
        "/history": None,
        "/traces": None,
        "/traces.otlp": None,
        "/act/overlay/forward": {"payload": "hello"},
        "/break": {"node": "overlay/A", "fault": "crash"},
    }
    for path, body in asked.items():
        status, _ = stranger.ask(path, body)
        expect(status == http.client.UNAUTHORIZED, f"{path}: {status}")
    return f"{len(asked)} doors"


@check("the container of the console may do almost nothing", page.SERVICE)
def confinement() -> None:
    confined.confined(page.SERVICE, [])


@check("a request made on the page is seen as one trace of all six processes", page.SERVICE)
def traced() -> str:
    opened = page.opened()
    done = opened.post("/act/overlay/forward", {"payload": "hello"})
    expect(done["answer"]["complete"], f"{done}")

    def whole() -> dict:
        found = opened.get(f"/traces/{done['trace_id']}")
        names = {span["service"] for span in found["spans"]}
        if len(names) < 4 or len(found["spans"]) < len(topology.PROCESSES):
            raise RuntimeError(f"{len(found['spans'])} spans of {names}")
        return found

    spans = until("every process has told its part", 30, whole, 0.3)["spans"]
    return f"{len(spans)} spans"


@check("a process that dies is marked on the page, and is seen again", page.SERVICE)
def death() -> None:
    opened = page.opened()
    before = opened.sees("all six serve", 30, lambda nodes: serving(nodes) == NODES and nodes)
    topology.kill(topology.pid("overlay-f"))
    opened.sees("F is another process", 30, lambda nodes: reborn(before, nodes, "overlay/F"))


def reborn(before: dict, nodes: dict, key: str) -> bool:
    """Whether a process serves that is not the one before."""
    return key in serving(nodes) and nodes[key]["started"] != before[key]["started"]


@check("the console's own death harms nobody, and the page comes back", page.SERVICE)
def own_death() -> None:
    topology.kill(topology.pid(page.SERVICE))
    opened = until("it takes its new token", 30, page.opened, 0.3)
    opened.sees("all six serve", 30, lambda nodes: serving(nodes) == NODES)
    done = opened.post("/act/overlay/forward", {"payload": "hello"})
    expect(done["answer"]["complete"], f"{done}")


@check("in a pod the console finds every pod of the ring behind one Service")
def in_a_pod() -> str:
    return pods.alive(RING, in_pods)


def in_pods(group: pods.Pods) -> str:
    """Three pods of the ring, and the console's beside them."""
    names = [group.name(ordinal) for ordinal in range(3)]
    for ordinal in range(len(names)):
        group.start(ordinal, 10 + ordinal)
        group.ready(ordinal)
    beside = pods.Pods.beside(OVERLAY)
    beside.start(0, 30)
    opened = page.Page(beside.ready(0))
    opened.post("/login", {"token": page.token_in(beside.logs(0))})
    keys = opened.sees(
        "three pods serve", 30, lambda nodes: len(serving(nodes)) == len(names) and nodes
    )
    saved = opened.post("/act/chord/save", {"key": "Minsk", "value": "Belarus"})
    expect(saved["answer"]["outcome"] == "saved", f"{saved}")
    found = opened.post("/act/chord/find", {"key": "Minsk"})
    expect(found["answer"]["value"] == "Belarus", f"{found}")
    until("its trace is told", 30, lambda: opened.get(f"/traces/{found['trace_id']}")["spans"])
    group.crash(2)
    opened.sees("one is gone", 30, lambda nodes: len(serving(nodes)) == len(names) - 1)
    group.revive(2)
    group.ready(2)
    opened.sees("all serve", 30, lambda nodes: len(serving(nodes)) == len(names))
    return f"{', '.join(sorted(keys))}"
