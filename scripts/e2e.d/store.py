"""Clients of the replicated store that know nothing of us, and a load that they make."""

import contextlib
import functools
import itertools
import json
import random
import re
import threading
import time

import grpc
import rpc
import topology
from harness import expect, until
from history import History, Told

STORE = "ensemble.raft.v1.StoreService"
CLUSTER = "ensemble.raft.v1.ClusterService"
DOCUMENT = "ensemble.raft.v1.RaftService"
PROFILE = ("--profile", "raft")
# How long a client waits for an answer, in seconds.
PATIENCE = 1
# Clients of each kind.
REGISTERS, LOGS = 4, 2


def compose(*arguments: str, seconds: float = 60) -> str:
    """Runs `docker compose` on the profile."""
    return topology.compose(*PROFILE, *arguments, seconds=seconds)


@functools.cache
def ports() -> dict[str, int]:
    """The port of each node, published on loopback under the same number."""
    services = topology.description(*PROFILE)["services"]
    told = services[node_of(1)]["environment"]["RAFT_MEMBERS"]
    return {name: int(port) for name, port in re.findall(r"=([\w-]+):(\d+)", told)}


def nodes() -> list[str]:
    """The services, in their order."""
    return list(ports())


def node_of(number: int) -> str:
    """The service of a node."""
    return f"raft-{number}"


@functools.cache
def types() -> rpc.Schema:
    """The types, learnt from the first node."""
    return rpc.schema(ports()[nodes()[0]])


def ask(node: str, path: str, seconds: float = 2, **fields):
    """Calls a method of a node."""
    return rpc.call(types(), ports()[node], path, seconds, **fields)


def status(node: str):
    """What a node knows of itself and the cluster."""
    return ask(node, f"{CLUSTER}/GetStatus")


def leader(among: list[str] | None = None, after: int = 0) -> tuple[str, int]:
    """Who leads in which term, by what most nodes say; in a term after this one."""
    told = []
    for node in among or nodes():
        with contextlib.suppress(grpc.RpcError):
            told.append(status(node))
    seen = [(each.id, each.role, each.term, each.leader) for each in told]
    for each in told:
        if each.role == "leader" and each.term > after:
            follow = [it for it in told if it.leader == each.id and it.term == each.term]
            if len(follow) > len(nodes()) // 2:
                return node_of(each.id), each.term
    raise RuntimeError(f"no leader after term {after}: {seen}")


def led(among: list[str] | None = None, after: int = 0, seconds: float = 15) -> tuple[str, int]:
    """Waits for a leader."""
    return until("a majority has a leader", seconds, lambda: leader(among, after))


def is_well(node: str, service: str = "") -> bool:
    """Asks as the health check of the container does."""
    container = topology.container(node)
    words = ["/role", "health", *([service] if service else [])]
    try:
        topology.command("docker", "exec", container, *words)
    except RuntimeError:
        return False
    return True


def ready(seconds: float = 60) -> None:
    """Waits until every node is ready, and has what the leader had when this was called."""
    commit = status(led(seconds=seconds)[0]).commit

    def caught_up() -> bool:
        behind = [node for node in nodes() if status(node).applied < commit]
        if behind:
            raise RuntimeError(f"{behind} have not applied {commit}")
        return True

    until("every node has caught up", seconds, caught_up)
    for node in nodes():
        until(f"{node} is ready", seconds, lambda node=node: is_well(node, STORE))


def bring_up() -> None:
    """Starts whatever does not run, and waits until it is ready."""
    compose("up", "--detach", "--no-build", seconds=120)
    ready()


def contents(node: str, prefix: str = "", stale: bool = False) -> dict[str, tuple[int, str]]:
    """Keys with version and value, as a node tells them."""
    found: dict[str, tuple[int, str]] = {}
    after = None
    while True:
        fields = {} if after is None else {"after": after}
        path = f"{STORE}/Range"
        page = ask(node, path, 5, prefix=prefix.encode(), limit=10_000, stale=stale, **fields)
        for item in page.items:
            found[item.key.decode()] = (item.version, item.value.decode())
            after = item.key
        if not page.more:
            return found


def agree() -> int:
    """Waits until every node has the same keys, values and versions; tells how many keys."""

    def same() -> int:
        all_of = {node: contents(node, stale=True) for node in nodes()}
        first = all_of[nodes()[0]]
        for node, found in all_of.items():
            if found != first:
                other = dict(list(found.items() ^ first.items())[:3])
                raise RuntimeError(f"{node} has not what {nodes()[0]} has: {other}")
        return len(first) + 1

    return until("all nodes have the same", 20, same) - 1


class Client:
    """Connections to every node, of one thread."""

    def __init__(self, history: History):
        self.history = history
        self.channels = {node: rpc.channel(port) for node, port in ports().items()}
        self.get, self.put = {}, {}
        for node, channel in self.channels.items():
            self.get[node], self.get_request = types().stub(channel, f"{STORE}/Get")
            self.put[node], self.put_request = types().stub(channel, f"{STORE}/Put")

    def refused(self, why: str) -> None:
        """Notes it, and is in no hurry."""
        self.history.refuse(why)
        time.sleep(0.02)

    def read(self, node: str, key: str) -> None:
        """Reads a key and writes down what it was told."""
        began = time.monotonic()
        try:
            answer = self.get[node](self.get_request(key=key.encode()), timeout=PATIENCE)
        except grpc.RpcError as error:
            self.refused(f"read {error.code().name}")
            return
        number = int(answer.item.value) if answer.HasField("item") else 0
        self.history.tell(Told(node, key, number, began, time.monotonic(), False))

    def write(self, node: str, key: str, number: int, version: int | None):
        """Writes a key that must have this version; tells the answer, or None without one."""
        began = time.monotonic()
        self.history.attempt(key, number, began)
        condition = {"absent": {}} if version is None else {"version": version}
        request = self.put_request(
            key=key.encode(), value=str(number).encode(), condition=condition
        )
        try:
            answer = self.put[node](request, timeout=PATIENCE)
        except grpc.RpcError as error:
            self.refused(f"write {error.code().name}")
            return None
        ended = time.monotonic()
        if not answer.done:
            number = int(answer.current.value) if answer.HasField("current") else 0
        self.history.tell(Told(node, key, number, began, ended, answer.done))
        return answer


class Load:
    """Clients that write and read at every node for as long as they are let, and what they saw.

    Registers are keys that are written again and again; logs write each key once. Every node has a
    reader of its own, and every writer goes on to the next node when it is refused.
    """

    runs = itertools.count(1)
    # Of all loads there were.
    acknowledged: dict[str, int] = {}

    def __init__(self):
        # A store that an earlier run has left knows none of these keys.
        self.prefix = f"run-{time.time():.0f}-{next(self.runs)}"
        self.history = History()
        self.done = threading.Event()
        # What readers choose from: all registers, and the latest keys of logs.
        self.latest = [f"{self.prefix}/register/{number}" for number in range(REGISTERS)]
        self.latest += [f"{self.prefix}/log/{number}/1" for number in range(LOGS)]
        self.threads = [
            *[threading.Thread(target=self.register, args=[it]) for it in range(REGISTERS)],
            *[threading.Thread(target=self.log, args=[it]) for it in range(LOGS)],
            *[threading.Thread(target=self.reader, args=[node]) for node in nodes()],
        ]

    def register(self, number: int) -> None:
        """Writes one key again and again."""
        client, key, version = Client(self.history), self.latest[number], None
        at = itertools.cycle(nodes()[number:] + nodes()[:number])
        node = next(at)
        for value in itertools.count(1):
            if self.done.wait(0.005):
                return
            answer = client.write(node, key, value, version)
            if answer is None:
                node = next(at)
            elif answer.done:
                version = answer.version
            else:
                # An earlier one of its own was carried out, though it was not told so.
                version = answer.current.version if answer.HasField("current") else None

    def log(self, number: int) -> None:
        """Writes key after key, each at another node."""
        client = Client(self.history)
        for value in itertools.count(1):
            if self.done.wait(0.005):
                return
            key = f"{self.prefix}/log/{number}/{value}"
            if client.write(nodes()[value % len(nodes())], key, 1, None) is not None:
                self.latest[REGISTERS + number] = key

    def reader(self, node: str) -> None:
        """Reads at one node what any client has written last."""
        client, choice = Client(self.history), random.Random(node)
        while not self.done.wait(0.005):
            client.read(node, choice.choice(self.latest))

    def goes_on(self, seconds: float = 15, writes: int = 100) -> None:
        """Waits until so many more writes are acknowledged."""
        target = self.history.writes() + writes
        until("writes go on", seconds, lambda: self.history.writes() >= target)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join(10)
        for key, number in self.history.written().items():
            self.acknowledged[key] = number

    def judge(self) -> str:
        """Reads everything once more, at every node, and finds nothing wrong in all answers."""
        ready()
        for node in nodes():
            began = time.monotonic()
            found = contents(node, self.prefix)
            ended = time.monotonic()
            for key in self.history.written():
                number = int(found[key][1]) if key in found else 0
                self.history.tell(Told(node, key, number, began, ended, False))
        wrong = self.history.wrong()
        expect(not wrong, f"{len(wrong)} wrong answers: {'; '.join(wrong[:5])}")
        agree()
        refused = sum(self.history.refused.values())
        return (
            f"{self.history.writes()} writes and {self.history.reads()} reads answered, "
            f"{refused} not, {self.history.longest_gap():.1f} s without a write at most"
        )


class Elections:
    """Who has led in which term, by the nodes' own logs, whichever container wrote them."""

    won: dict[int, set[str]] = {}

    @classmethod
    def note(cls) -> None:
        """Takes down what the logs say; they go with their containers."""
        for node in nodes():
            for line in topology.logs(node):
                found = re.fullmatch(r"leads in term (\d+)", json.loads(line).get("message", ""))
                if found:
                    cls.won.setdefault(int(found[1]), set()).add(node)


def network_address(node: str) -> str:
    """The address of a node's container."""
    networks = topology.inspect(node)["NetworkSettings"]["Networks"]
    return networks[f"{topology.PROJECT}_raft"]["IPAddress"]


@contextlib.contextmanager
def cut_off(minority: list[str]):
    """Drops everything between these nodes and the others, both ways, and heals in the end."""
    others = [network_address(node) for node in nodes() if node not in minority]
    rules = "*filter\n"
    for address in others:
        rules += f"-A INPUT -s {address} -j DROP\n-A OUTPUT -d {address} -j DROP\n"
    inside = {node: ["nsenter", "-t", str(topology.pid(node)), "-n"] for node in minority}
    try:
        for enter in inside.values():
            topology.command(*enter, "iptables-restore", "--noflush", given=f"{rules}COMMIT\n")
        yield
    finally:
        for enter in inside.values():
            topology.command(*enter, "iptables", "-F")
