"""`ensemble`, as its users have it, against what runs in containers."""

import functools
import pathlib
import subprocess

import topology

# What `cargo test` has half built already; the images show that the release builds.
PROGRAM = pathlib.Path("target/debug/ensemble")


@functools.cache
def built() -> pathlib.Path:
    """The program, built from what is here."""
    subprocess.run(["cargo", "build", "--locked"], check=True, capture_output=True, timeout=1500)
    return PROGRAM.resolve()


def ensemble(*arguments: str, seconds: float = 60) -> str:
    """What a command prints that must succeed."""
    return topology.command(str(built()), *arguments, seconds=seconds)


def refused(*arguments: str) -> tuple[int, str]:
    """The exit code of a command, and what it prints on standard output."""
    result = subprocess.run([built(), *arguments], capture_output=True, text=True, timeout=60)
    return result.returncode, result.stdout
