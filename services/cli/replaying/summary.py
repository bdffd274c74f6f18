"""The result of a replay, read from the records themselves: MongoDB for what was decided, the sandbox for what was sent."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from services.cli.first_text_latency import FirstTextTiming, first_text_timings, percentile

UNANSWERED = ("missed", "abandoned")


@dataclass(kw_only=True)
class Summary:
    """The figures, and whatever is wrong with them (`problems`, empty when all is well)."""

    calls: Counter[str] = field(default_factory=Counter)
    withheld_missed: int = 0
    missed_callers: int = 0
    texted_once: int = 0
    texts: int = 0
    second_texts: int = 0
    delivered: int = 0
    replies: int = 0
    opt_outs: int = 0
    tasks: int = 0
    held: Counter[str] = field(default_factory=Counter)
    timings: list[FirstTextTiming] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """Calls nobody of ours took."""
        return sum(self.calls[outcome] for outcome in UNANSWERED)

    def accepted_ms(self, share: float) -> float:
        """Return a percentile of the time from the deciding webhook to the accepted text."""
        return percentile([timing.to_accepted_ms for timing in self.timings], share)

    def slowest(self, count: int = 3) -> Sequence[FirstTextTiming]:
        """Return the first texts that took longest."""
        return sorted(self.timings, key=lambda timing: -timing.to_accepted_ms)[:count]


async def summarize(db: Any, kafka: str, sandbox_url: str, played: int) -> Summary:
    """Read the records of a run and check the promise: every textable missed caller texted exactly once.

    Args:
        db: the run's database.
        kafka: bootstrap servers, for the stages' times.
        sandbox_url: who knows what was really sent.
        played: how many calls were played; the records must know as many.
    """
    found = Summary()
    wanted: set[str] = set()
    async for call in db.calls.find({}):
        outcome = call.get("outcome", "undecided")
        found.calls[outcome] += 1
        if outcome in UNANSWERED:
            if call.get("caller"):
                wanted.add(call["caller"])
            else:
                found.withheld_missed += 1
    found.missed_callers = len(wanted)
    deliveries = [doc async for doc in db.deliveries.find({})]
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox_url}/_control/messages") as answer:
        messages = (await answer.json())["messages"]
    sent = [message for message in messages if message["direction"] == "outbound-api"]
    by_sid = {doc["sid"]: doc for doc in deliveries if doc.get("sid")}
    firsts = Counter(m["to"] for m in sent if by_sid.get(m["sid"], {}).get("first_of_sequence"))
    found.texts = len(sent)
    found.second_texts = len(sent) - sum(firsts.values())
    found.texted_once = sum(1 for caller in wanted if firsts[caller] == 1)
    found.delivered = sum(1 for message in sent if message["status"] == "delivered")
    found.replies = sum(1 for message in messages if message["direction"] == "inbound")
    found.opt_outs = await db.suppressions.count_documents({"_id": {"$ne": "key-check"}})
    found.tasks = await db.leads.count_documents({"tasks_made": {"$gte": 1}, "owner_id": {"$ne": None}})
    found.held.update(
        doc.get("reason", doc["state"]) for doc in deliveries if doc["state"] in ("suppressed", "expired")
    )
    found.timings = await first_text_timings(kafka, deliveries)
    unknown = sum(message["sid"] not in by_sid for message in sent)
    found.problems = broken_promises(found, played=played, wanted=wanted, firsts=firsts, unknown_texts=unknown)
    return found


def broken_promises(
    found: Summary, *, played: int, wanted: Set[str], firsts: Mapping[str, int], unknown_texts: int
) -> list[str]:
    """Return what a run did that it must never do, a line each.

    Args:
        found: the figures.
        played: how many calls were played.
        wanted: the missed callers with a number.
        firsts: how many first texts each caller was sent.
        unknown_texts: texts at the provider that no record of ours knows.
    """
    problems = []
    if sum(found.calls.values()) != played:
        problems.append(f"{played} calls were played, {sum(found.calls.values())} are on record")
    if found.calls["undecided"]:
        problems.append(f"{found.calls['undecided']} calls were never decided")
    if more := sum(n > 1 for n in firsts.values()):
        problems.append(f"{more} callers got more than one first text")
    if stray := set(firsts) - wanted:
        problems.append(f"{len(stray)} callers were texted without a missed call")
    if missing := wanted - set(firsts):
        problems.append(f"{len(missing)} missed callers with a number got no first text")
    if unknown_texts:
        problems.append(f"{unknown_texts} texts at the provider are in no record of ours")
    if found.tasks < len(wanted):
        problems.append(f"{len(wanted) - found.tasks} missed callers have no callback task")
    return problems
