"""A simulated annotator: claims a pair, decides by a hidden rule with a known share of slips, and answers."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from app.simulation.gold import Rule

GONE = 410
"""The pair was withdrawn or went to somebody else while it was being read: take the next one."""
UNREACHABLE = "Pairloop at {url} does not answer. Start it with `pairloop up`, or correct --url."


class SimulationError(Exception):
    """The simulation cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Shown:
    """One response as the annotator sees it."""

    id: str
    text: str


@dataclass(frozen=True)
class Decision:
    """What the annotator answered: `preferred` is None for a tie; `slip` says that the rule meant the other one."""

    preferred: str | None
    strength: int | None
    slip: bool
    difference: float
    """The rule's score of the first response shown minus that of the second."""


def decide(rule: Rule, shown: tuple[Shown, Shown], flips: float, chance: random.Random) -> Decision:
    """Prefer the response the rule scores higher, the other one with probability `flips`; a tie if they are equal."""
    first, second = shown
    difference = rule.score(first.text) - rule.score(second.text)
    if difference == 0:
        return Decision(preferred=None, strength=None, slip=False, difference=0.0)
    slip = chance.random() < flips
    better, worse = (first, second) if difference > 0 else (second, first)
    return Decision((worse if slip else better).id, rule.strength(difference), slip, difference)


@dataclass
class Tally:
    """What a simulated annotator has answered so far."""

    preferred: int = 0
    ties: int = 0
    slips: int = 0

    def count(self, decision: Decision) -> None:
        self.preferred += decision.preferred is not None
        self.ties += decision.preferred is None
        self.slips += decision.slip

    @property
    def answers(self) -> int:
        return self.preferred + self.ties

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.preferred + other.preferred, self.ties + other.ties, self.slips + other.slips)


@dataclass
class SimulatedAnnotator:
    """Answers pairs of one project through the HTTP API; `client` carries the base URL and the bearer token."""

    client: httpx.Client
    project: str
    rule: Rule
    flips: float
    chance: random.Random
    tally: Tally = field(default_factory=Tally)

    def answer_next(self) -> Decision | None:
        """Claim the next pair, decide, and send the answer; None when no pair waits for this annotator.

        Raises SimulationError if the token belongs to a person: their name must never stand under such an answer.
        """
        while True:
            claimed = self._request("POST", f"/api/v1/projects/{self.project}/assignments", {})
            if claimed.status_code == 204:
                return None
            body, started = claimed.json(), time.monotonic()
            first, second = (Shown(one["id"], one["text"]) for one in body["responses"])
            decision = decide(self.rule, (first, second), self.flips, self.chance)
            path = f"/api/v1/assignments/{body['assignment']}/answer"
            seconds = round(time.monotonic() - started, 3)
            stored = self._request("POST", path, {**_as_sent(decision), "seconds": seconds})
            if stored.status_code != GONE:
                break
        if not stored.json()["simulated"]:
            self._request("DELETE", path)
            raise SimulationError(
                "This token belongs to a person, and simulated answers under a person's name would be taken for real "
                "ones. The answer was withdrawn. Make a user for the simulation: pairloop create-user --kind simulated."
            )
        self.tally.count(decision)
        return decision

    def answer(self, count: int, patience: float) -> Iterator[Decision]:
        """Answer up to `count` pairs; when none waits, look again until `patience` seconds passed without one."""
        waiting_since: float | None = None
        while count > 0:
            decision = self.answer_next()
            if decision is not None:
                waiting_since, count = None, count - 1
                yield decision
                continue
            waiting_since = waiting_since or time.monotonic()
            if time.monotonic() - waiting_since >= patience:
                return
            time.sleep(min(1.0, patience / 4))

    def _request(self, method: str, path: str, body: dict[str, object] | None = None) -> httpx.Response:
        try:
            answer = self.client.request(method, path, json=body)
        except httpx.TransportError as problem:
            raise SimulationError(UNREACHABLE.format(url=self.client.base_url)) from problem
        if answer.is_success or answer.status_code == GONE:
            return answer
        problem_json = "json" in answer.headers.get("content-type", "")
        said = answer.json().get("detail", "") if problem_json else answer.text[:200]
        raise SimulationError(f"{method} {path} was answered with {answer.status_code}: {said}")


def _as_sent(decision: Decision) -> dict[str, object]:
    if decision.preferred is None:
        return {"verdict": "tie"}
    return {"verdict": "preferred", "preferred": decision.preferred, "strength": decision.strength}
