"""What the container of a role may do: almost nothing."""

import pathlib

import topology
from harness import expect


def confined(service: str, mounts: list[tuple[str, str]]) -> None:
    """Runs as nobody in particular, may nothing, and writes to these mounts alone; is reached from
    this machine alone."""
    text = pathlib.Path(f"/proc/{topology.pid(service)}/status").read_text()
    told = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    expect(told["Uid"].split() == ["65532"] * 4, f"{service} runs as {told['Uid']}")
    expect(int(told["CapBnd"], 16) == 0, f"{service} has capabilities {told['CapBnd']}")
    found = topology.inspect(service)
    expect(found["HostConfig"]["ReadonlyRootfs"], f"{service} may write")
    seen = [(each["Type"], each["Destination"]) for each in found["Mounts"]]
    expect(seen == mounts, f"{service} has {seen}")
    for bindings in found["NetworkSettings"]["Ports"].values():
        for binding in bindings or []:
            expect(binding["HostIp"] == "127.0.0.1", f"{service} publishes {binding}")
