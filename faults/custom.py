"""Faults of one's own: a class that says what is done, and what that must earn.

    from faults.custom import Context, CustomFault, Rqe

    class PadAndArea(CustomFault):
        summary = "an RQE whose pad and area id are both wrong"
        verdicts = frozenset({"bad_pad"})

        def mutate(self, rqe: Rqe, context: Context) -> Rqe:
            return rqe._replace(off=rqe.off | 1 << 48, pad=context.random.randrange(1, 2**32))

In a plan it is named by where it is (``my_pkg.faults:PadAndArea:1%``), or by the name of an
entry point of the group :data:`ENTRY_POINTS` that an installed package declares.

It runs in the consumer process of each queue, in Python, when a rule of the plan fires;
until then it costs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from faults.catalogue import CATALOGUE, UnknownFaultError
from faults.fault import (
    AUDIT_STATEMENTS,
    EVERY_VERDICT,
    PARAMS_MAX,
    U32_MAX,
    Actor,
    Fault,
    Group,
    Param,
    shown,
)
from faults.near import did_you_mean
from faults.rqe import Rqe
from faults.rule import FIELD_NAMES

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

__all__ = ["ENTRIES_MAX", "ENTRY_POINTS", "Context", "CustomFault", "Param", "Rqe", "find"]

ENTRY_POINTS = "zcrx_emu.faults"  #: group of the entry points that are looked at
NUMBER = 100  #: ``ZCRX_FAULT_CUSTOM``: of all of them
ENTRIES_MAX = 16  #: entries that one firing may write
U64_MAX = 2**64 - 1
_ALLOWED = "MODULE:CLASS must be importable and name a subclass of faults.custom.CustomFault"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a fault is told about the moment at which it fires. Good during the call only."""

    queue: int
    ordinal: int  #: valid RQEs of the queue before this one: what triggers count
    position: int  #: RQEs of the queue before the next one, all faults' entries included
    random: random.Random  #: seeded by the run's seed, queue, fault and ordinal, and nothing else
    num_niovs: int  #: buffers of the area
    niov_shift: int  #: log2 of a buffer's size in bytes
    params: Mapping[str, int | str]  #: of the rule, as typed in the plan: numbers, and words
    earlier: Sequence[Rqe]  #: the last 4096 returns before this one, the latest at the end
    _take_area: Callable[[], memoryview] = field(repr=False)

    @property
    def area(self) -> memoryview:
        """The whole area, writable: ``num_niovs << niov_shift`` bytes.

        It is a copy, made at the first use in a call. Bytes that differ when the call returns
        are written into the area then, and what that does to a reader is put down to the fault.
        """
        return self._take_area()


class CustomFault:
    """Base class of a user's own fault.

    Say what it is in the attributes, and override either :meth:`mutate` or :meth:`act`. One
    instance is made for each rule of the plan in each consumer process, without arguments.
    """

    name: ClassVar[str] = ""  #: the entry point's name, if it has one; may be left out
    summary: ClassVar[str] = ""  #: one line
    explanation: ClassVar[str] = ""  #: what is done, and why; else the class's docstring
    params: ClassVar[tuple[Param, ...]] = ()  #: at most four
    verdicts: ClassVar[frozenset[str]] = frozenset()  #: what its entries may earn; labels
    modifies: ClassVar[bool] = False  #: the entries replace the valid return
    survives: ClassVar[frozenset[str]] = AUDIT_STATEMENTS  #: what of the audit holds despite it
    consequences: ClassVar[str] = ""  #: what it may do to the consumer itself

    def mutate(self, rqe: Rqe, context: Context) -> Rqe | Sequence[Rqe] | None:
        """Make entries of a valid return.

        Args:
            rqe: The return that is due (as other faults of the plan left it).
            context: Where and when.

        Returns:
            Up to 16 entries: written before the valid return, or with :attr:`modifies` in its
            place (an empty sequence: the fragment is kept). None: nothing is done this time.
        """
        raise NotImplementedError

    def act(self, context: Context) -> None:
        """Do something that writes no entry, such as a change of :attr:`Context.area`."""
        raise NotImplementedError


class LoadError(UnknownFaultError):
    """A user's fault that cannot be imported, or whose attributes make no sense."""


class AnswerError(ValueError):
    """A user's fault returned what it must not; the message says what it may."""


# ---- From a class to a fault of a plan ----------------------------------------------------------


def _refuse(source: str, attribute: str, value: object, allowed: str) -> LoadError:
    return LoadError(
        f"faults: {source}: {attribute}: {shown(value)} is not allowed; it must be {allowed}"
    )


def _checked_set(
    source: str, attribute: str, value: Any, known: frozenset[str], what: str
) -> frozenset[str]:
    allowed = f"a set of {what}: {', '.join(sorted(known))}"
    if not isinstance(value, set | frozenset | tuple | list):
        raise _refuse(source, attribute, value, allowed)
    for word in value:
        if not isinstance(word, str) or word not in known:
            raise _refuse(source, attribute, word, allowed)
    return frozenset(value)


def _checked_params(source: str, params: Any) -> tuple[Param, ...]:
    if not isinstance(params, tuple | list) or len(params) > PARAMS_MAX:
        raise _refuse(source, "params", params, f"a tuple of at most {PARAMS_MAX} Param")
    taken = {"p", "params", "fault", *FIELD_NAMES}
    for param in params:
        if not isinstance(param, Param):
            raise _refuse(source, "params", param, "a faults.Param")
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", param.name) or param.name in taken:
            allowed = f"a word in small letters, another one than {', '.join(sorted(taken))}"
            raise _refuse(source, "params", param.name, allowed)
        taken.add(param.name)
        if not 0 <= param.low <= param.high <= U32_MAX:
            raise _refuse(source, param.name, (param.low, param.high), f"within 0 to {U32_MAX}")
        if not param.is_compiled(param.default):
            raise _refuse(source, f"{param.name}: default", param.default, param.allowed)
        if not all(re.fullmatch(r"[^:,=\s]+", word) for word in param.choices):
            raise _refuse(source, param.name, param.choices, "words without ':', ',', '=', blanks")
    return tuple(params)


def describe(cls: type[CustomFault], name: str, source: str) -> Fault:
    """Make the fault that a plan's rules are about.

    Args:
        cls: The class.
        name: How plans call it.
        source: Where the class is, ``MODULE:CLASS``.

    Raises:
        LoadError: An attribute makes no sense; the message names it and what is allowed.
    """
    for attribute in ("name", "summary", "explanation", "consequences"):
        value = getattr(cls, attribute)
        if not isinstance(value, str):
            raise _refuse(source, attribute, value, "text")
    if not cls.summary.strip() or "\n" in cls.summary.strip():
        raise _refuse(source, "summary", cls.summary, "a line that says what the fault does")
    if cls.name not in ("", name) and name != source:
        raise _refuse(source, "name", cls.name, f"{name!r}, as the entry point is called")
    mutates = cls.mutate is not CustomFault.mutate
    acts = cls.act is not CustomFault.act
    if mutates == acts:
        text = "both mutate and act" if mutates else "neither mutate nor act"
        raise LoadError(f"faults: {source} has {text}; it must override one of them")
    verdicts = _checked_set(source, "verdicts", cls.verdicts, EVERY_VERDICT, "verdict labels")
    if mutates != bool(verdicts):
        allowed = "what its entries may earn" if mutates else "empty: act writes no entry"
        raise _refuse(source, "verdicts", set(verdicts), allowed)
    if not isinstance(cls.modifies, bool) or (cls.modifies and acts):
        allowed = "False: act writes no entry" if acts else "True or False"
        raise _refuse(source, "modifies", cls.modifies, allowed)
    return Fault(
        keeps=1,  # whatever it does to a return, it can only lose that one
        name=name,
        number=NUMBER,
        actor=Actor.CONSUMER,
        group=Group.CUSTOM,
        summary=cls.summary.strip(),
        explanation=" ".join((cls.explanation or inspect.getdoc(cls) or cls.summary).split()),
        params=_checked_params(source, cls.params),
        verdicts=verdicts,
        modifies=cls.modifies,
        survives=_checked_set(source, "survives", cls.survives, AUDIT_STATEMENTS, "statements"),
        consequences=cls.consequences,
        source=source,
    )


_folder: ContextVar[str | None] = ContextVar("folder of modules", default=None)


@contextlib.contextmanager
def modules_in(folder: str | None) -> Iterator[None]:
    """Look for modules of users' own faults there, not in the working directory; None: there."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


@contextlib.contextmanager
def _current_directory() -> Iterator[None]:
    """Import from here too, as a run's consumer processes do; installed packages come first."""
    here = _folder.get() or str(Path.cwd())
    known = here in sys.path
    if not known:
        sys.path.append(here)
    importlib.invalidate_caches()  # a module may be younger than the last look at its folder
    try:
        yield
    finally:
        if not known:
            with contextlib.suppress(ValueError):
                sys.path.remove(here)


def load_class(source: str) -> type[CustomFault]:
    """Import the class that ``MODULE:CLASS`` names.

    Raises:
        LoadError: It cannot be imported, or is no :class:`CustomFault`.
    """
    module, _, attribute = source.partition(":")
    try:
        with _current_directory():
            found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise LoadError(f"faults: {shown(source)} cannot be imported ({why}); {_ALLOWED}") from None
    if not (isinstance(found, type) and issubclass(found, CustomFault)):
        raise LoadError(f"faults: {shown(source)} is {shown(found)}; {_ALLOWED}")
    return found


def _entry_points() -> EntryPoints:
    import importlib.metadata  # here: it brings the parser of e-mail with it

    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def installed() -> dict[str, EntryPoint]:
    """Entry points of faults, by the name that plans use; none of them is imported."""
    return {
        point.name: point
        for point in _entry_points()
        if _NAME.fullmatch(point.name) and point.name not in CATALOGUE
    }


def _source_of(point: EntryPoint) -> str:
    return f"{point.module}:{point.attr}"


def find(name: str) -> Fault:
    """Return the fault of that name: of the catalogue, installed, or ``MODULE:CLASS``.

    Raises:
        UnknownFaultError: There is none; the message offers the nearest name.
        LoadError: It is a user's own and cannot be used; the message says why.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if _is_reference(*name.partition(":")[::2]):
        return describe(load_class(name), name, name)
    points = installed()
    if name in points:
        source = _source_of(points[name])
        return describe(load_class(source), name, source)
    hint = did_you_mean(name, [*CATALOGUE, *points]) or "'zcrx-emu faults list' shows what there is"
    raise UnknownFaultError(f"faults: {shown(name)} is not a fault; {hint}")


@dataclass(frozen=True, slots=True)
class Broken:
    """An installed fault that cannot be used."""

    name: str
    source: str
    why: str  #: one line


def survey() -> tuple[list[Fault], list[Broken]]:
    """All faults that installed packages bring: those that can be used, and the others."""
    good, broken = [], []
    for point in sorted(_entry_points(), key=lambda point: point.name):
        source = _source_of(point)
        if point.name in CATALOGUE:
            broken.append(Broken(point.name, source, "a fault of the catalogue has that name"))
        elif not _NAME.fullmatch(point.name):
            broken.append(Broken(point.name, source, "that name cannot be written in a plan"))
        else:
            try:
                good.append(describe(load_class(source), point.name, source))
            except LoadError as error:
                broken.append(Broken(point.name, source, str(error).removeprefix("faults: ")))
    return good, broken


# ---- The compact form of a plan -----------------------------------------------------------------


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_reference(module: str, item: str) -> bool:
    """Do two neighbouring items of a rule name a class, instead of a fault and its trigger?"""
    return (
        bool(_MODULE.fullmatch(module))
        and module not in CATALOGUE
        and item.isidentifier()
        and item != "once"
        and not _is_number(item)
    )


def split_items(text: str) -> list[str]:
    """Split a rule at its colons, but for those of ``MODULE:CLASS``."""
    items = [item.strip() for item in text.split(":")]
    merged: list[str] = []
    while items:
        item = items.pop(0)
        key, equals, value = (part.strip() for part in item.partition("="))
        module = value if equals and key == "after" else item if not merged else ""
        if items and _is_reference(module, items[0]):
            item = f"{item}:{items.pop(0)}"
        merged.append(item)
    return merged


# ---- In the consumer process --------------------------------------------------------------------


def _checked_entry(entry: object) -> Rqe:
    if not isinstance(entry, Rqe):
        allowed = "it must return an Rqe, a list of them, or None"
        raise AnswerError(f"mutate returned {shown(entry)}; {allowed}")
    for name, value, high in zip(Rqe._fields, entry, (U64_MAX, U32_MAX, U32_MAX), strict=True):
        is_int = isinstance(value, int) and not isinstance(value, bool)
        if not (is_int and 0 <= value <= high):
            text = f"mutate returned an Rqe with {name} {shown(value)}"
            raise AnswerError(f"{text}; it must be a whole number of 0 to {high}")
    return entry


def answer(fault: CustomFault, rqe: Rqe, context: Context) -> list[Rqe] | None:
    """Let a fault fire, and check what it returns.

    Returns:
        Its entries; None if it wants nothing changed.

    Raises:
        AnswerError: It returned what it must not.
        BaseException: Whatever the fault raises.
    """
    if type(fault).act is not CustomFault.act:
        result: Any = fault.act(context)  # type: ignore[func-returns-value]
        if result is not None:
            raise AnswerError(f"act returned {shown(result)}; it must return None")
        return None
    result = fault.mutate(rqe, context)
    if result is None:
        return None
    entries = [result] if isinstance(result, Rqe) or not isinstance(result, Sequence) else result
    if isinstance(entries, str | bytes):
        entries = [entries]
    if len(entries) > ENTRIES_MAX:
        text = f"mutate returned {len(entries)} entries; at most {ENTRIES_MAX} are allowed"
        raise AnswerError(text)
    return [_checked_entry(entry) for entry in entries]
