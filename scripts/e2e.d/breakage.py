"""What the overlay promises when parts of it stop, crash, or are cut off."""

import contextlib
import threading
import time

import grpc
import overlay
import topology
from harness import check, expect, until

EVERYBODY = tuple(topology.service(each) for each in topology.PROCESSES)


def answers_without(lost: set[str], result: str | None = None) -> None:
    """Waits for an answer that names the lost processes as missing, whatever else it misses."""

    def seen() -> bool:
        answer = overlay.ask(payload=b"hello", seconds=15)
        named = set(overlay.missing(answer))
        took_part = {visit.process_id for visit in answer.visits}
        if not lost <= named or lost & took_part:
            raise RuntimeError(f"A answers {answer.result!r} and misses {sorted(named)}")
        return True

    until(f"an answer says that {sorted(lost)} are missing", 20, seen)
    if result is not None:
        found = overlay.forward(seconds=15).result
        expect(found == result, f"A answers the document's client {found!r}")


def seconds_to_settle(limit: float = 60) -> str:
    """How long it takes until an answer is whole."""
    started = time.monotonic()
    overlay.settled(limit)
    return f"whole after {time.monotonic() - started:.1f} s"


def renewed(service: str, before: int) -> None:
    """Waits until Docker has started a service's container anew."""
    until(f"{service} runs again", 60, lambda: topology.pid(service) != before)


@check(
    "a stopped team leader is left out and said to be missing, and serves when it is back",
    "overlay-a",
    "overlay-e",
)
def stopped() -> str:
    topology.compose("stop", "overlay-e")
    answers_without({"E"}, result=overlay.GREEN)
    topology.compose("start", "overlay-e")
    return seconds_to_settle()


@check("a team leader that crashes comes back by itself", "overlay-a", "overlay-e")
def crashed() -> str:
    before = topology.pid("overlay-e")
    topology.kill(before)
    renewed("overlay-e", before)
    return seconds_to_settle()


@check("the leader that crashes comes back by itself", "overlay-a")
def leader_crashed() -> str:
    before = topology.pid("overlay-a")
    topology.kill(before)
    renewed("overlay-a", before)
    return seconds_to_settle()


@check(
    "a host whose cable is pulled is missing, and serves when it is plugged in again",
    "overlay-a",
    "overlay-c",
    "overlay-e",
    "host-2",
)
def cut() -> str:
    before = topology.inspect("overlay-e")["RestartCount"]
    topology.cut_host("host-2")
    try:
        answers_without({"E"})
        until(
            "E finds that its address has vanished",
            30,
            lambda: topology.inspect("overlay-e")["RestartCount"] > before,
        )
        answers_without({"E"})
    finally:
        if topology.is_cut("host-2"):
            topology.join_host("host-2")
    return seconds_to_settle(90)


@check(
    "a host that loses its namespace comes back with all its processes",
    "host-2",
    "overlay-c",
    "overlay-e",
    "overlay-f",
)
def holder_crashed() -> str:
    before = topology.pid("host-2")
    topology.kill(before)
    renewed("host-2", before)
    return seconds_to_settle(90)


@check(
    "a host that dies with all its processes comes back",
    "host-2",
    "overlay-c",
    "overlay-e",
    "overlay-f",
)
def host_crashed() -> str:
    services = [topology.service(each) for each in topology.SECOND_HOST]
    holder, processes = topology.pid("host-2"), [topology.pid(each) for each in services]
    topology.kill(holder)
    # Docker gives up a container whose host is not on its way back at the time of its restart.
    until("Docker sees the host die", 10, lambda: topology.pid("host-2") != holder, 0.01)
    for process in processes:
        # It may have noticed first, and left by itself.
        with contextlib.suppress(ProcessLookupError):
            topology.kill(process)
    renewed("host-2", holder)
    return seconds_to_settle(90)


class Load(threading.Thread):
    """A client that asks A again and again, and keeps when and why it was refused."""

    def __init__(self):
        super().__init__(daemon=True)
        self.answered = 0
        self.refused: list[tuple[float, str]] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.01):
            try:
                overlay.forward(seconds=15)
                self.answered += 1
            except grpc.RpcError as error:
                self.refused.append((time.monotonic(), f"{error.code()}: {error.details()}"))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join(20)


@check("each process in turn is restarted under load, and the leader keeps answering", *EVERYBODY)
def restarted_in_turn() -> str:
    """Only the leader's own restart may cost answers; nothing else may."""
    with Load() as load:
        for process in "FEDCBA":
            service, since = topology.service(process), time.monotonic()
            before = topology.inspect(service)["State"]["StartedAt"]
            topology.command("docker", "restart", topology.container(service))
            after = topology.inspect(service)["State"]["StartedAt"]
            expect(before != after, f"{service} was not restarted")
            overlay.settled()
            refused = [why for when, why in load.refused if when > since]
            expect(process == "A" or not refused, f"while {process} restarts: {refused}")
    expect(load.answered > 50, f"only {load.answered} answers in all that time")
    return f"{load.answered} answers, {len(load.refused)} refused while A itself restarted"
