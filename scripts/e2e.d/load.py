"""A queue that fills, and what a collector is told: the overlay started with faults and export."""

import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import threading
import time

import grpc
import overlay
import rpc
import topology
from harness import check, expect, until

FAULTS = "ensemble.faults.v1.FaultService"
WORKERS = ["C", "D", "F"]
# Requests in hand, and requests that wait, by the document.
IN_HAND, WAITING = 100, 200
# More than both, so that some must be refused.
FLOOD = 400
# How long each message to a worker waits: what 300 requests take must fit into their budget.
DELAY_MS = 1500
BUDGET_MS = 30_000


def start_collector() -> None:
    """A real collector under the name that compose.yaml gives the profile's: rotel, which prints
    all that it is sent. It runs in an empty container, with the libraries of this machine."""
    agent = next(pathlib.Path("target/tools/lib").glob("python*/site-packages/rotel/rotel-agent"))
    linked = topology.command("ldd", str(agent))
    loader = re.search(r"^\s*(/\S*ld-linux\S*)", linked, re.MULTILINE)[1]
    mounts = {os.path.realpath(loader): "/loader", os.path.realpath(agent): "/agent"}
    for name, path in re.findall(r"(\S+) => (/\S+)", linked):
        mounts[os.path.realpath(path)] = f"/libraries/{name}"
    topology.command(
        "docker",
        "run",
        "--detach",
        "--name",
        topology.container("collector"),
        "--network",
        topology.network(),
        "--network-alias",
        "collector",
        "--read-only",
        "--user",
        "65532:65532",
        "--cap-drop",
        "ALL",
        *[word for it in mounts.items() for word in ("--volume", f"{it[0]}:{it[1]}:ro")],
        "--entrypoint",
        "/loader",
        topology.image_of("host-1"),
        "--library-path",
        "/libraries",
        "/agent",
        "start",
        "--otlp-grpc-endpoint",
        "0.0.0.0:4317",
        "--otlp-http-endpoint",
        "127.0.0.1:4318",
        "--exporter",
        "blackhole",
        "--debug-log",
        "traces",
        "--debug-log",
        "metrics",
        "--debug-log-verbosity",
        "detailed",
    )


@check("the overlay starts anew with faults allowed and a collector to tell", *["overlay-a"])
def anew() -> None:
    start_collector()
    topology.compose(
        "up",
        "--detach",
        seconds=120,
        CHASSIS_FAULTS="on",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317",
        OTEL_METRIC_EXPORT_INTERVAL="1000",
    )
    overlay.settled()
    listed = rpc.services(topology.port("A"))
    expect(FAULTS in listed, f"A does not list {FAULTS}, but {listed}")


class Gauge(threading.Thread):
    """Asks A all the time how busy it is, and keeps the most that it says."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most_queued = self.most_active = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            try:
                told = overlay.metrics()
            except grpc.RpcError:
                continue
            self.most_queued = max(self.most_queued, told.queue_size)
            self.most_active = max(self.most_active, told.active_requests)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join(10)


def flood() -> collections.Counter:
    """Sends all requests at once and counts the outcomes."""
    known, port = overlay.known(), topology.port("A")
    outcomes: collections.Counter = collections.Counter()
    channels = [rpc.channel(port) for _ in range(8)]
    try:
        calls = []
        for number in range(FLOOD):
            stub, request = known.stub(channels[number % 8], f"{overlay.OURS}/Forward")
            asked = request(payload=b"hello", budget_ms=BUDGET_MS)
            calls.append(stub.future(asked, timeout=BUDGET_MS / 1000 + 10))
        for each in calls:
            try:
                answer = each.result()
                whole = answer.result == overlay.WHOLE
                outcomes["whole" if whole else f"missing {overlay.missing(answer)}"] += 1
            except grpc.RpcError as error:
                outcomes[error.code().name] += 1
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    delay = rpc.retry_delay_seconds(error)
                    expect(delay is not None and delay > 0, f"no retry delay: {error.details()}")
                    outcomes["with a retry delay"] += 1
    finally:
        for each in channels:
            each.close()
    return outcomes


def heal() -> None:
    for process in WORKERS:
        rpc.call(overlay.known(), topology.port(process), f"{FAULTS}/Heal")


@check(
    "a flood fills the queue to its limit, is refused beyond with a delay, and all recovers",
    "overlay-a",
    "overlay-b",
    "overlay-e",
)
def flooded() -> str:
    for process in WORKERS:
        rpc.call(
            overlay.known(),
            topology.port(process),
            f"{FAULTS}/Delay",
            least_ms=DELAY_MS,
            most_ms=DELAY_MS,
        )
    try:
        with Gauge() as gauge:
            outcomes = flood()
    finally:
        heal()
    seen = f"{dict(outcomes)}, at most {gauge.most_active} in hand, {gauge.most_queued} waiting"
    expect(gauge.most_queued == WAITING, seen)
    expect(gauge.most_active == IN_HAND, seen)
    expect(outcomes["RESOURCE_EXHAUSTED"] == FLOOD - IN_HAND - WAITING, seen)
    expect(outcomes["with a retry delay"] == outcomes["RESOURCE_EXHAUSTED"], seen)
    expect(outcomes["whole"] == IN_HAND + WAITING, seen)
    overlay.settled(20)
    until("nothing waits any more", 10, lambda: overlay.metrics().queue_size == 0)
    return seen


@check(
    "a frozen worker costs its own share only, and is back when it thaws",
    "overlay-a",
    "overlay-b",
    "overlay-c",
)
def frozen() -> str:
    container = topology.container("overlay-c")
    topology.command("docker", "pause", container)
    try:
        started = time.monotonic()
        answer = overlay.ask(payload=b"hello", seconds=20)
        took = time.monotonic() - started
        expect(overlay.missing(answer) == ["C"], f"A misses {overlay.missing(answer)}")
        expect("F-processed" in answer.result, f"A answers {answer.result}")
    finally:
        topology.command("docker", "unpause", container)
    overlay.settled(20)
    return f"answered without it after {took:.1f} s"


@check(
    "a collector is told one trace that passes all six processes, and everybody's metrics",
    "overlay-a",
    "collector",
)
def collected() -> str:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: overlay.forward(), range(8)))

    def told() -> tuple[int, int]:
        traces, metrics = received(topology.logs("collector"))
        longest = max(traces.values(), key=lambda spans: sum(spans.values()), default={})
        # A, B, C, D, E, F: one leader, two team leaders, three workers.
        roles = {"overlay-leader", "overlay-team-leader", "overlay-worker"}
        if set(longest) != roles or sum(longest.values()) < 6:
            raise RuntimeError(f"the longest of {len(traces)} traces is {dict(longest)}")
        if not all(metrics.get(role) for role in roles):
            raise RuntimeError(f"metrics of {metrics.keys()}")
        return sum(longest.values()), len(set().union(*metrics.values()))

    spans, names = until("the collector is told", 30, told, 0.5)
    return f"{spans} spans in one trace, {names} metrics"


def received(lines: list[str]) -> tuple[dict[str, collections.Counter], dict[str, set[str]]]:
    """What rotel printed: spans by service of each trace, names of metrics of each service."""
    traces: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    metrics: dict[str, set[str]] = collections.defaultdict(set)
    service, within_metric = "", False
    for line in lines:
        if found := re.search(r"-> service\.name: Str\((.*)\)", line):
            service = found[1]
        elif found := re.match(r"\s*Trace ID\s*: ([0-9a-f]{32})", line):
            traces[found[1]][service] += 1
        elif line.startswith("Metric #"):
            within_metric = True
        elif within_metric and (found := re.search(r"(?:->\s*)?Name\s*: (\S+)", line)):
            metrics[service].add(found[1])
            within_metric = False
    return traces, metrics


@check("the profile with a collector is one that Compose accepts")
def rendered() -> str:
    config = topology.description("--env-file", "docker/collector.env")
    services = config["services"]
    expect({"collector", "jaeger", "prometheus"} <= services.keys(), f"{sorted(services)}")
    for name, service in services.items():
        for each in service.get("ports", []):
            expect(each.get("host_ip") == "127.0.0.1", f"{name} publishes {each}")
    told = services["overlay-a"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    expect(told == "http://collector:4317", f"A is told of {told}")
    verdict = subprocess.run(
        ["target/tools/bin/promtool", "check", "config", "docker/prometheus.yaml"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    expect(verdict.returncode == 0, verdict.stdout + verdict.stderr)
    return f"{len(services)} services"
