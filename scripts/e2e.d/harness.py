"""How a check is declared, run, timed and reported, and how a condition is waited for."""

import dataclasses
import signal
import sys
import time
import traceback
from collections.abc import Callable

import topology


class Broken(Exception):
    """A promise that does not hold, and how that was seen."""


@dataclasses.dataclass
class Check:
    """One promise, how it is proved, and whose logs say more when it is broken."""

    promise: str
    prove: Callable[[], str | None]
    concerns: tuple[str, ...]
    # `start`: nothing after it makes sense without it; `end`: nothing can follow it; or neither.
    phase: str | None


CHECKS: list[Check] = []


def check(promise: str, *concerns: str, phase: str | None = None):
    """Declares a check. Its function may return figures to print, and raises when it fails."""

    def declare(prove: Callable[[], str | None]) -> Callable[[], str | None]:
        CHECKS.append(Check(promise, prove, concerns, phase))
        return prove

    return declare


def expect(true: object, otherwise: str) -> None:
    """Fails with what was seen instead."""
    if not true:
        raise Broken(otherwise)


def until(what: str, seconds: float, condition: Callable[[], object], every: float = 0.1):
    """Waits for a condition and returns its value. An exception is a condition not yet met."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
            seen = repr(value)
            if value:
                return value
        except Exception as error:  # whatever it is, it may pass
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise Broken(f"{what}: not within {seconds:g} s; last seen: {seen[:600]}")
        time.sleep(every)


def run(word: str | None, keep: bool) -> int:
    """Runs the checks and returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = [c for c in CHECKS if word is None or (word in c.promise and not c.phase)]
    if keep:
        chosen = [c for c in chosen if c.phase != "end"]
    if not chosen:
        print(f"e2e: no check says {word!r}", file=sys.stderr)
        return 2
    passed, failed, started = 0, [], time.monotonic()
    try:
        if word is None:
            topology.remove()
        for each in chosen:
            if carried_out(each):
                passed += 1
            else:
                failed.append(each.promise)
                if each.phase == "start":
                    break
    finally:
        if not keep and word is None:
            topology.remove()
    seconds = time.monotonic() - started
    for promise in failed:
        print(f"broken: {promise}")
    print(f"e2e: {passed} passed, {len(failed)} failed in {seconds:.0f} s")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed else 0


def carried_out(each: Check) -> bool:
    """Whether a promise holds; prints its line."""
    started = time.monotonic()
    try:
        figures = each.prove()
        seconds = time.monotonic() - started
        print(f"ok      {seconds:6.1f} s  {each.promise}" + (f" ({figures})" if figures else ""))
        sys.stdout.flush()
        return True
    except Exception as error:  # whatever it is, the promise is not proved
        seconds = time.monotonic() - started
        print(f"FAILED  {seconds:6.1f} s  {each.promise}\n  {error}")
        if not isinstance(error, Broken):
            traceback.print_exc(limit=-4, file=sys.stdout)
        print(topology.state())
        for service in each.concerns:
            print(f"  last logs of {service}:\n{topology.last_logs(service)}")
        sys.stdout.flush()
        return False
