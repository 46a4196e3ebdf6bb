"""What clients were told by a store, and whether one store without faults could have told it.

A key is written by one client alone, with the numbers 1, 2, 3, … in this order, each on the
condition that nothing has come in between: so no number can take effect after a greater one that
was acknowledged. A read answers 0 for a key that does not exist. Then the store is linearizable
exactly if no read is older than what was acknowledged or read before it began, nor newer than what
was asked for before it ended.
"""

import bisect
import collections
import dataclasses
import threading


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """One answer: which node told a client that a key had a number, or had it from then on."""

    node: str
    key: str
    number: int
    began: float
    ended: float
    written: bool


class History:
    """Every answer, and everything that was asked to be written. Filled by many threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.answers: list[Told] = []
        # Of each key, when each number was first asked for, in order of time.
        self.attempts: dict[str, list[tuple[float, int]]] = collections.defaultdict(list)
        self.refused: collections.Counter = collections.Counter()

    def attempt(self, key: str, number: int, began: float) -> None:
        """A client is about to write."""
        with self.lock:
            self.attempts[key].append((began, number))

    def tell(self, told: Told) -> None:
        """A client was answered."""
        with self.lock:
            self.answers.append(told)

    def refuse(self, code: str) -> None:
        """A client was refused, or not answered: what it wrote may be done or not."""
        with self.lock:
            self.refused[code] += 1

    def written(self) -> dict[str, int]:
        """The greatest number of each key that was acknowledged."""
        found: dict[str, int] = {}
        for told in self.answers:
            if told.written:
                found[told.key] = max(found.get(told.key, 0), told.number)
        return found

    def writes(self) -> int:
        """How many writes were acknowledged."""
        return sum(told.written for told in self.answers)

    def reads(self) -> int:
        """How many reads were answered."""
        return sum(not told.written for told in self.answers)

    def longest_gap(self) -> float:
        """The longest time, in seconds, between two acknowledged writes."""
        times = sorted(told.ended for told in self.answers if told.written)
        return max((b - a for a, b in zip(times, times[1:], strict=False)), default=0.0)

    def by(self, node: str, since: float, until: float) -> list[Told]:
        """What one node answered to questions that were asked and answered in this time."""
        return [
            told
            for told in self.answers
            if told.node == node and since <= told.began and told.ended <= until
        ]

    def wrong(self) -> list[str]:
        """Every answer that no store without faults would give."""
        found = []
        by_key = collections.defaultdict(list)
        for told in self.answers:
            by_key[told.key].append(told)
        for key, answers in by_key.items():
            settled = Steps((told.ended, told.number) for told in answers)
            asked = Steps(self.attempts[key])
            for told in answers:
                least, most = settled.before(told.began), asked.before(told.ended)
                if told.number < least:
                    what = "writes" if told.written else "reads"
                    found.append(f"{told.node} {what} {key} = {told.number} after {least}")
                elif told.number > most:
                    found.append(f"{told.node} reads {key} = {told.number}, asked were {most}")
        return found


class Steps:
    """Numbers that come at some times: the greatest before a time."""

    def __init__(self, steps):
        self.times, self.greatest = [], []
        most = 0
        for time, number in sorted(steps):
            most = max(most, number)
            self.times.append(time)
            self.greatest.append(most)

    def before(self, time: float) -> int:
        """The greatest number strictly before a time; 0 if there is none."""
        at = bisect.bisect_left(self.times, time)
        return self.greatest[at - 1] if at else 0
