"""What an image holds, and that all of them are there."""

import io
import json
import subprocess
import tarfile
import time

import topology
from harness import check, expect, until

LIMIT_BYTES = 10_000_000
USER = "65532:65532"


def images() -> list[str]:
    """The images of all services."""
    services = topology.description(*topology.OURS)["services"].values()
    return sorted({service["image"] for service in services})


def identities() -> list[str]:
    """What tells this build of an image from another."""
    return [
        topology.command("docker", "image", "inspect", "--format", "{{.Id}}", image)
        for image in images()
    ]


@check(
    "the images are built, and built again without a change they stay what they are", phase="start"
)
def built() -> str:
    started = time.monotonic()
    topology.compose(*topology.OURS, "build", "--quiet", seconds=1500)
    first, before = time.monotonic() - started, identities()
    started = time.monotonic()
    topology.compose(*topology.OURS, "build", "--quiet", seconds=300)
    again = time.monotonic() - started
    expect(identities() == before, f"{before} became {identities()}")
    return f"{first:.0f} s, again {again:.1f} s"


@check("an image is small, says what it is, and runs as nobody in particular", phase="start")
def described() -> str:
    sizes = []
    for image in images():
        found = json.loads(topology.command("docker", "image", "inspect", image))[0]
        size, config = found["Size"], found["Config"]
        sizes.append(f"{image.partition('/')[2]} {size / 1e6:.2f} MB")
        expect(size <= LIMIT_BYTES, f"{image} has {size} bytes, more than {LIMIT_BYTES}")
        expect(config["User"] == USER, f"{image} runs as {config['User']!r}")
        expect(config["Entrypoint"] == ["/role"], f"{image} starts {config['Entrypoint']}")
        for label in [
            "title",
            "description",
            "source",
            "version",
            "revision",
            "created",
            "licenses",
        ]:
            label = f"org.opencontainers.image.{label}"
            expect(config["Labels"].get(label), f"{image} has no label {label}")
        title = config["Labels"]["org.opencontainers.image.title"]
        expect(f"ensemble/{title}" == image, f"{image} has the title {title}")
    return ", ".join(sizes)


@check("an image holds one static binary: no shell, no library, no other file", phase="start")
def empty() -> None:
    for image in images():
        saved = subprocess.run(
            ["docker", "save", image], check=True, capture_output=True, timeout=60
        )
        with tarfile.open(fileobj=io.BytesIO(saved.stdout)) as outer:
            manifest = json.load(outer.extractfile("manifest.json"))
            layers = [outer.extractfile(name).read() for name in manifest[0]["Layers"]]
        held, folders = {}, {}
        for layer in layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
                folders |= {entry.name.strip("/"): entry.uid for entry in inner if entry.isdir()}
                held |= {
                    entry.name: inner.extractfile(entry).read() for entry in inner if entry.isfile()
                }
        expect(list(held) == ["role"], f"{image} holds {sorted(held)}")
        # A volume that is mounted there takes over the owner.
        expect(folders == {"data": 65532}, f"{image} holds the folders {folders}")
        expect(held["role"][:4] == b"\x7fELF", f"the binary of {image} is no ELF file")
        expect(interpreter(held["role"]) is None, f"the binary of {image} wants a dynamic linker")


def interpreter(elf: bytes) -> int | None:
    """The index of the program header that names a dynamic linker (PT_INTERP), of 64-bit ELF."""
    offset = int.from_bytes(elf[32:40], "little")
    size, count = (int.from_bytes(elf[at : at + 2], "little") for at in (54, 56))
    kinds = [int.from_bytes(elf[offset + n * size :][:4], "little") for n in range(count)]
    return kinds.index(3) if 3 in kinds else None


@check("`docker compose up` brings the overlay to health", "overlay-a", "host-1", phase="start")
def up() -> str:
    topology.compose("up", "--detach", seconds=120)
    services = topology.description()["services"]
    states = until("every container is healthy", 60, lambda: not unhealthy(services), 0.3)
    return f"{len(services)} containers" if states else ""


def unhealthy(services: dict) -> list[str]:
    """The services whose container is not healthy."""
    states = {name: topology.inspect(name)["State"] for name in services}
    sick = [
        f"{name} {state['Health']['Status']}"
        for name, state in states.items()
        if state["Health"]["Status"] != "healthy"
    ]
    if sick:
        raise RuntimeError(", ".join(sick))
    return sick
