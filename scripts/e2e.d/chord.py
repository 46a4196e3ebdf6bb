"""What the hash ring promises: the document's ids and answers, and no acknowledged key lost,
whoever is killed, frozen or restarted, and whether there is a registry or not."""

import json
import re
import time

import cli
import rpc
import topology
from confined import confined
from harness import check, expect, until
from keys import REMOVED, SAVED, Keys, value_of
from ring import (
    LEASE_MS,
    NODE,
    REGISTRAR,
    REGISTRY,
    Load,
    ask,
    compose,
    in_order,
    look_for,
    mended,
    nodes,
    ports,
    registered,
    registry,
    restarted,
    state,
    types,
)

NODES = tuple(f"chord-{number}" for number in range(1, 7))
EVERYBODY = (REGISTRAR, *NODES)
# What the document's nodes print, one after another.
ASSIGNED = [
    "assigned node_id=24, successor_id=24, predecessor_id=24",
    "assigned node_id=26, successor_id=24, predecessor_id=24",
    "assigned node_id=2, successor_id=24, predecessor_id=26",
    "assigned node_id=16, successor_id=24, predecessor_id=2",
    "assigned node_id=31, successor_id=2, predecessor_id=26",
    "assigned node_id=25, successor_id=26, predecessor_id=24",
]
# m of the document's ring.
BITS = 5
# What all loads were told.
TOLD: list[Keys] = []


def load() -> Load:
    """Clients of all nodes."""
    made = Load({node: ports()[node] for node in nodes()}, types(nodes()[0]))
    TOLD.append(made.keys)
    return made


def lines(node: str) -> list[str]:
    """What a node has printed for people."""
    return [line for line in topology.logs(node) if line.startswith("assigned ")]


@check("six nodes start one after another, and are given the document's ids and places", *EVERYBODY)
def up() -> str:
    started = time.monotonic()
    compose("up", "--detach", "--no-build", seconds=120)
    until("every container is healthy", 30, all_healthy, 0.3)
    took = time.monotonic() - started
    for node, line in zip(nodes(), ASSIGNED, strict=True):
        expect(lines(node) == [line], f"{node} prints {lines(node)}")
    return f"after {took:.1f} s; in order {mended()} later"


def all_healthy() -> bool:
    """Whether Docker says so."""
    states = {each: topology.inspect(each)["State"]["Health"]["Status"] for each in EVERYBODY}
    if set(states.values()) != {"healthy"}:
        raise RuntimeError(f"{states}")
    return True


def ids() -> list[int]:
    """The ids that the nodes were given, in the order of the nodes."""
    return [int(re.search(r"node_id=(\d+)", line)[1]) for line in ASSIGNED]


def fingers(of: int) -> list[int]:
    """By the document: the successors of id + 2^(i − 1), each once."""
    found = []
    for bit in range(BITS):
        start = (of + 2**bit) % 2**BITS
        after = min((each for each in ids() if each >= start), default=min(ids()))
        found += [after] if after not in found else []
    return found


@check("registry and nodes show their services, and have the document's tables", *EVERYBODY)
def tables() -> None:
    for each in EVERYBODY:
        listed = rpc.services(ports()[each])
        for service in [REGISTRY if each == REGISTRAR else NODE, "grpc.health.v1.Health"]:
            expect(service in listed, f"{each} does not list {service}, but {listed}")
    there = {f"{node}:{ports()[node]}": it for node, it in zip(nodes(), ids(), strict=True)}
    expect(list(registered().items()) == list(there.items()), f"registered are {registered()}")
    printed = cli.ensemble("chord", "info").splitlines()
    expect(printed == [f"{it}: {at}" for at, it in there.items()], f"info prints {printed}")
    for node, it in zip(nodes(), ids(), strict=True):

        def as_told(node: str = node, it: int = it) -> bool:
            found = [each.id for each in ask(node, "GetFingerTable").fingers]
            if found != fingers(it):
                raise RuntimeError(f"{node} has the fingers {found}, not {fingers(it)}")
            return True

        until(f"{node} has its fingers", 15, as_told)
        told = registry("PopulateFingerTable", id=it)
        found = [each.id for each in told.fingers]
        expect(found == fingers(it), f"the registry gives {it} the fingers {found}")
        before = max((each for each in ids() if each < it), default=max(ids()))
        expect(told.predecessor.id == before, f"{told.predecessor} is before {it}")


@check("a key is saved, found and removed by the command line in the document's words", *NODES)
def document() -> None:
    for code, words, said in [
        (0, ["save", "Kazan", "Tatarstan"], "True, Kazan is saved in node 24"),
        (3, ["save", "Kazan", "elsewhere"], "False, Kazan is already exist in node 24"),
        (0, ["save", "Moscow", "Russia"], "True, Moscow is saved in node 25"),
        (0, ["save", "Minsk", "Belarus"], "True, Minsk is saved in node 16"),
        (0, ["remove", "Moscow"], "True, Moscow is removed from node 25"),
        (3, ["remove", "Moscow"], "False, Moscow does not exist in node 25"),
    ]:
        told = cli.refused("chord", *words)
        expect(told == (code, f"{said}\n"), f"{' '.join(words)}: {told}")
    for node in nodes():
        found = ask(node, "Find", key=b"Kazan")
        expect(found.value == b"Tatarstan", f"{node} finds {found}")
        expect(found.path.by.id == 24 and found.id == 22, f"{node} finds it at {found}")
        gone = ask(node, "Find", key=b"Moscow")
        expect(not gone.HasField("value"), f"{node} finds {gone}")
        expect([each.peer.id for each in gone.path.hops][-1] == 25, f"{node} goes {gone.path}")
    found = cli.ensemble("chord", "find", "Kazan")
    expect("Tatarstan" in found, f"find prints {found!r}")


@check("registry and nodes run as 65532 without capabilities, and write nothing")
def unprivileged() -> None:
    for each in EVERYBODY:
        confined(each, [])


@check("the judge of what clients saw finds a lost key, one that returns, and another's value")
def judge_judges() -> None:
    def wrong(*told: tuple) -> list[str]:
        keys = Keys()
        for name, *arguments in told:
            getattr(keys, name)("k", *arguments)
        return keys.wrong

    saved = [("attempt",), ("acknowledge", SAVED, True, "n")]
    removed = [*saved, ("attempt",), ("acknowledge", REMOVED, True, "n")]
    for otherwise, *told in [
        ("a key that is lost", *saved, ("tell", SAVED, None, "m")),
        ("a key that returns", *removed, ("tell", REMOVED, value_of("k"), "m")),
        ("another's value", *saved, ("tell", SAVED, value_of("l"), "m")),
        ("a save of what is there", ("attempt",), ("acknowledge", SAVED, False, "n")),
        ("a removal of nothing", *saved, ("attempt",), ("acknowledge", REMOVED, False, "n")),
    ]:
        expect(wrong(*told), f"it does not find {otherwise}")
    for fine, *told in [
        ("a key that is found", *saved, ("tell", SAVED, value_of("k"), "m")),
        ("a key that is gone", *removed, ("tell", REMOVED, None, "m")),
        ("a key removed while it was looked for", *removed, ("tell", SAVED, None, "m")),
        ("a key that may not be saved", ("attempt",), ("tell", None, None, "m")),
    ]:
        expect(not wrong(*told), f"it finds fault with {fine}")


def rest_of(*some: str) -> list[str]:
    """The other nodes."""
    return [node for node in nodes() if node not in some]


def at_work(running: Load, *absent: str) -> None:
    """Has clients ask all nodes but these."""
    running.at = {node: ports()[node] for node in rest_of(*absent)}


@check("a node that is killed under load is missed, and returns to an empty place", *EVERYBODY)
def one_killed() -> str:
    with load() as running:
        lost = nodes()[3]
        topology.command("docker", "kill", topology.container(lost))
        at_work(running, lost)
        without = mended()
        running.goes_on()
        compose("start", lost)
        until(f"{lost} is a member", 30, lambda: state(lost).ready)
        at_work(running)
        again = mended()
        running.goes_on()
    return f"mended after {without}, whole after {again}; {running.judge()}"


@check("two nodes that crash at once under load come back empty, and nothing is lost", *EVERYBODY)
def two_crash() -> str:
    with load() as running:
        first, _, second, *_ = in_order()
        before = {node: topology.pid(node) for node in (first, second)}
        for process in before.values():
            topology.kill(process)
        for node, process in before.items():
            restarted(node, process)
        took = mended()
        running.goes_on()
    return f"{first} and {second}, whole after {took}; {running.judge()}"


@check("a node that is frozen under load is passed over, and thaws without harm", *EVERYBODY)
def frozen() -> str:
    with load() as running:
        lost, *_ = in_order()
        topology.command("docker", "pause", topology.container(lost))
        at_work(running, lost)
        try:
            until("the others go on without it", 20, lambda: passed_over(lost))
            running.goes_on()
        finally:
            topology.command("docker", "unpause", topology.container(lost))
        took = mended()
        at_work(running)
        running.goes_on()
    return f"whole after {took}; {running.judge()}"


def passed_over(lost: str) -> bool:
    """Whether nobody counts on a node any more."""
    address = f"{lost}:{ports()[lost]}"
    for node in rest_of(lost):
        told = state(node)
        around = [told.predecessor.address, *(each.address for each in told.successors)]
        if address in around:
            raise RuntimeError(f"{node} is between {around}")
    return True


@check("the ring goes on without its registry, and is known to it when it is back", *EVERYBODY)
def without_registry() -> str:
    with load() as running:
        before = set(registered().items())
        topology.command("docker", "kill", topology.container(REGISTRAR))
        deadline = time.monotonic() + 1.5 * LEASE_MS / 1000
        until("the nodes miss it", 20, lambda: not any(state(it).registered for it in nodes()))
        until("the lease is over", 20, lambda: time.monotonic() > deadline)
        running.goes_on()
        for node in nodes():
            expect(state(node).ready, f"{node} does not answer for its part without a registry")
        compose("start", REGISTRAR)
        since = time.monotonic()
        until("all are registered again", 30, lambda: set(registered().items()) == before)
        took = time.monotonic() - since
        mended()
        running.goes_on()
    return f"registered after {took:.1f} s; {running.judge()}"


@check(
    "nodes that quit one right after another hand their keys on, and nothing is lost", *EVERYBODY
)
def quit_in_a_row() -> str:
    with load() as running:
        # As many as a key is on: if they left without a word, some would be on none.
        leaving = in_order()[:4]
        before = {node: topology.pid(node) for node in leaving}
        started = time.monotonic()
        for node in leaving:
            after = ask(node, "Quit", seconds=10).successor.address.partition(":")[0]
            expect(after in rest_of(node), f"{node} leaves its keys to {after!r}")
        took = time.monotonic() - started
        for node, process in before.items():
            restarted(node, process)
        whole = mended()
        running.goes_on()
    return f"{' and '.join(leaving)} within {took:.1f} s, whole after {whole}; {running.judge()}"


@check("in all that, no key that was acknowledged was lost, and none returned", *EVERYBODY)
def all_there() -> str:
    at = {node: ports()[node] for node in nodes()}
    looked = sum(look_for(keys, at, types(nodes()[0]), 1) for keys in TOLD)
    wrong = [each for keys in TOLD for each in keys.wrong]
    expect(not wrong, f"{len(wrong)} wrong answers: {'; '.join(wrong[:5])}")
    return f"{looked} keys"


@check("every line that registry and nodes write is JSON, but for the document's own", *EVERYBODY)
def logged() -> str:
    count = 0
    for each in EVERYBODY:
        role = topology.description("--profile", "chord")["services"][each]["image"]
        role = role.partition("/")[2]
        for line in topology.logs(each):
            if re.fullmatch(r"assigned node_id=\d+, successor_id=\d+, predecessor_id=\d+", line):
                continue
            expect(json.loads(line).get("service") == role, f"{each} writes {line!r}")
            count += 1
    return f"{count} lines"


@check(
    "every node takes its leave and stops within its grace, and nothing is left of the ring",
    *EVERYBODY,
    phase="end",
)
def stops() -> str:
    last = nodes()[-1]
    compose("stop", last)
    address = f"{last}:{ports()[last]}"
    expect(address not in registered(), f"{last} has left, and is registered")
    expect(len(registered()) == len(nodes()) - 1, f"registered are {registered()}")
    started = time.monotonic()
    compose("stop", seconds=120)
    took = time.monotonic() - started
    for each in EVERYBODY:
        found = topology.inspect(each)["State"]
        seen = f"{each} is {found['Status']} with exit code {found['ExitCode']}"
        expect(found["Status"] == "exited" and found["ExitCode"] == 0, seen)
    compose("down", "--volumes")
    left = topology.leftovers("chord")
    expect(not left, f"left: {', '.join(left)}")
    return f"the rest in {took:.1f} s"
