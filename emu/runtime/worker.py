"""Entry point of the processes of a run: ``python -m emu.runtime.worker ROLE FD PARENT``.

Most are forked from one that was started so (:mod:`emu.runtime.fork_server`), and go on here.

A worker receives what it may map as descriptors over its control channel, maps
it, says that it has attached, and runs its C loop until the run is over. It never
outlives the control process: the kernel kills it when that dies. Only the
provider process is given the time to leave a last word in the run's folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import mmap
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from emu.contract import Contract
from emu.core import (
    Caller,
    ConsumerLibrary,
    ConsumerLoop,
    ConsumerParams,
    Mapping,
    MemoryGuard,
    NicLoop,
    NicParams,
    ProviderLibrary,
    ProviderLoop,
    Shape,
)
from emu.errors import ConfigError, EnvironmentProblem, FaultFailed
from emu.host.descriptors import explained
from emu.host.streams import hold_descriptors
from emu.runtime import fork_server
from emu.runtime.channel import Channel, Event
from emu.runtime.guard import give_up_powers, hide
from emu.runtime.reaper import fork_consumer
from emu.runtime.segment import map_only

if TYPE_CHECKING:
    from emu.consumer import Consumer

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_SLICE_MS = 50


@dataclass(slots=True)
class Assignment:
    """What the control process sent."""

    message: dict[str, Any]
    mappings: list[Mapping]
    arena: mmap.mmap | None = None
    fds: dict[str, int] = field(default_factory=dict)  #: descriptors that are not memory
    guard: MemoryGuard | None = None  #: of a kernel-side process

    @property
    def shape(self) -> Shape:
        """Sizes of each queue, and its contract."""
        plain = self.message["shape"]
        return Shape(**{**plain, "contract": Contract(**plain["contract"])})


def _map_all(names: list[str], sizes: list[int], fds: list[int]) -> dict[str, mmap.mmap]:
    """Map objects and keep no descriptor on them: what runs later cannot resize them."""
    mapped = {}
    for name, size, fd in zip(names, sizes, fds, strict=True):
        mapped[name] = map_only(fd, size)
        os.close(fd)
    return mapped


def _look_after(mapped: dict[str, mmap.mmap], guard: MemoryGuard | None, of: str) -> None:
    if guard is not None:
        for name, memory in mapped.items():
            guard.watch(memory, f"{name}{of}")


def _check(guard: MemoryGuard) -> None:
    """Between two slices: what was taken away is the end."""
    if hurt := guard.hurt():
        raise EnvironmentProblem(f"{', '.join(hurt)} was taken away under it (SIGBUS)")


def _receive(channel: Channel) -> tuple[dict[str, Any], list[int]]:
    received = channel.receive()
    if received is None:
        raise SystemExit(3)  # the control process is gone
    return received


def receive_setup(channel: Channel, role: str) -> Assignment:
    """Receive the setup message and one message with memory for each queue."""
    message, fds = _receive(channel)
    guard = MemoryGuard() if role != "consumer" else None  # a consumer's death is its own
    shared = _map_all(message["names"], message["sizes"], fds[: len(message["names"])])
    extra = dict(zip(message["extra"], fds[len(message["names"]) :], strict=True))
    _look_after(shared, guard, "")
    arena = shared.pop("arena", None)
    provider = None
    if message["provider"] is not None:
        provider = ProviderLibrary(message["provider"])
    caller = Caller[role.upper()] if role != "consumer" else 0
    mappings = []
    for queue in range(message["queue_messages"]):
        part, part_fds = _receive(channel)
        mapped = _map_all(part["names"], part["sizes"], part_fds)
        _look_after(mapped, guard, f" of queue {queue}")
        mappings.append(Mapping(**shared, **mapped, provider=provider, caller=caller))
    return Assignment(message, mappings, arena, extra, guard)


def _tie_to_parent(role: str, parent: int) -> None:
    """Die with the control process, whatever kills it."""
    libc = ctypes.CDLL(None, use_errno=True)
    last_word = signal.SIGTERM if role in ("provider", "reaper") else signal.SIGKILL
    libc.prctl(_PR_SET_PDEATHSIG, int(last_word), 0, 0, 0)
    libc.prctl(_PR_SET_NAME, f"zcrx-{role}".encode(), 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        raise SystemExit(3)
    # A Ctrl-C reaches the whole process group; what it means is decided by one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pin(cpu: int | None) -> None:
    if cpu is not None:
        with contextlib.suppress(OSError):  # a cgroup may not let us: run where we may
            os.sched_setaffinity(0, {cpu})


def _run_nic(setup: Assignment, channel: Channel) -> None:
    params = NicParams(**setup.message["nic"], listen_fd=setup.fds.get("listen", -1))
    loop = NicLoop(setup.shape, setup.mappings, setup.arena, params, setup.message["rules"])
    channel.say(Event.ATTACHED)
    assert setup.guard is not None
    while not loop.run(_SLICE_MS):
        _check(setup.guard)


def _run_provider(setup: Assignment, channel: Channel, parent: int) -> None:
    orphaned = False

    def on_term(_signum: int, _frame: FrameType | None) -> None:
        nonlocal orphaned
        orphaned = os.getppid() != parent

    signal.signal(signal.SIGTERM, on_term)
    loop = ProviderLoop(
        setup.shape,
        setup.mappings,
        setup.message["rules"],
        seed=setup.message["seed"],
        window=setup.message["window"],
    )
    channel.say(Event.ATTACHED)
    assert setup.guard is not None
    while not loop.run(_SLICE_MS):
        _check(setup.guard)
        if orphaned:
            from emu.verdict import report  # here: hardly any provider has one to write

            report.write_last_word(setup.message["run_dir"], setup.message["config"])
            return


def _run_keeper(setup: Assignment, channel: Channel) -> None:
    """Call what is told; each call is answered, if the provider lets it come back."""
    from emu.core import Queue  # here: what it is told by is large, and no other role's

    queues = [Queue(setup.shape, at, each) for at, each in enumerate(setup.mappings)]
    channel.say(Event.ATTACHED)
    while (received := channel.receive()) is not None:
        message, _fds = received
        if message["do"] == "exit":
            return
        queue = queues[message["queue"]]
        if message["do"] == "init":
            channel.say(Event.ANSWER, number=queue.try_create_pool())
        else:
            references, buffers = queue.scrub()
            channel.say(Event.ANSWER, number=references, more=buffers)


def _look(channel: Channel) -> None:
    """Open a library of the user's: that is all."""
    message, _fds = _receive(channel)
    if "consumer" in message:
        name = ConsumerLibrary(message["consumer"]).name
    else:
        name = ProviderLibrary(message["provider"]).name
    channel.say(Event.ANSWER, number=0, text=name)


def _consumer_loop(setup: Assignment) -> ConsumerLoop:
    message = setup.message
    params = ConsumerParams(**message["consumer"], output_fd=setup.fds.get("output", -1))
    ask = None
    if message["custom"]:
        from emu.runtime.custom_faults import CustomFaults

        shape = setup.shape
        faults = CustomFaults(
            message["custom"], num_niovs=shape.num_niovs, niov_shift=shape.niov_shift
        )
        ask = faults.ask
    return ConsumerLoop(
        setup.shape, message["queue"], setup.mappings[0], params, setup.message["rules"], ask
    )


def _run_raw_consumer(setup: Assignment, channel: Channel, library: str) -> None:
    """Call somebody's C function, which is given the raw rings."""
    channel.say(Event.LOADING, text=library)
    consumer = ConsumerLibrary(library)
    queue = setup.message["queue"]
    channel.say(Event.ATTACHED)
    answer = consumer.run(setup.shape, queue, setup.mappings[0])
    if answer:
        said = f" ({os.strerror(-answer)})" if -4096 < answer < 0 else ""
        _tell(channel, f"consumer of queue {queue}: run() answered {answer}{said}")
        raise SystemExit(5)


def _run_consumer(setup: Assignment, channel: Channel) -> None:
    if (library := setup.message["library"]) is not None:
        _run_raw_consumer(setup, channel, library)
        return
    function = setup.message["function"]
    if function != "builtin" or setup.message["custom"]:  # a user's code is to be imported
        sys.path[:0] = [path for path in setup.message["sys_path"] if path not in sys.path]
        said = function if function != "builtin" else "the plan's own faults"
        channel.say(Event.LOADING, text=said)
    loop = _consumer_loop(setup)
    if function == "builtin":
        channel.say(Event.ATTACHED)
        while not loop.run(_SLICE_MS):
            pass
        return
    from emu.consumer import Consumer

    entry = _load(function)
    area = setup.mappings[0].area
    assert area is not None
    channel.say(Event.ATTACHED)
    shape = setup.shape

    def tell(text: str) -> None:
        with contextlib.suppress(OSError):  # it does not listen any more
            channel.say(Event.MISTAKE, text=text)

    consumer = Consumer(
        loop,
        area,
        queue=setup.message["queue"],
        niov_shift=shape.niov_shift,
        tell=tell,
        byte_of=shape.byte_of,
    )
    if setup.message["poison"] and consumer.poison(area, shape.num_niovs, shape.niov_shift):
        channel.say(Event.POISONED)
    try:
        entry(consumer)
    except OSError as error:  # the function's own affair, not a fault of the environment
        raise _failed(channel, f"consumer of queue {consumer.queue}", error) from None
    consumer.close()
    kept = consumer.kept()
    if kept is not None:
        with contextlib.suppress(OSError):  # it does not listen any more
            channel.say(Event.KEPT, number=kept.count, text=kept.text)


def _load(function: str) -> Callable[[Consumer], object]:
    module, _, name = function.partition(":")
    allowed = "MODULE must be importable and have FUNCTION"
    try:
        entry: Any = importlib.import_module(module)
        for part in name.split("."):
            entry = getattr(entry, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError.of("consumer", function, f"{allowed} ({error})") from None
    if not callable(entry):
        raise ConfigError.of("consumer", function, f"{allowed} ({entry!r} is none)")
    return cast("Callable[[Consumer], object]", entry)


def _last_line(error: BaseException) -> str:
    """An exception as Python names it, whatever it does when it is asked for its text."""
    try:
        said = "".join(traceback.format_exception_only(error)).strip()
    except Exception:
        said = type(error).__name__
    return " ".join(said.split())


def _failed(channel: Channel, label: str, error: BaseException) -> SystemExit:
    """Tell the control process of an exception, and where it came from."""
    said = _last_line(error)
    if isinstance(error, FaultFailed):  # it says which fault; the rest is where that came from
        said, error = str(error), error.__cause__ or error
    try:
        where = "".join(traceback.format_exception(error))
    except Exception:  # of somebody's own, who raises when it is shown
        where = f"{said}\n" + "".join(traceback.format_tb(error.__traceback__))
    _tell(channel, f"{label}: {said}", where)
    return SystemExit(5)


def _tell(channel: Channel, text: str, where: str | None = None) -> None:
    with contextlib.suppress(OSError):  # it does not listen any more
        channel.say(Event.ERROR, text=text, traceback=where)


@contextlib.contextmanager
def _errors_to(channel: Channel, label: str) -> Iterator[None]:
    """Tell the control process in one line why this worker ends early."""
    try:
        yield
    except SystemExit:
        raise
    except ConfigError as error:
        _tell(channel, str(error))
        raise SystemExit(4) from None
    except EnvironmentProblem as error:
        _tell(channel, f"{label}: {error}")
        raise SystemExit(6) from None
    except OSError as error:
        _tell(channel, f"{label}: {explained(error)}")
        raise SystemExit(4) from None
    except BaseException as error:
        raise _failed(channel, label, error) from None


def _work(words: Sequence[str]) -> None:
    """Do what a worker's command line says."""
    role, fd, parent = words[0], int(words[1]), int(words[2])
    label = role
    if len(words) > 3:  # queue=N
        label += f" of queue {words[3].partition('=')[2]}"
    if role == "consumer":  # its own code is yet to come
        give_up_powers()
        _tie_to_parent("reaper", parent)
        parent = fork_consumer(fd)
    else:  # before it holds anything
        hide()
    _tie_to_parent(role, parent)
    channel = Channel(socket.socket(fileno=fd))
    if role != "consumer":
        with contextlib.suppress(OSError):  # the control process is gone: noticed below
            channel.say(Event.HIDDEN)
    with _errors_to(channel, label):
        if role == "look":
            _look(channel)
            os._exit(0)
        setup = receive_setup(channel, role)
        _pin(setup.message["cpu"])
        if role == "nic":
            _run_nic(setup, channel)
        elif role == "provider":
            _run_provider(setup, channel, parent)
        elif role == "keeper":
            _run_keeper(setup, channel)
        else:
            _run_consumer(setup, channel)


def main() -> None:
    """Run the role named on the command line."""
    hold_descriptors()
    words = sys.argv[1:]
    if words[0] == fork_server.ROLE:
        hide()
        _tie_to_parent(words[0], int(words[2]))
        fork_server.serve(int(words[1]), _work)
    else:
        _work(words)
    # No interpreter teardown: mapped memory is still referenced by C objects.
    with contextlib.suppress(OSError, ValueError):  # who cannot be told has still done its work
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
