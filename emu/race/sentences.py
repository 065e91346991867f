"""What the simulation says, in words: it speaks names and numbers alone.

The tables have the names of those in ``cext/sim/finding.h``, ``words.h`` and ``world.h``. Each has
its numbers in the order in which the simulation says them, by what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from string import Formatter

from emu.race.script import Operation
from emu.spec.state import Verdict

#: What an execution proves wrong.
FINDINGS: dict[str, str] = {
    "TOO_MANY_STEPS": "more than {most} steps: it does not come to an end",
    "TOO_MANY_STORES": "more than {most} stores: it does not come to an end",
    "TOO_MANY_LOADS": "more than {most} loads: it does not come to an end",
    "BUFFER_FULL": "more than {most} stores wait in one buffer",
    "NO_END": "it does not come to an end",
    "NEVER_YIELDS": "it goes on and on without a step: it never yields",
    "DATA_RACE": "data race at {word}: {touch} of {actor}, not ordered with {other}'s {its_touch}",
    "WAITS_FOR_EVER": "{actor} waits for a word at {word} that nobody writes",
    "SYSTEM_CALL": "system call {number} has no part in a simulation",
    "SLEEPS_ON_PRIVATE": "somebody sleeps on a word that is not shared",
    "SIGNAL": "the code crashed: signal {number}",
    "ASSERTION": "{file}:{line}: {function}: assertion failed: {text}",
    "HAND_FULL": "a hand is full: the scenario takes too many buffers",
    "USER_FULL": "the user holds too many fragments",
    "HANDED_OUT": "niov {niov} was handed out while the user holds it",
    "PROVIDER_SLEEPS": "the provider sleeps although an entry was published",
    "USER_SLEEPS": "the user sleeps although a completion was published",
    "FOREIGN_COMPLETION": "a completion is not what the NIC wrote",
    "FOREIGN_PAYLOAD": "completion {index} comes with the payload of {payload}",
    "NO_VERDICT": "entry {index} has no verdict",
    "PHASE_IN_CHARGE": "page pool {slot} is in charge in phase {phase}",
    "POOL_GONE": "page pool {slot} is gone, and buffers are missing",
    "QUIET_TOO_EARLY": "the NIC is quiet, and fragments are not visible yet",
    "DESTROY_MISSING": "destroy found buffers missing",
    "DESTROY_COMPLETE": "destroy found buffers all at home, which cannot be",
    "USER_REFS_LEFT": "the user still has references of niov {niov}",
    "VERDICTS": "verdict {verdict} was given {times} times, not {wanted}",
    "BOUND_AND_FREE": "niov {niov} is bound to page pool {slot}, and free",
    "UNBOUND_NOT_FREE": "niov {niov} is bound to page pool -1, and not free",
    "TAIL_UNLOCKED": "the tail is read without the refill ring's lock",
    "HEAD_UNLOCKED": "the head is written without the refill ring's lock",
    "ENTRY_UNLOCKED": "an entry is read without the refill ring's lock",
    "CACHED_UNBOUND": "niov {niov} is in the cache of a page pool it is not bound to",
    "QUEUED_UNBOUND": "niov {niov} is in the ptr ring of a page pool it is not bound to",
    "INFLIGHT": "page pool {slot} counts {counted} buffers in flight, and {bound} are bound to it",
    "NOT_IN_ONE_PLACE": "niov {niov} is at home {places} times, the stack holds it {held} times, "
    "the user has {refs} references: it must be in one place",
    "PP_REFS": "niov {niov} has {refs} page-pool references; stack and user hold {held}",
    "FREED_TWICE": "a buffer was freed twice: the freelist would overflow",
    "REFS_UNDERFLOW": "page-pool references were dropped that nobody held",
    "GRANTED_WHILE_HELD": "a buffer was granted while the user holds a fragment of it",
    "UNJUDGED": "{consumed} entries consumed, {verdicts} verdicts",
    "LOCK_LEFT": "a lock was left taken",
}
#: Those of where buffers are and who refers to them: one wrong return can look like any.
OF_BUFFERS = frozenset(
    {
        *("HANDED_OUT", "DESTROY_MISSING", "USER_REFS_LEFT", "BOUND_AND_FREE", "UNBOUND_NOT_FREE"),
        *("CACHED_UNBOUND", "QUEUED_UNBOUND", "INFLIGHT", "NOT_IN_ONE_PLACE", "PP_REFS"),
        *("FREED_TWICE", "REFS_UNDERFLOW", "GRANTED_WHILE_HELD"),
    }
)
#: How somebody touches a word, by number.
TOUCHES = ("READ", "WRITE", "PLAIN_READ", "PLAIN_WRITE", "ATOMIC_LOAD", "ATOMIC_STORE")

#: Words of shared memory.
WORDS: dict[str, str] = {
    "NONE": "-",
    "OFFSET": "shared offset {offset}",
    "RQ_HEAD": "rq head",
    "RQ_TAIL": "rq tail",
    "CQ_HEAD": "cq head",
    "CQ_TAIL": "cq tail",
    "NIOV_USER_REFS": "user refs of niov {niov}",
    "NIOV_PP_REFS": "pp refs of niov {niov}",
    "NIOV_POOL": "pool of niov {niov}",
    "NIOV_DELIVERED": "delivered of niov {niov}",
    "FREE_COUNT": "free count",
    "FREELIST_LOCK": "freelist lock",
    "RQ_LOCK": "rq lock",
    "CURRENT_POOL": "current pool",
    "CONSUMED": "consumed",
    "GRANT_INDICES": "grant ring indices",
    "NIC_COUNTERS": "NIC counters",
    "IFQ_COUNTERS": "ifq counters",
    "USER_COUNTERS": "consumer counters",
    "FLOW": "flow",
    "PROVIDER_BELL": "provider's bell",
    "NIC_BELL": "NIC's bell",
    "USER_BELL": "consumer's bell",
    "PTR_RING_SLOT": "ptr ring {pool} slot {slot}",
    "POOL_PHASE": "phase of pool {pool}",
    "POOL_CACHE_COUNT": "cache count of pool {pool}",
    "POOL_HOLD_COUNT": "hold count of pool {pool}",
    "POOL_RING_HEAD": "ptr ring head of pool {pool}",
    "POOL_CACHE": "alloc cache of pool {pool}",
    "POOL_LOCK": "producer lock of pool {pool}",
    "POOL_RING_TAIL": "ptr ring tail of pool {pool}",
    "POOL_REFUSALS": "refusals of pool {pool}",
    "POOL_RELEASES": "release count of pool {pool}",
    "POOL_COUNTERS": "counters of pool {pool}",
    "HANDOFF_INDICES": "handoff ring indices",
    "HANDOFF_COUNT": "handed over of niov {niov}",
}
#: Of several alike: an index follows, unless there is one alone, and whether it is the 2nd half.
ENTRIES: dict[str, str] = {
    "RQE": "rqe",
    "CQE": "cqe",
    "FREELIST": "freelist",
    "GRANT_SLOT": "grant slot",
    "LEDGER": "ledger",
    "HANDOFF_SLOT": "handoff slot",
}

#: Why the simulation cannot play a scenario; of those behind the first four an operation is told.
REFUSALS: dict[str, str] = {
    "NO_MEMORY": "no memory",
    "NO_SCENARIO": "scenario: : it is none",
    "NO_SHAPE": "shape: : sizes must be powers of two that are not 0",
    "NO_OWN_DATA": "provider: its data: cannot be told from the program's own",
    "NO_POOL": "there is no page pool",
    "HAND_HOLDS_FEWER": "the stack's hand does not hold so many",
    "NOTHING_TO_SEND": "no buffer is granted, or the completion queue is full",
    "NOTHING_OPEN": "no buffer is open",
    "FEWER_COMPLETIONS": "there are fewer completions",
    "TOOK_FEWER": "the user took fewer",
    "NOT_HELD": "the user does not hold it so often ('push' returns what it likes)",
    "RING_FULL": "the refill ring has no room for it",
    "RING_EMPTY": "the refill ring is empty",
    "FEWER_BUFFERS": "there are fewer buffers",
    "FEWER_GRANTS": "there are fewer buffers, or less room in the grant ring",
    "NO_AREA_MORE": "there is no room for so many buffers more ('more' of the shape)",
}

#: Fields that a record has by their names: not among its numbers.
_NAMED = ("word", "file", "function", "text")


def numbers_of(sentence: str) -> list[str]:
    """The fields of a sentence that are numbers, in order."""
    fields = [name for _, name, _, _ in Formatter().parse(sentence) if name is not None]
    return [name for name in fields if name not in _NAMED]


def word_text(said: str) -> str:
    """A word of shared memory: ``NIOV_POOL 3`` is ``pool of niov 3``."""
    name, *numbers = said.split()
    if name not in ENTRIES:
        return WORDS[name].format(**dict(zip(numbers_of(WORDS[name]), numbers, strict=True)))
    second_half = " (2nd half)" if len(numbers) > 1 else ""
    return " ".join([ENTRIES[name], *numbers[:1]]) + second_half


def _touch(number: int) -> str:
    return TOUCHES[number].lower().replace("_", " ")


def _a_touch(number: int) -> str:
    word = _touch(number)
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _verdict(number: int) -> str:
    return Verdict(number).name.lower() if number in {*Verdict} else "?"


def finding_text(said: Mapping[str, str], actors: Sequence[str]) -> str:
    """A finding in a sentence.

    Args:
        said: The values of its record.
        actors: Their names.
    """
    sentence = FINDINGS[said["found"]]
    read_as: dict[str, Callable[[int], str]] = {
        "actor": actors.__getitem__,
        "other": actors.__getitem__,
        "touch": _a_touch,
        "its_touch": _touch,
        "verdict": _verdict,
    }
    numbers = zip(numbers_of(sentence), map(int, said["numbers"].split()), strict=True)
    fields = {name: read_as.get(name, str)(number) for name, number in numbers}
    if "word" in said:
        fields["word"] = word_text(said["word"])
    if "file" in said:
        fields |= {"function": said["function"], "text": said["text"]}
        fields["file"] = PurePosixPath(said["file"]).name
    return sentence.format(**fields)


def refusal_text(said: Mapping[str, str], setup: Sequence[Operation]) -> str:
    """Why a scenario cannot be played.

    Args:
        said: The values of the record.
        setup: The scenario's operations before.
    """
    why, number = REFUSALS[said["why"]], int(said["operation"])
    if number == 0:
        return why
    word = setup[number - 1][0]
    return f"setup: operation {number}, {word}: it does nothing, or less than it says: {why}"
