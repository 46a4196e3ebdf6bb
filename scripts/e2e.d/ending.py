"""How the overlay ends."""

import time

import page
import topology
from harness import check, expect


@check(
    "every container stops by itself within its grace",
    *map(topology.service, "ABCDEF"),
    phase="end",
)
def stops() -> str:
    # Other profiles have it too, and it went with them.
    topology.compose("up", "--detach", "--no-build", page.SERVICE)
    started = time.monotonic()
    topology.compose("stop", seconds=60)
    took = time.monotonic() - started
    for service in topology.description()["services"]:
        state = topology.inspect(service)["State"]
        expect(
            state["Status"] == "exited" and state["ExitCode"] == 0,
            f"{service} is {state['Status']} with exit code {state['ExitCode']}",
        )
    return f"all in {took:.1f} s"


@check("nothing is left when it is taken down", phase="end")
def leaves_nothing() -> None:
    topology.remove()
    left = topology.leftovers()
    expect(not left, f"left: {', '.join(left)}")
