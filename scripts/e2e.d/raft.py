"""What the replicated store promises: nothing acknowledged is lost, no answer is stale, and one
node leads in a term, whatever is cut, killed, frozen or restarted."""

import contextlib
import json
import time

import grpc
import rpc
import topology
from confined import confined
from harness import check, expect, until
from history import History, Told
from store import (
    CLUSTER,
    DOCUMENT,
    STORE,
    Elections,
    Load,
    agree,
    ask,
    bring_up,
    compose,
    contents,
    cut_off,
    is_well,
    leader,
    led,
    nodes,
    ports,
    ready,
    status,
)

NODES = tuple(f"raft-{number}" for number in range(1, 6))
# How soon a majority must have another leader, in seconds; elections take a tenth of it, but
# machines that build at the same time do not.
FEW = 5
# How long clients may wait for a write while one node after the other restarts, in seconds.
PAUSE = 5


@check("five nodes elect a leader, and every one of them is ready", *NODES)
def up() -> str:
    started = time.monotonic()
    bring_up()
    name, term = led()
    until("every container is healthy", 30, lambda: all_healthy(), 0.3)
    return f"{name} leads in term {term} after {time.monotonic() - started:.1f} s"


def all_healthy() -> bool:
    """Whether Docker says so."""
    states = {node: topology.inspect(node)["State"]["Health"]["Status"] for node in nodes()}
    if set(states.values()) != {"healthy"}:
        raise RuntimeError(f"{states}")
    return True


@check("a node shows its services, and the document's own functions work at every one", *NODES)
def document() -> None:
    for number, node in enumerate(nodes()):
        listed = rpc.services(ports()[node])
        for service in [STORE, CLUSTER, DOCUMENT, "ensemble.observe.v1.ObserveService"]:
            expect(service in listed, f"{node} does not list {service}, but {listed}")
        answer = ask(node, f"{DOCUMENT}/SetVal", key="colour", value=f"{number}")
        expect(answer.success, f"{node} does not set")
        for other in nodes():
            found = ask(other, f"{DOCUMENT}/GetVal", key="colour")
            expect(found.success and found.value == f"{number}", f"{other} answers {found}")
        told = ask(node, f"{DOCUMENT}/GetLeader")
        name, _ = leader()
        expect(told.address == f"{name}:{ports()[name]}", f"{node} says {told}, {name} leads")


@check("a node runs as 65532 without capabilities, and writes to its volume alone")
def unprivileged() -> None:
    for node in nodes():
        confined(node, [("volume", "/data")])


@check("the judge of what clients saw finds a lost write, a stale read and one out of nowhere")
def judge_judges() -> None:
    def wrong(*answers: Told) -> list[str]:
        history = History()
        for number in (1, 2):
            history.attempt("k", number, float(number))
        history.answers = [Told("n", "k", 1, 1, 1.5, True), *answers]
        return history.wrong()

    read = {"node": "m", "key": "k", "written": False}
    for number, began, ended, otherwise in [
        (0, 2, 3, "an acknowledged write that is lost"),
        (2, 0.1, 0.9, "a number that nobody had written"),
    ]:
        told = Told(number=number, began=began, ended=ended, **read)
        expect(wrong(told), f"it does not find {otherwise}")
    newer = Told(number=2, began=3, ended=4, **read)
    older = Told(number=1, began=5, ended=6, **read)
    expect(wrong(newer, older), "it does not find a read that is older than one before it")
    beside = Told(number=1, began=3.5, ended=6, **read)
    expect(not wrong(newer, beside), "it finds fault with reads at the same time")


def told_while_alone(load: Load, alone: list[str], since: float, till: float) -> None:
    """Nobody who is cut off from the majority may have answered anything."""
    for node in alone:
        told = load.history.by(node, since, till)
        expect(not told, f"{node}, cut off, answered {len(told)} times, such as {told[:2]}")


def survives(cut_with: int) -> str:
    """Cuts the leader off, and others with it, under load; then heals."""
    with Load() as load:
        old, term = led()
        alone = [old, *[node for node in nodes() if node != old][:cut_with]]
        rest = [node for node in nodes() if node not in alone]
        with cut_off(alone):
            since = time.monotonic()
            led(rest, after=term, seconds=FEW)
            took = time.monotonic() - since
            for node in alone:
                until(f"{node} finds that it has no majority", 10, lambda it=node: unready(it))
            load.goes_on(writes=400)
            for node in alone:
                refuses(node)
            till = time.monotonic()
        # A link that was cut is tried again at intervals.
        until(f"{old} follows", 20, lambda: status(old).leader == status(rest[0]).leader)
        load.goes_on()
    told_while_alone(load, alone, since, till)
    return f"another after {took:.1f} s; {load.judge()}"


def unready(node: str) -> bool:
    """A node that is alive and not ready."""
    expect(is_well(node), f"{node} is not alive")
    return not is_well(node, STORE)


def refuses(node: str) -> None:
    """A node without a majority must answer nothing, and acknowledge nothing."""
    for path, fields in [
        (f"{STORE}/Get", {"key": b"colour"}),
        (f"{STORE}/Range", {"prefix": b""}),
        (f"{STORE}/Put", {"key": b"colour", "value": b"of the minority"}),
    ]:
        with contextlib.suppress(grpc.RpcError):
            answer = ask(node, path, **fields)
            expect(False, f"{node}, without a majority, answers {path} with {str(answer)[:200]}")


@check(
    "a leader cut off from all others under load: another leads, and nothing is lost or stale",
    *NODES,
)
def leader_alone() -> str:
    return survives(0)


@check(
    "a leader cut off with one follower under load: three go on, and nothing is lost or stale",
    *NODES,
)
def leader_in_a_minority() -> str:
    return survives(1)


@check("a leader that is killed under load is replaced, and returns with its volume", *NODES)
def leader_killed() -> str:
    with Load() as load:
        old, term = led()
        before = topology.pid(old)
        topology.kill(before)
        since = time.monotonic()
        led([node for node in nodes() if node != old], after=term, seconds=FEW)
        took = time.monotonic() - since
        until(f"{old} runs again", 60, lambda: topology.pid(old) != before)
        until(f"{old} is ready", 60, lambda: is_well(old, STORE))
        load.goes_on()
    return f"another after {took:.1f} s; {load.judge()}"


@check("a leader that is frozen under load and thaws answers nothing stale", *NODES)
def leader_frozen() -> str:
    with Load() as load:
        old, term = led()
        topology.command("docker", "pause", topology.container(old))
        try:
            led([node for node in nodes() if node != old], after=term, seconds=FEW)
            load.goes_on()
        finally:
            topology.command("docker", "unpause", topology.container(old))
        load.goes_on()
    return load.judge()


@check("all nodes are killed at once under load, and every acknowledged write is there", *NODES)
def power_cut() -> str:
    with Load() as load:
        for process in [topology.pid(node) for node in nodes()]:
            topology.kill(process)
        led(seconds=60)
        load.goes_on(60)
    return load.judge()


@check("each node in turn is restarted under load, and writes go on", *NODES)
def restarted_in_turn() -> str:
    with Load() as load:
        for node in nodes():
            before = topology.inspect(node)["State"]["StartedAt"]
            compose("restart", node)
            after = topology.inspect(node)["State"]["StartedAt"]
            expect(before != after, f"{node} was not restarted")
            ready()
        load.goes_on()
    gap = load.history.longest_gap()
    expect(gap < PAUSE, f"no write was acknowledged for {gap:.1f} s")
    return load.judge()


@check("without a majority the rest is alive and not ready, and serves when it is back", *NODES)
def without_majority() -> str:
    stopped, rest = nodes()[:3], nodes()[3:]
    before = {node: topology.inspect(node)["State"]["StartedAt"] for node in rest}
    compose("stop", *stopped)
    try:
        for node in rest:
            until(f"{node} is not ready", 20, lambda it=node: unready(it))
            refuses(node)
            found = contents(node, stale=True)
            expect(found, f"{node} does not even tell what it has")
        until("Docker sees it", 30, lambda: set(healths(rest)) == {"unhealthy"}, 0.3)
        for node in rest:
            expect(is_well(node), f"{node} is not alive")
            expect(not status(node).HasField("leader"), f"{node} knows a leader: {status(node)}")
    finally:
        compose("start", *stopped)
    ready()
    for node in rest:
        after = topology.inspect(node)["State"]["StartedAt"]
        expect(after == before[node], f"{node} was restarted, which helps nobody")
    return f"{agree()} keys everywhere"


def healths(some: list[str]) -> list[str]:
    """What Docker says of them."""
    return [topology.inspect(node)["State"]["Health"]["Status"] for node in some]


@check("taken down and brought up again, every node has what it had", *NODES)
def down_and_up() -> str:
    before = contents(nodes()[0])
    Elections.note()
    compose("down")
    left = [each for each in topology.leftovers("raft") if not each.startswith("volume")]
    expect(not left, f"left: {left}")
    bring_up()
    for node in nodes():
        found = contents(node)
        expect(found == before, f"{node} has not what there was: {len(found)}, {len(before)}")
    lost = [
        key
        for key, number in Load.acknowledged.items()
        if key not in before or int(before[key][1]) < number
    ]
    expect(not lost, f"{len(lost)} acknowledged writes are lost: {lost[:5]}")
    return f"{len(before)} keys, {len(Load.acknowledged)} of them written under load"


@check("in all that, no term had two leaders", *NODES)
def one_leader_a_term() -> str:
    Elections.note()
    won = Elections.won
    _, term = led()
    expect(term in won, f"the logs do not tell of the leader of term {term}, only of {won}")
    two = {term: sorted(names) for term, names in won.items() if len(names) > 1}
    expect(not two, f"{two}")
    return f"{len(won)} terms, the last one is {term}"


@check("every line that a node writes is JSON and names its role", *NODES)
def logged() -> str:
    count = 0
    for node in nodes():
        for line in topology.logs(node):
            entry = json.loads(line)
            expect(entry.get("service") == "raft-node", f"{node} writes {line!r}")
            count += 1
    return f"{count} lines"


@check(
    "every node stops by itself within its grace, and nothing is left of the store",
    *NODES,
    phase="end",
)
def stops() -> str:
    started = time.monotonic()
    compose("stop")
    took = time.monotonic() - started
    for node in nodes():
        state = topology.inspect(node)["State"]
        seen = f"{node} is {state['Status']} with exit code {state['ExitCode']}"
        expect(state["Status"] == "exited" and state["ExitCode"] == 0, seen)
    compose("down", "--volumes")
    left = topology.leftovers("raft")
    expect(not left, f"left: {', '.join(left)}")
    return f"all in {took:.1f} s"
