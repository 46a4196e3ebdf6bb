"""Clients of the hash ring that know nothing of us, and a load that they make."""

import contextlib
import functools
import itertools
import random
import threading
import time

import cli
import grpc
import rpc
import topology
from harness import expect, until
from keys import REMOVED, SAVED, Keys, value_of

NODE = "ensemble.chord.v1.NodeService"
REGISTRY = "ensemble.chord.v1.RegistryService"
PROFILE = ("--profile", "chord")
REGISTRAR = "chord-registry"
# The registry forgets a node that is silent for so long, in milliseconds.
LEASE_MS = 3000
# How soon the ring has mended itself, in seconds, whatever was done to it; machines that build at
# the same time need some of it.
MENDED = 30
# How long a client waits for an answer, in seconds.
PATIENCE = 2
# Clients that save and remove.
WRITERS = 3


def compose(*arguments: str, seconds: float = 60) -> str:
    """Runs `docker compose` on the profile."""
    return topology.compose(*PROFILE, *arguments, seconds=seconds, CHORD_LEASE_MS=str(LEASE_MS))


@functools.cache
def ports() -> dict[str, int]:
    """The port of each service, published on loopback under the same number."""
    services = topology.description(*PROFILE)["services"]
    ours = sorted(name for name in services if name.startswith("chord-"))
    return {name: int(services[name]["ports"][0]["published"]) for name in ours}


def nodes() -> list[str]:
    """The services that are nodes, in their order."""
    return [name for name in ports() if name != REGISTRAR]


@functools.cache
def types(of: str) -> rpc.Schema:
    """The types of a service, learnt from it while nothing is broken."""
    known = rpc.schema(ports()[of])
    service, methods = NODE, ["Save", "Find", "Remove", "Quit", "GetState", "GetFingerTable"]
    if of == REGISTRAR:
        service, methods = REGISTRY, ["GetChordInfo", "PopulateFingerTable"]
    for method in methods:
        known.method(f"{service}/{method}")
    return known


def ask(node: str, method: str, seconds: float = 5, **fields):
    """Calls a method of a node."""
    return rpc.call(types(nodes()[0]), ports()[node], f"{NODE}/{method}", seconds, **fields)


def registry(method: str, **fields):
    """Calls a method of the registry."""
    return rpc.call(types(REGISTRAR), ports()[REGISTRAR], f"{REGISTRY}/{method}", 5, **fields)


def registered() -> dict[str, int]:
    """Who is registered, in order of registration: address and id."""
    return {each.address: each.id for each in registry("GetChordInfo").nodes}


def state(node: str):
    """How a node sees the ring."""
    return ask(node, "GetState", 2)


def in_order(among: list[str] | None = None) -> list[str]:
    """The nodes in the order of the ring."""
    return sorted(among or nodes(), key=lambda node: state(node).node.id)


def mended(endpoints: list[int] | None = None, seconds: int = MENDED) -> str:
    """Waits until `ensemble chord` finds the ring whole and at rest; tells how long that took."""
    started = time.monotonic()
    where = ["--endpoints", ",".join(f"127.0.0.1:{port}" for port in endpoints or [])]
    words = ["chord", "check", "--strict", "--within", str(seconds), *(where if endpoints else [])]
    cli.ensemble(*words, seconds=seconds + 30)
    return f"{time.monotonic() - started:.1f} s"


def restarted(node: str, before: int) -> None:
    """Waits until Docker has started a node's container anew."""
    until(f"{node} runs again", 60, lambda: topology.pid(node) != before)


class Client:
    """Connections to the nodes behind some ports, of one thread."""

    def __init__(self, known: rpc.Schema):
        self.known, self.channels, self.calls = known, {}, {}

    def ask(self, port: int, method: str, **fields):
        """Asks one of them."""
        if (port, method) not in self.calls:
            if port not in self.channels:
                self.channels[port] = rpc.channel(port)
            self.calls[port, method] = self.known.stub(self.channels[port], f"{NODE}/{method}")
        call, request = self.calls[port, method]
        return call(request(**fields), timeout=PATIENCE)

    def find(self, keys: Keys, key: str, who: str, port: int) -> None:
        """Looks for a key, and writes down what it was told."""
        before = keys.expected(key)
        answer = self.ask(port, "Find", key=key.encode())
        value = answer.value if answer.HasField("value") else None
        keys.tell(key, before, value, who)


class Load:
    """Clients that save, remove and find keys at every node for as long as they are let, and what
    they were told. Whoever is not answered goes on to the next node."""

    runs = itertools.count(1)

    def __init__(self, at: dict[str, int], known: rpc.Schema):
        # Who may be asked, and behind which port. May be changed while it runs.
        self.at, self.known = at, known
        self.prefix = f"run-{time.time():.0f}-{next(self.runs)}"
        self.keys = Keys()
        self.refused = 0
        self.done = threading.Event()
        self.threads = [
            *[threading.Thread(target=self.writer, args=[it]) for it in range(WRITERS)],
            threading.Thread(target=self.reader),
        ]

    def turns(self):
        """Each node in turn, whoever there is."""
        for number in itertools.count():
            there = list(self.at.items())
            yield there[number % len(there)]

    def writer(self, number: int) -> None:
        """Saves key after key, each at another node, and removes every fourth a little later."""
        client, turns = Client(self.known), self.turns()
        for count in itertools.count():
            if self.done.wait(0.02):
                return
            self.write(client, next(turns), f"{self.prefix}/{number}/{count}", SAVED)
            before = f"{self.prefix}/{number}/{count - 8}"
            if count % 4 == 0 and self.keys.expected(before) == SAVED:
                self.write(client, next(turns), before, REMOVED)

    def write(self, client: Client, where: tuple[str, int], key: str, state: str) -> None:
        """Saves or removes a key."""
        who, port = where
        self.keys.attempt(key)
        try:
            if state == SAVED:
                done = client.ask(port, "Save", key=key.encode(), value=value_of(key)).saved
            else:
                done = client.ask(port, "Remove", key=key.encode()).removed
        except grpc.RpcError:
            self.refused += 1
            return
        self.keys.acknowledge(key, state, done, who)

    def reader(self) -> None:
        """Finds keys at every node."""
        client, turns, choice = Client(self.known), self.turns(), random.Random(self.prefix)
        while not self.done.wait(0.005):
            if self.keys.certain:
                who, port = next(turns)
                with contextlib.suppress(grpc.RpcError):
                    client.find(self.keys, choice.choice(self.keys.certain), who, port)

    def goes_on(self, seconds: float = 20, writes: int = 50) -> None:
        """Waits until so many more writes are acknowledged."""
        target = self.keys.acknowledged + writes
        until("writes go on", seconds, lambda: self.keys.acknowledged >= target)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join(10)

    def judge(self, several: int = 2) -> str:
        """Looks for every key at several nodes, and finds nothing wrong in all answers."""
        asked = look_for(self.keys, self.at, self.known, several)
        wrong = self.keys.wrong
        expect(not wrong, f"{len(wrong)} wrong answers: {'; '.join(wrong[:5])}")
        expect(asked >= several * self.keys.acknowledged / 2, f"only {asked} were looked for")
        return (
            f"{self.keys.acknowledged} writes acknowledged, {self.refused} not, "
            f"{self.keys.found} times looked"
        )


def look_for(keys: Keys, at: dict[str, int], known: rpc.Schema, several: int) -> int:
    """Looks for every key that is certain at several nodes; tells how often it looked."""
    certain = [key for key in keys.known if keys.expected(key)]
    several = min(several, len(at))
    failed, counted = [], itertools.count()

    def look(number: int, who: str, port: int) -> None:
        client = Client(known)
        for place, key in enumerate(certain):
            if (place - number) % len(at) < several:
                try:
                    client.find(keys, key, who, port)
                    next(counted)
                except grpc.RpcError as error:
                    failed.append(f"{who} does not answer for {key}: {error.details()}")
                    return

    threads = [
        threading.Thread(target=look, args=[number, *where])
        for number, where in enumerate(at.items())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failed, "; ".join(failed))
    return next(counted)
