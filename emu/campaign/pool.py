"""Dask as the place where pieces are done: a cluster on this machine, or any other one.

Dask carries pieces to workers and results back, does a piece again whose worker died, and gives up
one whose workers die again and again. Here it is decided which workers may have pieces: each is
asked once what it is, and known from then on by a *resource*, of which a piece takes all. A worker
with another version of the package, or without it, has none.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import importlib
import importlib.util
import logging
import queue
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from emu.campaign.order import Order
from emu.campaign.result import Result, State
from emu.campaign.sameness import package_digest
from emu.campaign.worker import About, about_this_machine, do_piece, introduce
from emu.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from emu.campaign.plan import Piece

#: What the extra brings: looked for before anything is begun, loaded by whoever needs it.
_EXTRA = ("cryptography", "dask", "distributed", "fsspec", "pydantic")
#: How often it is looked for new workers, and for pieces that nobody has.
_LOOK_S = 1.0
#: A cluster without a worker that can do what is left is waited for so long.
ALONE_S = 60.0
_CONNECT_S = 20
#: A task that no worker has for so long waits for one that was not known when it was asked for.
_STUCK_S = 3.0
#: So often a piece is asked for anew, as its last worker has ended.
_TIMES_MAX = 4


class Pool(Protocol):
    """Where pieces are done."""

    @property
    def workers(self) -> int:
        """Workers that may have pieces now."""

    @property
    def room(self) -> int:
        """How many pieces it should have at a time."""

    def submit(self, piece: Piece, programs: tuple[bytes, ...]) -> None:
        """Have a piece done."""

    def results(self, seconds: float) -> list[Result]:
        """What has come, waiting so long for the first.

        Raises:
            EnvironmentProblem: It is gone, or can do nothing of what is left.
        """


@dataclass(slots=True)
class _Asked:
    """A piece that Dask has."""

    piece: Piece
    future: Any
    programs: tuple[bytes, ...]
    since: float = field(default_factory=time.monotonic)
    times: int = 1


class DaskPool:
    """Dask's workers; a context manager, so that nothing started here is left.

    Args:
        scheduler: Address of a cluster's scheduler; None: a cluster of this machine is made.
        workers: How many it has then.
        scratch: A folder for Dask's own files.
        files: Contents of pieces' files, by SHA-256.
        tell: Told in a line what people should know.
    """

    def __init__(
        self,
        scheduler: str | None,
        workers: int,
        scratch: Path,
        files: Mapping[str, bytes],
        tell: Callable[[str], None],
    ) -> None:
        self._scheduler = scheduler
        self._count = workers
        self._scratch = scratch
        self._files = files
        self._tell = tell
        self._about: dict[str, About | None] = {}  #: by address; None: it is being asked, or unfit
        self._told: set[tuple[str, str]] = set()
        self._asked: dict[str, _Asked] = {}
        self._done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._given_up: list[_Asked] = []
        self._asking: concurrent.futures.Future[Any] | None = None
        self._looked_at = 0.0
        self._able_at = time.monotonic()
        digest = package_digest()
        self._fit, self._compiling = f"zcrx-emu {digest}", f"zcrx-emu {digest} cc"

    # ---- beginning and end ----------------------------------------------------------------

    def __enter__(self) -> Self:
        _quiet(self._scratch)
        self._undo = contextlib.ExitStack()
        try:
            self._undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # of large graphs, of ports that are taken
            self._connect()
            # One thread, for what Dask answers only after a while.
            self._aside = concurrent.futures.ThreadPoolExecutor(1)
            self._undo.callback(self._aside.shutdown, wait=False, cancel_futures=True)
            self._inputs = {
                # A task of its own: it can be done again when the worker that has it dies.
                digest: self._client.submit(bytes, data, key=f"zcrx-input-{digest}")
                for digest, data in self._files.items()
            }
        except BaseException:
            self._undo.close()
            raise
        return self

    def _connect(self) -> None:
        dask = _distributed()
        cluster: Any = self._scheduler
        try:
            if cluster is None:
                cluster = self._undo.enter_context(
                    dask.LocalCluster(
                        n_workers=self._count,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        # Who may write to a scheduler has code run: nobody else on this machine.
                        security=True,
                        dashboard_address=None,
                        local_directory=str(self._scratch),
                        memory_limit=0,
                        resources=self._own_resources(),
                        silence_logs=logging.CRITICAL + 1,
                    )
                )
            self._client = dask.Client(cluster, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            where = self._scheduler or "this machine"
            text = " ".join(str(error).split()) or "no answer"
            raise EnvironmentProblem(f"scheduler: {where} cannot be used ({text})") from None
        self._undo.callback(self._leave)

    def _own_resources(self) -> dict[str, float]:
        """Workers of this machine are known before they are asked, also one that is replaced."""
        about = about_this_machine()
        return {self._fit: 1.0, **({self._compiling: 1.0} if about.has_compiler else {})}

    def _leave(self) -> None:
        """Let go of what is under way: on workers it is ended when nobody wants it any more."""
        with contextlib.suppress(Exception):  # it may be gone
            self._client.cancel([asked.future for asked in self._asked.values()], force=True)
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    # ---- workers --------------------------------------------------------------------------

    @property
    def workers(self) -> int:
        """Workers that may have pieces now."""
        return sum(about is not None for about in self._about.values())

    @property
    def room(self) -> int:
        """A piece for each worker; for many, some more, so that none waits for us."""
        return self.workers + self.workers // 4

    def _look(self) -> None:
        """Ask new workers what they are, and forget those that are gone."""
        now = time.monotonic()
        if self._client.status not in ("running", "connecting"):
            raise EnvironmentProblem(f"scheduler: {self._address} is gone")
        if now - self._looked_at < _LOOK_S or (self._asking and not self._asking.done()):
            return
        self._looked_at = now
        if self._asking is not None:
            self._hear(self._asking)
        self._asking = self._aside.submit(self._ask, set(self._about))

    @property
    def _address(self) -> str:
        return self._scheduler or "that of this machine"

    def _ask(self, known: set[str]) -> tuple[set[str], dict[str, Any], set[str]]:
        """In a thread of its own: who is there, what new ones say, which tasks somebody has."""
        there = set(self._client.nthreads())
        new = sorted(there - known)
        said: dict[str, Any] = {}
        if new:
            said = self._client.run(
                introduce,
                package_digest(),
                self._fit,
                self._compiling,
                self._scheduler is None,
                workers=new,
                on_error="return",
            )
        has = {str(key) for keys in self._client.processing().values() for key in keys}
        return there, said, has

    def _hear(self, asking: concurrent.futures.Future[Any]) -> None:
        try:
            there, said, has = asking.result()
        except Exception as error:  # Dask's, if the scheduler is gone or too busy to answer
            if self._client.status != "running":
                raise EnvironmentProblem(f"scheduler: {self._address} is gone") from None
            self._tell_once("", f"scheduler: {self._address}: {type(error).__name__}: {error}")
            return
        self._about = {address: about for address, about in self._about.items() if address in there}
        for address, answer in said.items():
            self._about[address] = self._judged(address, answer)
        if self._scheduler is not None:
            self._ask_again(has)

    def _judged(self, address: str, answer: Any) -> About | None:
        """What a worker may have, said once for each machine."""
        if not isinstance(answer, About):
            why = f"{type(answer).__name__}: {answer}"
            text = f"worker {address} gets no pieces: it lacks this package ({why})"
            self._tell_once(address, text)
            return None
        if answer.digest != package_digest():
            self._tell_once(
                answer.host,
                f"worker {address} on {answer.host} gets no pieces: its zcrx-emu is "
                f"{answer.version} ({answer.digest}), not the same as here ({package_digest()})",
            )
            return None
        if not answer.has_compiler:
            self._tell_once(
                answer.host,
                f"worker {address} on {answer.host} has no C compiler: it gets no pieces of fuzz, "
                "race and check, and none with C sources",
            )
        return answer

    def _tell_once(self, host: str, text: str) -> None:
        what = text.partition(":")[2] if host else text
        if (host, what) not in self._told:
            self._told.add((host, what))
            self._tell(text)

    def _ask_again(self, has: set[str]) -> None:
        """Dask looks for a worker when a task comes, and when a worker does: before it is known."""
        now = time.monotonic()
        for asked in list(self._asked.values()):
            is_waiting = asked.future.status == "pending" and asked.future.key not in has
            if is_waiting and now - asked.since > _STUCK_S and self._is_able(asked.piece):
                self._client.cancel([asked.future])
                del self._asked[asked.piece.name]
                if asked.times < _TIMES_MAX:
                    self._submit(asked.piece, asked.programs, asked.times + 1)
                else:  # the last worker that there was has ended with it each time
                    self._given_up.append(asked)

    def _is_able(self, piece: Piece) -> bool:
        """Whether some worker could do it."""
        return any(
            about is not None and (about.has_compiler or not piece.needs_compiler)
            for about in self._about.values()
        )

    # ---- pieces ---------------------------------------------------------------------------

    def submit(self, piece: Piece, programs: tuple[bytes, ...]) -> None:
        """Have a piece done."""
        self._submit(piece, programs, 1)

    def _submit(self, piece: Piece, programs: tuple[bytes, ...], times: int) -> None:
        words = (*piece.words, f"--seed={piece.seed}")
        order = Order(piece.name, piece.command, words, piece.limit_s, {}, programs, piece.merges)
        future = self._client.submit(
            do_piece,
            order,
            *(self._inputs[item.sha256] for item in piece.inputs),
            places=[item.place for item in piece.inputs],
            key=f"zcrx-piece-{piece.name}-{times}",
            resources={self._fit: 1, **({self._compiling: 1} if piece.needs_compiler else {})},
        )
        self._asked[piece.name] = _Asked(piece, future, programs, times=times)
        future.add_done_callback(lambda done: self._done.put((piece.name, done)))

    def results(self, seconds: float) -> list[Result]:
        """What has come, waiting so long for the first.

        Raises:
            EnvironmentProblem: The scheduler is gone, or no worker can do what is left.
        """
        self._look()
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._done.get(timeout=seconds))
            while True:
                found.append(self._done.get_nowait())
        results = [
            _failed(asked, f"its worker ended {asked.times} times while it had it")
            for asked in self._given_up
        ]
        self._given_up.clear()
        for name, future in found:
            asked = self._asked.get(name)
            if asked is None or asked.future is not future:  # it was asked for once more
                continue
            del self._asked[name]
            results.append(self._result(asked))
        self._check_able(bool(results))
        return results

    def _check_able(self, has_results: bool) -> None:
        now = time.monotonic()
        waiting = list(self._asked.values())
        able = any(self._is_able(asked.piece) for asked in waiting) if waiting else self.workers > 0
        if has_results or able:
            self._able_at = now
        elif now - self._able_at > ALONE_S:
            raise EnvironmentProblem(
                f"workers: for {ALONE_S:.0f} s there was none that can do what is left; start "
                "workers with this package and, for most pieces, a C compiler"
            )

    def _result(self, asked: _Asked) -> Result:
        future = asked.future
        if future.status == "cancelled":
            raise EnvironmentProblem(f"scheduler: {self._address} is gone")
        try:
            result = future.result(timeout=_CONNECT_S)
        except _distributed().KilledWorker as error:
            return _failed(
                asked, f"its worker ended {error.allowed_failures + 1} times while it had it"
            )
        except concurrent.futures.CancelledError:
            raise EnvironmentProblem(f"scheduler: {self._address} is gone") from None
        except Exception as error:  # whatever came out of a worker
            return _failed(asked, f"{type(error).__name__}: {error}"[:400])
        finally:
            future.release()
        if not isinstance(result, Result):
            return _failed(asked, f"a worker answered with a {type(result).__name__}")
        return dataclasses.replace(result, piece=asked.piece.name)


def _failed(asked: _Asked, why: str) -> Result:
    """A piece could not be done."""
    seconds = time.monotonic() - asked.since
    return Result(asked.piece.name, State.FAILED, seconds, why=why)


def _distributed() -> Any:
    """Dask, which is imported by whoever needs it, and says little of its types."""
    return importlib.import_module("distributed")


def check_extra() -> None:
    """Refuse to begin without what campaigns need.

    Raises:
        EnvironmentProblem: One of the libraries is not installed.
    """
    for name in _EXTRA:
        if importlib.util.find_spec(name) is None:
            raise EnvironmentProblem(
                f"campaign: {name} is not installed; pip install 'zcrx-emu[campaign]'"
            )


def check_scheduler(address: str | None) -> None:
    """Refuse what is no address, before anything is started.

    Raises:
        ConfigError: It is none.
    """
    if address is None:
        return
    kind, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if kind not in ("tcp", "tls", "ws", "wss") or not host or not port.isdecimal():
        raise ConfigError.of("scheduler", address, "tcp://HOST:PORT, or tls:// for such a cluster")


def _quiet(scratch: Path) -> None:
    """Nothing is said but by us, and no files are made but there: what Dask does is its work.

    Args:
        scratch: For files of Dask's.
    """
    import dask

    names = ("distributed", "distributed.client", "distributed.worker", "tornado", "asyncio")
    logs = dict.fromkeys(names, "critical")
    dask.config.set({"logging": logs, "temporary-directory": str(scratch)})
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
