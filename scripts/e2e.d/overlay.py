"""What the overlay promises while nothing is broken."""

import concurrent.futures
import json
import pathlib
import subprocess
import urllib.request

import rpc
import topology
from harness import Broken, check, expect, until

# What the document's own system answers to one request at A.
WHOLE = "A|B|C-processed;B-processed;E|F-processed;D-processed;E-processed"
GREEN = "A|B|C-processed;B-processed"
DOCUMENT = "OverlayNode"
OURS = "ensemble.overlay.v1.OverlayService"
# The member of the enumeration of `ensemble.overlay.v1`.
OPERATIONS = {"process": 1, "word count": 2, "digest": 3}


def known() -> rpc.Schema:
    """The types, learnt from A."""
    return rpc.schema(topology.port("A"))


def forward(process: str = "A", seconds: float = 10):
    """Asks a process as the document's client does."""
    port = topology.port(process)
    return rpc.call(known(), port, f"{DOCUMENT}/Forward", seconds, payload="hello")


def ask(process: str = "A", seconds: float = 10, **fields):
    """Asks a process by our own service."""
    return rpc.call(known(), topology.port(process), f"{OURS}/Forward", seconds, **fields)


def metrics(process: str = "A"):
    """Asks how busy a process is, as the document's client does."""
    return rpc.call(known(), topology.port(process), f"{DOCUMENT}/GetMetrics", 5)


def missing(answer) -> list[str]:
    """The processes that an answer of ours says are missing."""
    return sorted(each.process_id for each in answer.missing)


def settled(seconds: float = 60) -> None:
    """Waits until an answer is whole."""

    def whole() -> bool:
        found = forward(seconds=5).result
        if found != WHOLE:
            raise RuntimeError(f"A answers {found}")
        return True

    until("the whole overlay answers", seconds, whole)


@check(
    "a client made from the document's file gets the document's answer",
    "overlay-a",
    "overlay-b",
    "overlay-e",
)
def answers() -> None:
    settled(20)
    answer = forward()
    expect(answer.result == WHOLE, f"A answers {answer.result!r}")
    expect(sorted(answer.hops) == topology.PROCESSES, f"A names the hops {list(answer.hops)}")


@check("reflection lists every service of every process to a client that is not ours")
def reflected() -> None:
    for process in topology.PROCESSES:
        listed = rpc.services(topology.port(process))
        for service in [
            DOCUMENT,
            OURS,
            "ensemble.observe.v1.ObserveService",
            "grpc.health.v1.Health",
        ]:
            expect(service in listed, f"{process} does not list {service}, but {listed}")
        expect(
            "ensemble.faults.v1.FaultService" not in listed,
            f"{process} lets anybody break it: CHASSIS_FAULTS is off",
        )


@check("the health service says that every process serves")
def healthy() -> None:
    for process in topology.PROCESSES:
        for service in ["", OURS, DOCUMENT]:
            port = topology.port(process)
            answer = rpc.call(known(), port, "grpc.health.v1.Health/Check", service=service)
            expect(answer.status == 1, f"{process} says {answer.status} of {service!r}")


@check("an answer names everybody who took part and nobody missing", "overlay-a")
def whole() -> None:
    answer = ask(payload=b"hello")
    visited = sorted({visit.process_id for visit in answer.visits})
    expect(answer.result == WHOLE, f"A answers {answer.result!r}")
    expect(visited == topology.PROCESSES, f"A names the visits {visited}")
    expect(not answer.missing, f"A misses {missing(answer)}")


@check("the workers count words as `wc` does, each its own part", "overlay-a", "overlay-c")
def counted() -> None:
    text = pathlib.Path("Cargo.lock").read_bytes()
    told = subprocess.run(["wc"], input=text, capture_output=True, check=True).stdout.split()
    answer = ask(payload=text, operation=OPERATIONS["word count"])
    seen = [answer.word_count.lines, answer.word_count.words, answer.word_count.bytes]
    expect(seen == [int(each) for each in told], f"{seen} instead of {told}")
    parts = sum(visit.part.length for visit in answer.visits if visit.HasField("part"))
    expect(parts == len(text), f"the parts have {parts} bytes, the text {len(text)}")


@check("ten requests at once are all answered in full, and the metrics tell", "overlay-a")
def concurrent_requests() -> str:
    """The document's system test."""
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        found = [each.result for each in pool.map(lambda _: forward(), range(10))]
    expect(found == [WHOLE] * 10, f"A answers {found}")
    told = metrics()
    expect((told.process_id, told.role, told.team) == ("A", "leader", "green"), str(told))
    expect(told.is_healthy and told.max_capacity == 100 and told.queue_size == 0, str(told))
    expect(told.avg_processing_time_ms > 0, str(told))
    return f"mean {told.avg_processing_time_ms:.1f} ms"


@check("a process runs as 65532 without capabilities, and can gain and write nothing")
def confined() -> None:
    services = [topology.service(each) for each in topology.PROCESSES] + ["host-1", "host-2"]
    for service in services:
        status = pathlib.Path(f"/proc/{topology.pid(service)}/status").read_text()
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        expect(told["Uid"].split() == ["65532"] * 4, f"{service} runs as {told['Uid']}")
        for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
            expect(int(told[kind], 16) == 0, f"{service} has {kind} {told[kind]}")
        expect(told["NoNewPrivs"] == "1", f"{service} may gain privileges")
        expect(topology.inspect(service)["HostConfig"]["ReadonlyRootfs"], f"{service} may write")


@check("only loopback reaches the published ports")
def published() -> None:
    for service in ["host-1", "host-2"]:
        for bindings in topology.inspect(service)["NetworkSettings"]["Ports"].values():
            for binding in bindings or []:
                expect(binding["HostIp"] == "127.0.0.1", f"{service} publishes {binding}")


@check("Prometheus' own tool accepts the metrics of every process")
def scraped() -> str:
    lines = 0
    for process in topology.PROCESSES:
        url = f"http://127.0.0.1:{topology.port(process)}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        lines += len(text.splitlines())
        verdict = subprocess.run(
            ["target/tools/bin/promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            timeout=20,
        )
        expect(
            verdict.returncode == 0 and not verdict.stderr.strip(),
            f"{process}: {verdict.stdout}{verdict.stderr}",
        )
        expect(
            any(not line.startswith("#") for line in text.splitlines()), f"{process} has no metrics"
        )
    return f"{lines} lines"


@check("every line that a process writes is JSON and names its role")
def logged() -> str:
    count = 0
    for process in topology.PROCESSES:
        service = topology.service(process)
        role = topology.description()["services"][service]["image"].partition("/")[2]
        for line in topology.logs(service):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise Broken(f"{service} writes {line!r}: {error}") from error
            expect(isinstance(entry, dict) and role in line, f"{service} writes {line!r}")
            count += 1
    return f"{count} lines"
