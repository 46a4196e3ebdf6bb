"""What clients were told of the keys of a hash ring, and whether a ring that loses nothing could
have told it.

A key is saved once and removed once at most, by one client. What was not answered may have been
done or not: such a key is not judged.
"""

import threading

SAVED, REMOVED = "saved", "removed"


def value_of(key: str) -> bytes:
    """What is saved under a key."""
    return f"what {key} holds".encode()


class Keys:
    """Keys, each with what was acknowledged last. Used by many threads."""

    def __init__(self):
        self.lock = threading.Lock()
        # In the order of their saving.
        self.known: dict[str, str | None] = {}
        self.certain: list[str] = []
        self.acknowledged = 0
        self.found = 0
        self.wrong: list[str] = []

    def attempt(self, key: str) -> None:
        """A client is about to save or remove it."""
        with self.lock:
            self.known[key] = None

    def acknowledge(self, key: str, state: str, done: bool, who: str) -> None:
        """A client was answered. Whoever saves first and removes once must have done both."""
        with self.lock:
            if not done:
                self.wrong.append(f"{who} says that {key} was not {state}, though nobody else did")
                return
            self.acknowledged += 1
            self.known[key] = state
            self.certain.append(key)

    def expected(self, key: str) -> str | None:
        """What must be found, if that is certain."""
        return self.known.get(key)

    def tell(self, key: str, before: str | None, value: bytes | None, who: str) -> None:
        """A client looked for it, and this much was certain `before` it asked."""
        with self.lock:
            self.found += 1
            if before is None or before != self.known[key]:
                return
            if before == SAVED and value is None:
                self.wrong.append(f"{who} does not find {key}, which was saved")
            elif before == REMOVED and value is not None:
                self.wrong.append(f"{who} finds {key}, which was removed")
            elif value is not None and value != value_of(key):
                self.wrong.append(f"{who} finds {value!r} under {key}")
