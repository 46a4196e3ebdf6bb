"""The topology in containers: what compose.yaml says of it, and what is done to it."""

import functools
import json
import os
import re
import signal
import subprocess

# Beside a topology that a user runs, not in its place.
PROJECT = "ensemble-e2e"
os.environ["COMPOSE_PROJECT_NAME"] = PROJECT
PROCESSES = ["A", "B", "C", "D", "E", "F"]
SECOND_HOST = ["C", "E", "F"]
# Every profile whose images are ours.
OURS = ("--profile", "overlay", "--profile", "raft", "--profile", "chord")


def service(process: str) -> str:
    """The service of a process, such as `overlay-a`."""
    return f"overlay-{process.lower()}"


def command(
    *arguments: str, seconds: float = 60, fails: bool = False, given: str = "", **environment: str
) -> str:
    """Runs a command, given a text, and returns what it prints. Where it `fails`, so does this
    not."""
    result = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **environment},
        input=given,
    )
    if result.returncode != 0 and not fails:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-25:])
        raise RuntimeError(f"{' '.join(arguments)}: exit code {result.returncode}:\n{tail}")
    return result.stdout


def compose(*arguments: str, seconds: float = 60, fails: bool = False, **environment: str) -> str:
    """Runs `docker compose`."""
    return command("docker", "compose", *arguments, seconds=seconds, fails=fails, **environment)


@functools.cache
def description(*options: str) -> dict:
    """What compose.yaml says once its variables are replaced."""
    return json.loads(compose(*options, "config", "--format", "json"))


@functools.cache
def addresses() -> dict[str, tuple[str, int]]:
    """Host and port of each process."""
    text = description()["services"]["overlay-a"]["environment"]["OVERLAY_ADDRESSES"]
    found = re.findall(r"(\w+)=([\d.]+):(\d+)", text)
    return {name: (host, int(port)) for name, host, port in found}


def port(process: str) -> int:
    """The port of a process, published on loopback under the same number."""
    return addresses()[process][1]


def container(of: str) -> str:
    """The container of a service."""
    return f"{PROJECT}-{of}-1"


def inspect(of: str) -> dict:
    """What Docker knows about the container of a service."""
    return json.loads(command("docker", "inspect", container(of)))[0]


def pid(of: str) -> int:
    """The process id of a running container."""
    found = inspect(of)["State"]["Pid"]
    if not found:
        raise RuntimeError(f"{of} does not run")
    return found


def kill(process_id: int) -> None:
    """Ends a process as a crash does; after `docker kill` Docker would restart nothing."""
    os.kill(process_id, signal.SIGKILL)


def logs(of: str) -> list[str]:
    """Every line that a service has written in the life of its container, to stdout or stderr."""
    result = subprocess.run(
        ["docker", "logs", container(of)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=True,
    )
    return result.stdout.splitlines()


def last_logs(of: str) -> str:
    """The last lines of a service, indented."""
    try:
        return "\n".join(f"    {line[:400]}" for line in logs(of)[-15:])
    except subprocess.SubprocessError as error:
        return f"    {error}"


def state() -> str:
    """One line a container."""
    form = "    {{.Service}}: {{.State}} {{.Health}} {{.Status}}"
    return compose(*OURS, "ps", "--all", "--format", form, fails=True).rstrip()


def network() -> str:
    """The network of the overlay."""
    return f"{PROJECT}_overlay"


def cut_host(host: str) -> None:
    """Pulls a host's cable."""
    command("docker", "network", "disconnect", network(), container(host))


def join_host(host: str) -> None:
    """Plugs it in again, under the address that it had."""
    told = description()["services"][host]["networks"]["overlay"]["ipv4_address"]
    command(
        "docker", "network", "connect", "--ip", told, "--alias", host, network(), container(host)
    )


def is_cut(host: str) -> bool:
    """Whether a host's cable is out."""
    return network() not in inspect(host)["NetworkSettings"]["Networks"]


def leftovers(word: str = "") -> list[str]:
    """Containers, networks and volumes of this project with this word in their names."""
    label = f"label=com.docker.compose.project={PROJECT}"
    found = []
    for kind, *options in (
        ["container", "--all", "--format", "{{.Names}}"],
        ["network", "--format", "{{.Name}}"],
        ["volume", "--format", "{{.Name}}"],
    ):
        listed = command("docker", kind, "ls", *options, "--filter", label)
        found += [f"{kind} {name}" for name in listed.split() if word in name]
    return found


def remove() -> int:
    """Removes the topology, whatever state it is in."""
    command("docker", "rm", "--force", container("collector"), fails=True)
    remove_pods()
    down = ["down", "--volumes", "--remove-orphans", "--timeout", "5"]
    compose(*OURS, "--profile", "collector", *down, seconds=120)
    return 0


def remove_pods() -> None:
    """Removes the containers that stand for pods, and their network."""
    label = f"label={PROJECT}=pod"
    pods = command("docker", "container", "ls", "--all", "--quiet", "--filter", label).split()
    if pods:
        command("docker", "rm", "--force", "--volumes", *pods)
    command("docker", "network", "rm", f"{PROJECT}-pods", fails=True)


def image_of(of: str) -> str:
    """The image of a service."""
    return description()["services"][of]["image"]
