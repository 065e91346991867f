"""Consumers of one's own: Python functions in the consumer process of a queue.

The functions stand in this module too: the consumer process imports it and calls
``test_consumer:NAME``. What they find out they write into the file that the test names.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import hashlib
import inspect
import itertools
import os
import platform
import random
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.consumer import Completion, Consumer
from emu.core import bells_size, layout_sizes
from emu.runtime.arena import make_arena
from emu.runtime.sample import Sample
from emu.runtime.session import Session, run
from emu.traffic import TcpSource, TrafficSource, listen, parse_source
from emu.verdict.progress import Blame
from emu.verdict.report import Report
from faults import parse_plan

TRAFFIC = "synthetic:packets=3000,flows=20"
PAGE_SIZED = "synthetic:kind=raw,size=4096,flows=4,packets=64"
SEED = 1


def say(*words: object) -> None:
    """In the consumer process: tell the test."""
    Path(os.environ["ZCRX_EMU_TEST_SAYS"]).write_text(" ".join(map(str, words)))


# ---- The consumers ------------------------------------------------------------------------------


def streams(queue: int, queues: int) -> list[bytes]:
    """What each flow of a queue carries, made anew from the seed."""
    source = parse_source(TRAFFIC)
    assert not isinstance(source, TcpSource)
    arena = make_arena(source, seed=SEED, queues=queues, niov_shift=12)
    parts: dict[object, list[bytes]] = {flow: [] for flow in arena.flows[queue]}
    for packet in source.packets(SEED):
        if packet.flow in parts:
            parts[packet.flow].append(packet.payload)
    return [b"".join(payloads) for payloads in parts.values()]


def compares_bytes(consumer: Consumer) -> None:
    """Compare each fragment when it comes and once more before it goes back, in random order."""
    rng = random.Random(SEED)
    expected = streams(consumer.queue, int(os.environ["ZCRX_EMU_TEST_QUEUES"]))
    at = [0] * len(expected)
    next_seq = [0] * len(expected)
    held: list[tuple[Completion, bytes]] = []

    def give_back_one() -> None:
        completion, data = held.pop(rng.randrange(len(held)))
        assert completion.data == data
        consumer.give_back(completion)

    for completion in consumer:
        flow, size = completion.flow, completion.result
        assert not completion.is_end
        assert len(completion.data) == size > 0
        assert completion.data.obj is not None
        assert completion.seq == next_seq[flow]
        data = expected[flow][at[flow] : at[flow] + size]
        assert completion.data == data
        next_seq[flow] += 1
        at[flow] += size
        held.append((completion, data))
        if len(held) > 100:
            give_back_one()
    while held:
        give_back_one()
    assert at == [len(stream) for stream in expected]
    say(consumer.queue, sum(at), sum(next_seq))


def gives_back_in_batches(consumer: Consumer) -> int:
    """The way without iteration: take what is there, give all of it back at once."""
    taken = 0
    while not consumer.should_stop:
        batch = consumer.poll(64)
        taken += len(batch)
        consumer.give_back(*reversed(batch))
    while batch := consumer.poll():
        consumer.give_back(*batch)
        taken += len(batch)
    say(taken)
    return taken


def keeps_everything(consumer: Consumer) -> None:
    say(len(list(consumer)))


def takes_and_keeps_on_queue_0(consumer: Consumer) -> None:
    if consumer.queue == 0:
        list(consumer)
    consumes(consumer)


def takes_nothing_on_queue_0(consumer: Consumer) -> None:
    while consumer.queue == 0 and not consumer.should_stop:
        time.sleep(0.005)
    if consumer.queue != 0:
        consumes(consumer)


def leaves_early(consumer: Consumer) -> str:
    if consumer.queue == 0:
        consumer.give_back(*itertools.islice(consumer, 100))
        return "enough"
    consumes(consumer)
    return "all"


def consumes(consumer: Consumer) -> None:
    for completion in consumer:
        consumer.give_back(completion)


class LuckError(Exception):
    """A mistake in a consumer."""


def raises(consumer: Consumer) -> None:
    consumer.give_back(*itertools.islice(consumer, 10))
    raise LuckError("no such luck")


def raises_at_once(consumer: Consumer) -> None:
    raise LuckError


def raises_os_error(consumer: Consumer) -> None:
    consumer.give_back(*itertools.islice(consumer, 10))
    raise FileNotFoundError(errno.ENOENT, "No such file or directory", "a file of mine")


def exits(consumer: Consumer) -> None:
    consumer.give_back(*itertools.islice(consumer, 10))
    sys.exit(3)


def scribbles(consumer: Consumer) -> None:
    """Change what it was lent, once."""
    first = next(iter(consumer))
    first.data[5] ^= 0xFF
    consumer.give_back(first)
    consumes(consumer)


def gives_back_twice(consumer: Consumer) -> None:
    first = next(iter(consumer))
    consumer.give_back(first, first)
    consumes(consumer)


def gives_back_again_at_the_end(consumer: Consumer) -> None:
    first = next(iter(consumer))
    consumer.give_back(first)  # the first time
    consumes(consumer)
    consumer.give_back(first)  # once more


def gives_back_what_it_made_up(consumer: Consumer) -> None:
    first = next(iter(consumer))
    made_up = dataclasses.replace(first, raw=dataclasses.replace(first.raw, off=2**40))
    consumer.give_back(made_up)
    consumer.give_back(first)
    consumes(consumer)


def keeps_one_in_ten(consumer: Consumer) -> None:
    for at, completion in enumerate(consumer):
        if at % 10 < 9:
            consumer.give_back(completion)


def reads_late(consumer: Consumer) -> None:
    last = None
    for completion in consumer:
        if last is not None:
            zlib.crc32(last)  # too late
        consumer.give_back(completion)  # given back
        last = completion.data


def reads_late_in_a_thread(consumer: Consumer) -> None:
    first = next(iter(consumer))
    consumer.give_back(first)  # given back

    def read() -> None:
        zlib.crc32(first.data)
        has_read.set()
        done.wait()  # here, or before

    has_read, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=read, name="late")
    thread.start()
    has_read.wait()
    consumes(consumer)
    done.set()
    thread.join()


def writes_late(consumer: Consumer) -> None:
    first = next(iter(consumer))
    consumer.give_back(first)
    first.data[0] = 1
    consumes(consumer)


def writes_out_late(consumer: Consumer) -> None:
    first = next(iter(consumer))
    consumer.give_back(first)
    sender, receiver = socket.socketpair()
    with sender, receiver:
        sender.send(first.data)


def reads_late_in_a_child(consumer: Consumer) -> None:
    first = next(iter(consumer))
    consumer.give_back(first)
    child = os.fork()
    if child == 0:
        zlib.crc32(first.data)
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    consumes(consumer)


def crashes(consumer: Consumer) -> None:
    consumer.give_back(next(iter(consumer)))
    ctypes.string_at(0)


def looks_around(consumer: Consumer) -> str:
    """Say which objects of ours are mapped, and what the open descriptors are."""
    consumes(consumer)
    maps = Path("/proc/self/maps").read_text()
    found = re.findall(r"^(\w+)-(\w+) .* /dev/shm/(zcrx-emu\S*)", maps, re.MULTILINE)
    mapped = [f"{name}={int(end, 16) - int(start, 16)}" for start, end, name in found]
    descriptors = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own is gone by now
            descriptors.append(os.readlink(f"/proc/self/fd/{name}"))
    text = "\n".join([*mapped, "--", *descriptors])
    say(text)
    return text


def digests(consumer: Consumer) -> None:
    """Read one connection to its end."""
    digest, size = hashlib.sha256(), 0
    for completion in consumer:
        if completion.is_end:
            assert len(completion.data) == 0
            say(size, digest.hexdigest(), completion.result)
            consumer.give_back(completion)  # has no buffer: nothing happens
            return
        digest.update(completion.data)
        size += completion.result
        consumer.give_back(completion)


# ---- The tests ----------------------------------------------------------------------------------

Own = Callable[..., RunConfig]
RunIt = Callable[..., Report]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file for what a consumer says; its process finds this module."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setenv("ZCRX_EMU_TEST_SAYS", str(tmp_path / "said"))
    return tmp_path / "said"


@pytest.fixture
def own(said: Path) -> Own:
    """A configuration for one of the consumers above, with returns not delayed by the C side."""

    def make(consumer: Callable[[Consumer], object], **fields: object) -> RunConfig:
        defaults: dict[str, Any] = {"seed": SEED, "packets": 3000, "traffic": TRAFFIC, "hold": 0}
        defaults["wait_ms"] = 60_000  # a consumer in Python may be slow to begin
        name = f"test_consumer:{consumer.__name__}"
        return RunConfig(**{**defaults, "consumer": name, **fields})

    return make


@pytest.fixture
def run_own(own: Own, tmp_path: Path) -> RunIt:
    """Run it."""
    return lambda *arguments, **fields: run(own(*arguments, **fields), run_dir=tmp_path)


def test_bytes_are_read_in_place_and_given_back_out_of_order(
    run_own: RunIt, said: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCRX_EMU_TEST_QUEUES", "1")
    report = run_own(compares_bytes, plan=parse_plan("bad-pad:0.1,bad-area:0.1,bad-index:0.1"))
    assert report.problems == ()
    fragments = report.total("nic", "fragments_delivered")
    assert said.read_text() == f"0 {report.total('nic', 'bytes_offered')} {fragments}"
    assert report.total("consumer", "rqe_valid") == fragments
    assert report.reconciliation.rows[1].injected > 0


def test_each_queue_has_a_consumer_of_its_own(
    run_own: RunIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCRX_EMU_TEST_QUEUES", "2")
    report = run_own(compares_bytes, queues=2, packets=0, laps=1)
    assert report.problems == ()
    assert all(queue.consumer["fragments"] for queue in report.queues)


def test_consumer_may_poll_and_give_back_in_batches(run_own: RunIt, said: Path) -> None:
    report = run_own(gives_back_in_batches)
    assert report.problems == ()
    assert int(said.read_text()) == report.total("nic", "fragments_delivered")


def test_what_is_never_given_back_is_scrubbed(run_own: RunIt, said: Path) -> None:
    """Deliveries end, what cannot be delivered is dropped and counted; and nothing was judged."""
    report = run_own(keeps_everything, packets=20, area_buffers=17, wait_ms=300, traffic=PAGE_SIZED)
    assert not report.ok
    delivered = report.total("nic", "packets_delivered")
    assert int(said.read_text()) == delivered
    assert 0 < delivered <= 17
    assert report.total("nic", "packets_dropped") == 20 - delivered
    assert report.queues[0].scrub == {"references": delivered, "buffers": delivered}
    assert report.total("provider", "free_count") == 17


def test_consumer_that_leaves_before_it_was_asked_to_is_a_finding(run_own: RunIt) -> None:
    report = run_own(leaves_early, packets=0, duration_s=60.0)
    assert report.ended == "finished"
    [problem] = report.problems
    assert problem.startswith("substance: consumer of queue 0 left by itself after ")
    assert [item.kind for item in report.explanations] == ["substance"]
    assert report.elapsed_s < 30
    assert report.total("provider", "free_count") == report.config["area_buffers"]


def test_other_queues_go_on_when_one_consumer_leaves(own: Own) -> None:
    """The run is ended once the other queue has moved more than its rings and area can hold."""
    config = own(leaves_early, queues=2, packets=0, duration_s=60.0)

    def look(sample: Sample) -> None:
        if sample.queues[1].nic["packets_delivered"] > 3 * config.cq_entries:
            session.interrupt("enough")

    with Session(config) as session:
        report = session.run(look, sample_every_s=0.05)
    assert report.ended == "enough"
    assert len(report.problems) == 1
    assert "consumer of queue 0 left by itself" in report.problems[0]
    assert report.queues[0].consumer["rqe_valid"] == 100


@pytest.mark.parametrize(
    ("consumer", "words"),
    [
        (raises, "LuckError: no such luck"),
        (raises_os_error, "FileNotFoundError: [Errno 2] No such file or directory"),
    ],
)
def test_exception_of_a_consumer_is_named_and_its_traceback_kept(
    run_own: RunIt, tmp_path: Path, consumer: Callable[[Consumer], object], words: str
) -> None:
    report = run_own(consumer, packets=0, duration_s=60.0)
    assert not report.ok
    assert report.ended.startswith("consumer of queue 0: ")
    assert words in report.ended
    assert report.problems == (f"{report.ended}; traceback in {tmp_path / 'tracebacks.txt'}",)
    assert [process.exit_code for process in report.processes] == [0, 0, 5]
    traceback = (tmp_path / "tracebacks.txt").read_text()
    assert f"in {consumer.__name__}" in traceback
    assert report.total("provider", "free_count") == report.config["area_buffers"]


def test_consumer_that_dies_before_the_others_have_begun_is_a_finding_too(run_own: RunIt) -> None:
    """Its process had attached: from then on it is part of the run, which is judged."""
    report = run_own(raises_at_once, queues=4, packets=0, duration_s=60.0)
    assert report.problems
    assert all("LuckError; traceback in " in problem for problem in report.problems)


def test_consumer_that_exits_with_a_code_has_failed(run_own: RunIt) -> None:
    report = run_own(exits, packets=0, duration_s=60.0)
    assert report.problems == ("consumer of queue 0 ended with exit code 3",)
    assert report.total("provider", "free_count") == report.config["area_buffers"]


def test_consumer_that_changes_what_it_was_lent_is_found_out(run_own: RunIt) -> None:
    """A seeded bug for the integrity check, which looks again when a fragment goes back."""
    report = run_own(scribbles, traffic=PAGE_SIZED, recheck_every=1)
    assert report.total("consumer", "integrity_errors") == 1
    assert [problem.partition(":")[0] for problem in report.problems] == ["integrity"]


# ---- Mistakes of its own ------------------------------------------------------------------------


def line_of(function: Callable[..., object], words: str) -> str:
    """Where a line of a consumer stands, as reports write it."""
    lines, first = inspect.getsourcelines(function)
    (offset,) = [at for at, line in enumerate(lines) if words in line]
    return f"test_consumer.py:{first + offset}"


def the_mistake(report: Report) -> str:
    (problem,) = report.problems
    assert problem.startswith("consumer: ")
    assert [item.name for item in report.statements if item.holds is False] == ["consumer"]
    assert report.explanations[0].kind == "consumer"
    return problem


def test_double_return_is_named_with_both_calls(run_own: RunIt) -> None:
    """It goes into the ring all the same, and its verdict is judged as a stray's."""
    text = the_mistake(run_own(gives_back_twice, traffic=PAGE_SIZED))
    where = line_of(gives_back_twice, "give_back(first, first)")
    assert text.startswith("consumer: 1 times a completion was given back that was not out: ")
    assert "completion 0 (flow 0, fragment 0, buffer " in text
    assert text.count(where) == 2


def test_double_return_much_later_names_the_call_before(run_own: RunIt) -> None:
    text = the_mistake(run_own(gives_back_again_at_the_end, traffic=PAGE_SIZED))
    assert line_of(gives_back_again_at_the_end, "# the first time") in text
    assert line_of(gives_back_again_at_the_end, "# once more") in text


def test_completion_that_was_never_handed_out_is_named(run_own: RunIt) -> None:
    report = run_own(gives_back_what_it_made_up, traffic=PAGE_SIZED)
    text = next(problem for problem in report.problems if problem.startswith("consumer: "))
    assert "a completion that was never handed out" in text
    assert line_of(gives_back_what_it_made_up, "consumer.give_back(made_up)") in text


def test_completions_never_given_back_are_noted_with_who_was_handed_the_oldest(
    run_own: RunIt,
) -> None:
    report = run_own(keeps_one_in_ten, traffic=PAGE_SIZED, packets=500)
    assert report.problems == ()
    (note,) = [note for note in report.notes if "never given back" in note]
    assert note.startswith("consumer of queue 0: 50 completions were never given back")
    assert "completion 9 (flow 0, fragment 4, buffer " in note
    assert line_of(keeps_one_in_ten, "for at, completion") in note


def test_read_after_the_return_is_named_with_both_lines(run_own: RunIt) -> None:
    text = the_mistake(run_own(reads_late, traffic=PAGE_SIZED, packets=200))
    assert f"was read at tests/emu/{line_of(reads_late, '# too late')} after" in text
    assert line_of(reads_late, "# given back") in text
    assert "times a completion was touched after it was given back: completion 0 (flow 0, " in text


def test_read_in_another_thread_is_named_where_that_has_come_to(run_own: RunIt) -> None:
    text = the_mistake(run_own(reads_late_in_a_thread, traffic=PAGE_SIZED, packets=200))
    where = line_of(reads_late_in_a_thread, "# here, or before")
    assert f"was read in the thread 'late', which has come to tests/emu/{where} by now" in text
    assert line_of(reads_late_in_a_thread, "# given back") in text


def test_write_after_the_return_is_found_too(run_own: RunIt) -> None:
    report = run_own(writes_late, traffic=PAGE_SIZED, packets=200)
    (statement,) = [item for item in report.statements if item.name == "consumer"]
    assert statement.holds is False
    how = "written to" if platform.machine() == "x86_64" else "read"
    assert f"was {how} at " in statement.text


def test_without_poison_a_late_read_goes_unseen(run_own: RunIt) -> None:
    assert run_own(reads_late, traffic=PAGE_SIZED, packets=200, poison=False).problems == ()


def test_crash_stays_a_crash_with_poison(run_own: RunIt) -> None:
    report = run_own(crashes, packets=0, duration_s=60.0)
    assert report.problems == ("consumer of queue 0 was killed by SIGSEGV",)


def test_system_call_on_what_was_given_back_fails(run_own: RunIt) -> None:
    report = run_own(writes_out_late, traffic=PAGE_SIZED, packets=0, duration_s=60.0)
    assert "[Errno 14] Bad address" in report.problems[0]


def test_touch_by_a_forked_child_is_no_mistake_of_the_consumer(run_own: RunIt) -> None:
    assert run_own(reads_late_in_a_child, traffic=PAGE_SIZED, packets=200).problems == ()


def test_faults_in_buffers_that_are_not_out_are_no_touches(run_own: RunIt) -> None:
    """The core checks, and damages, through a mapping of its own."""
    plan = parse_plan("write-foreign:0.05,early-return:0.05,double-return:0.02,stale-return:0.02")
    report = run_own(consumes, plan=plan, hold=20, recheck_every=1, area_buffers=128)
    assert report.problems == ()
    assert all(row.injected for row in report.reconciliation.rows)


def test_consumer_cannot_reach_kernel_side_memory(run_own: RunIt, said: Path) -> None:
    """It maps doorbells, rings, area and notes, four different objects, and can map no others."""
    report = run_own(looks_around, area_buffers=100, rq_entries=1024, poison=False)
    assert report.problems == ()
    mapped, descriptors = (part.split() for part in said.read_text().split("--"))
    source = parse_source(TRAFFIC)
    assert not isinstance(source, TcpSource)
    sizes = layout_sizes(RunConfig(area_buffers=100, rq_entries=1024).shape(flows_max_of(source)))
    pages = {
        name: -(-size // 4096) * 4096
        for name, size in {
            "bells": bells_size(),
            "rings": sizes.rings,
            "area": sizes.area,
            "notes": sizes.notes,
        }.items()
    }
    names = {entry.partition("=")[0] for entry in mapped}
    assert len(names) == len(mapped) == 4
    assert sorted(int(entry.partition("=")[2]) for entry in mapped) == sorted(pages.values())
    assert -(-sizes.kern // 4096) * 4096 not in pages.values(), "it would be told apart"
    assert descriptors
    assert not [link for link in descriptors if "zcrx-emu" in link or "/dev/shm" in link]


def flows_max_of(source: TrafficSource) -> int:
    return make_arena(source, seed=SEED, queues=1, niov_shift=12).flows_max


@pytest.mark.parametrize("reset", [False, True])
def test_end_of_a_connection_is_a_completion_without_a_buffer(said: Path, reset: bool) -> None:
    data = random.Random(SEED).randbytes(300_000)
    listener = listen(TcpSource("127.0.0.1", 0))
    address = listener.getsockname()

    def send() -> None:
        with socket.create_connection(address) as sender:
            sender.sendall(data)
            if reset:
                answer = struct.pack("ii", 1, 0)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, answer)

    config = RunConfig(
        seed=SEED, traffic="tcp:127.0.0.1:0", connections=1, consumer="test_consumer:digests"
    )
    with listener, Session(config, listener=listener) as session:
        sender = threading.Thread(target=send)
        sender.start()
        report = session.run()
        sender.join()
    assert report.ended == "finished"
    assert report.problems == ()
    size, digest, result = said.read_text().split()
    if reset:  # it discards what was not read yet
        assert int(result) == -errno.ECONNRESET
        assert int(size) <= len(data)
    else:
        assert (int(size), digest) == (len(data), hashlib.sha256(data).hexdigest())
        assert int(result) == 0


LARGE = "synthetic:kind=raw,size=65536,flows=32"
NO_BUFFERS = {"area_buffers": 100}
NO_ROOM = {"area_buffers": 1000, "cq_entries": 64}


@pytest.mark.parametrize("consumer", [takes_and_keeps_on_queue_0, takes_nothing_on_queue_0])
@pytest.mark.parametrize(
    "fields",
    [
        {**NO_BUFFERS, "queues": 1, "traffic": LARGE},
        {**NO_ROOM, "queues": 2, "traffic": TRAFFIC},
    ],
)
def test_consumer_that_gives_nothing_back_is_to_blame_for_its_own_queue_only(
    own: Own,
    run_until_still: Callable[[RunConfig, Blame], Report],
    consumer: Callable[[Consumer], object],
    fields: dict[str, Any],
) -> None:
    """At the end of the run it is found who keeps what; a second queue goes on all the time."""
    config = own(consumer, packets=0, duration_s=0.3, **fields)
    report = run_until_still(config, Blame.CONSUMER)
    assert report.ended in ("duration", "stalled")
    progress: Any = next(item for item in report.statements if item.name == "progress")
    assert progress.holds is False
    assert "queue 0 stands still since" in progress.text
    assert re.search("the consumer (keeps|does not read)", progress.text)
    still: Any = report.queues[0].movement["still"]
    assert still["blame"] == "consumer"
    places = sum(still["where"].values())
    assert places == fields["area_buffers"]
    assert report.queues[0].provider["consumed"] == 0
    assert report.queues[0].scrub["references"] == report.queues[0].nic["fragments_delivered"]
    if fields["queues"] == 2:
        assert report.queues[1].movement["still"] is None
        assert report.queues[1].provider["consumed"] > 0


def gives_back_what_it_never_got(consumer: Consumer) -> None:
    """Hand in a fragment with an offset far outside the area, then the true one."""
    for completion in consumer:
        far = dataclasses.replace(completion.raw, off=2**47)
        consumer.give_back(dataclasses.replace(completion, raw=far))
        consumer.give_back(completion)


def test_fragment_outside_the_area_is_refused_and_counted(run_own: RunIt) -> None:
    report = run_own(gives_back_what_it_never_got, traffic=PAGE_SIZED)
    assert not report.ok
    assert report.total("consumer", "bad_completions") > 0
    assert report.total("provider", "bad_index") == 0
