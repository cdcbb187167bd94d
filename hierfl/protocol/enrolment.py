"""What enrolment comes to: the facts about all nodes' data, merged up the tree and told downwards.

A parent that has heard all its children merges what they hold. Whoever holds data from which the
others could not learn is turned away, and may come again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence

from hierfl.errors import PayloadError, RunFailed
from hierfl.link.absence import AbsenceReporter, listed
from hierfl.link.enrol_client import EnrolClient
from hierfl.link.enrolment import Enrolment
from hierfl.protocol.checkpoint import Checkpoint
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.facts import Facts, FactsConflict

log = logging.getLogger(__name__)

ALL = "the others"


class Gathering:
    """Hears a parent's children until they are enough.

    Args:
        enrolment: the children.
        names: all of them.
        quorum: the share of them that is enough.
        say: is told, now and then, who is waited for.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        names: Sequence[str],
        quorum: float = 1.0,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self._enrolment = enrolment
        self._names = names
        self._least = math.ceil(quorum * len(names) - 1e-9)
        self._say = say
        self._parsed: dict[bytes, Facts] = {}

    def facts(self, timeout: float, grace: float) -> dict[str, Facts]:
        """Return what each child holds that has come in time.

        Args:
            timeout: seconds within which the quorum must have come.
            grace: seconds to wait for the others beyond the quorum.

        Raises:
            RunFailed: those that came are no quorum.
        """
        limit = by = time.monotonic() + timeout
        heard: dict[str, Facts] = {}
        with AbsenceReporter(self._missing, self._say):
            while len(heard) < len(self._names):
                said = self._enrolment.said()
                heard = self._agreeing(said)
                now = time.monotonic()
                by = min(by, now + grace) if len(heard) >= self._least else limit
                if len(heard) < len(self._names) and not self._changes(said, by - now):
                    break
        if len(heard) < self._least:
            raise RunFailed(
                f"{listed(self._missing())} did not enrol within {timeout:g} s",
                "Are they running, and can they reach this node? Its log names who was turned "
                "away, and why.",
            )
        if missing := self._missing():
            log.warning("going on without %s", listed(missing))
        return heard

    def _missing(self) -> list[str]:
        said = self._enrolment.said()
        return [name for name in self._names if name not in said]

    def _changes(self, said: Mapping[str, bytes], seconds: float) -> bool:
        return self._enrolment.wait(lambda now: now != said, max(0.0, seconds))

    def _agreeing(self, said: Mapping[str, bytes]) -> dict[str, Facts]:
        """Return the largest group whose data go together; turn the others away.

        While most children are missing, nobody knows yet who differs from whom.
        """
        facts = {name: one for name in sorted(said) if (one := self._parse(name, said[name]))}
        groups: list[dict[str, Facts]] = []
        for name, one in facts.items():
            for group in groups:
                if not one.difference(next(iter(group.values())), name, ALL):
                    group[name] = one
                    break
            else:
                groups.append({name: one})
        if not groups:
            return {}
        largest = max(groups, key=len)
        if 2 * len(largest) > len(self._names) or len(facts) == len(self._names):
            for name in facts.keys() - largest.keys():
                reason = str(_conflict(name, facts[name], largest))
                self._enrolment.refuse(name, said[name], reason)
        return largest

    def _parse(self, name: str, data: bytes) -> Facts | None:
        try:
            if data not in self._parsed:
                self._parsed[data] = Facts.from_bytes(data)
            return self._parsed[data]
        except PayloadError as error:
            self._enrolment.refuse(name, data, f"it sent {error}")
            return None


def tell(enrolment: Enrolment, whole: Facts) -> None:
    """Tell all children, now and later, what all nodes hold together."""
    enrolment.answer(whole.to_bytes(), lambda name, said: misfit(name, said, whole))


def enrol(client: EnrolClient, own: Facts) -> Facts:
    """Say what is here, and wait until all nodes have enrolled; return what all hold together.

    Raises:
        HierflError: as `EnrolClient.enrol`.
        PayloadError: the parent sent what are no facts.
    """
    whole = Facts.from_bytes(client.enrol(own.to_bytes()))
    log.info("enrolled with %d samples of %d in all", own.examples, whole.examples)
    return whole


def misfit(name: str, said: bytes, whole: Facts) -> str:
    """Return why a node cannot learn with the others that comes after they have enrolled, or "".

    Args:
        name: the node's.
        said: what it says of its data.
        whole: what is known of all others' data; it stays as it is.
    """
    try:
        one = Facts.from_bytes(said)
    except PayloadError as error:
        return f"it sent {error}"
    if difference := whole.difference(one, ALL, name):
        return str(FactsConflict(name, ALL, difference))
    if unknown := {*one.labels} - {*whole.labels}:
        first = min(unknown, key=str)
        return (
            f"{name} holds samples of the class {first!r}, which nobody held who enrolled before "
            "the run began: models have no output for it"
        )
    if one.highest is not None and one.highest > (whole.highest or 0):
        return f"{name} holds the token {one.highest}; at the others {whole.highest} is the highest"
    return ""


def _conflict(name: str, one: Facts, others: Mapping[str, Facts]) -> FactsConflict:
    other, facts = next(iter(others.items()))
    return FactsConflict(name, other, facts.difference(one, other, name))


class KeptFacts:
    """What all nodes hold together, kept at the cloud: a run goes on with the same.

    Args:
        store: where it is kept; under a name of its own.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store

    def current(self) -> str | None:
        """Return the last run of which the facts are kept."""
        return self._store.current()

    def read(self, run: str) -> Facts | None:
        """Return a run's facts, or None."""
        found: list[Facts] = []
        self._store.enter(run).restore_last(
            lambda kept: found.append(Facts.from_bytes(kept.fact("data", str).encode()))
        )
        return found[0] if found else None

    def keep(self, run: str, facts: Facts) -> None:
        """Keep a run's facts.

        Raises:
            CheckpointError: if that fails.
        """
        kept = Checkpoint(run, 1, {}, {"data": facts.to_bytes().decode()})
        self._store.enter(run).write(kept)
