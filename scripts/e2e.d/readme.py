"""Runs every command of the README, as its reader would."""

import contextlib
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import tempfile

import cli
import manifests
import topology
from harness import Broken, check, expect, until

ROOT = pathlib.Path.cwd()
# What a reader who follows the README has in his folder.
FILES = ["README.md", "compose.yaml", ".env", "services/overlay/two_hosts_config.json"]
# The first command of the README, and what is run instead from another folder: built by `cli`.
RUN = "cargo run --release"
RUN_HERE = f"cargo run --quiet --manifest-path {ROOT}/Cargo.toml"
# `.ci/run` gives this one first of all.
TEST = "cargo test --workspace"
# Blocks by the word after `sh`; the others run on a topology that is up.
TAGS = [
    "",
    "two-machines",
    "docker",
    "tls",
    "collector",
    "grpcurl",
    "raft",
    "raft-docker",
    "chord",
    "kubernetes",
]
# The network namespaces that stand for two machines, and the addresses that the README gives them.
MACHINES = {"ensemble-e2e-1": "10.0.0.1", "ensemble-e2e-2": "10.0.0.2"}


def readme() -> str:
    """The whole text."""
    return (ROOT / "README.md").read_text()


def blocks() -> list[tuple[str, str]]:
    """Tag and text of each block of commands."""
    return re.findall(r"^```sh ?([\w-]*)\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)


def of(tag: str) -> list[str]:
    """The texts of the blocks with a tag."""
    return [text for found, text in blocks() if found == tag]


@contextlib.contextmanager
def folder():
    """A reader's folder, in which `ensemble` and `grpcurl` are found."""
    with tempfile.TemporaryDirectory(prefix="ensemble-readme-") as name:
        path = pathlib.Path(name)
        for file in FILES:
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_bytes((ROOT / file).read_bytes())
        (path / "target").mkdir()
        (path / "target/release").symlink_to(ROOT / cli.PROGRAM.parent)
        tools = path / "bin"
        tools.mkdir()
        (tools / "ensemble").symlink_to(ROOT / cli.PROGRAM)
        grpcurl = tools / "grpcurl"
        program = ROOT / "scripts/e2e.d/grpcurl.py"
        grpcurl.write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
        grpcurl.chmod(grpcurl.stat().st_mode | stat.S_IXUSR)
        yield path


def environment(path: pathlib.Path) -> dict[str, str]:
    """The environment of a command in a reader's folder."""
    built = ROOT / cli.PROGRAM.parent
    return {**os.environ, "PATH": f"{path}/bin:{built}:{os.environ['PATH']}"}


def shell(path: pathlib.Path, text: str, *before: str, seconds: float = 120) -> str:
    """Runs a block; the first command that fails fails it."""
    result = subprocess.run(
        [*before, "bash", "-euc", "shopt -s expand_aliases\n" + text],
        cwd=path,
        env=environment(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    expect(result.returncode == 0, f"{text}exit code {result.returncode}: {result.stdout[-1500:]}")
    return result.stdout


@contextlib.contextmanager
def running(path: pathlib.Path, command: str, *before: str):
    """A command that goes on until it is interrupted, and must then end well.

    What it has printed is told with whatever fails meanwhile.
    """
    with tempfile.TemporaryFile("w+") as screen:
        process = subprocess.Popen(
            [*before, "bash", "-c", f"exec env {command}"],
            cwd=path,
            env=environment(path),
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=subprocess.STDOUT,
        )

        def printed() -> str:
            screen.seek(0)
            return f"{command} printed: {screen.read()[-1500:]}"

        try:
            yield process
        except Exception as error:
            raise Broken(f"{error}\n{printed()}") from error
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            code = process.wait(30)
        expect(code == 0, f"exit code {code}; {printed()}")


@check("every block of the README is one that is run")
def knows_all() -> str:
    unknown = {tag for tag, _ in blocks()} - set(TAGS)
    expect(not unknown, f"unknown: {', '.join(unknown)}")
    missing = [tag for tag in TAGS if not of(tag)]
    expect(not missing, f"no block: {', '.join(missing)}")
    return f"{len(blocks())} blocks"


@check("the README's commands do what it says on one machine", phase="end")
def on_one_machine() -> str:
    plain = of("")
    expect(plain[0].strip() == RUN and plain[1].strip() == TEST, "the two commands come first")
    cli.built()
    with folder() as path:
        rest = iter(plain[2:])
        with running(path, RUN_HERE) as process:
            serves = "ensemble ps && ensemble health"
            until("it serves", 120, lambda: process.poll() is not None or shell(path, serves))
            expect(process.poll() is None, f"it ended with {process.poll()}")
            for text in rest:
                shell(path, text)
                if process.poll() is not None:
                    break
        for text in [*rest, *of("grpcurl")]:
            if not (path / ".ensemble/state.json").exists():
                shell(path, "ensemble up --detach")
            shell(path, text)
        shell(path, "ensemble down")
        for text in [*of("tls"), *of("raft"), *of("chord")]:
            shell(path, text)
    tags = ("grpcurl", "tls", "raft", "chord")
    return f"{len(plain) + sum(len(of(tag)) for tag in tags)} blocks"


@check("the README's commands do what it says on two machines", phase="end")
def on_two_machines() -> None:
    first, second = of("two-machines")
    names = list(MACHINES)
    with contextlib.ExitStack() as stack:
        for name in names:
            topology.command("ip", "netns", "add", name)
            stack.callback(topology.command, "ip", "netns", "delete", name)
        link = ["link", "add", "cable", "netns", names[0], "type", "veth"]
        topology.command("ip", *link, "peer", "name", "cable", "netns", names[1])
        for name, address in MACHINES.items():
            topology.command("ip", "-n", name, "address", "add", f"{address}/24", "dev", "cable")
            topology.command("ip", "-n", name, "link", "set", "lo", "up")
            topology.command("ip", "-n", name, "link", "set", "cable", "up")
        inside = [["ip", "netns", "exec", name] for name in names]
        paths = [stack.enter_context(folder()) for _ in names]
        commands = [text.strip() for text in (first, second)]
        for path, text, before in zip(paths, commands, inside, strict=True):
            stack.enter_context(running(path, text, *before))
        forward = re.search(r"`(ensemble overlay forward --at 10[^`]+)`", readme())[1]
        for path, before in zip(paths, inside, strict=True):
            until("it is whole", 30, lambda p=path, b=before: shell(p, forward + "\n", *b))


@check("the README's commands do what it says with Docker", phase="end")
def with_docker() -> None:
    try:
        for text in [*of("docker"), *of("raft-docker")]:
            shell(ROOT, text, seconds=900)
        moved = re.search(r"`(OVERLAY_SUBNET=[^`]+ docker compose) up --build`", readme())[1]
        shell(ROOT, f"{moved} up --build --detach --wait\n{moved} down\n", seconds=900)
    finally:
        topology.remove()
    # Public images cannot be had everywhere: what would run is rendered.
    for text in of("collector"):
        shell(ROOT, text.replace("up --build", "config --quiet"))
    # There is no cluster here: what would be applied is rendered.
    for text in of("kubernetes"):
        found = [pathlib.Path(each) for each in re.findall(r"apply -k (\S+)", text)]
        expect(found, f"nothing is applied by {text}")
        for overlay in found:
            expect(overlay in manifests.overlays(), f"there is no overlay {overlay}")
