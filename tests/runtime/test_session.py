"""Whole runs: real processes over real shared memory, small enough for a test each."""

from __future__ import annotations

import gc
import io
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from rich.console import Console

from emu.cli.closing import print_report
from emu.config import GrantOrder, Overload, Pace, ReturnOrder, RunConfig, Verify
from emu.errors import ConfigError, EmuError, EnvironmentProblem, TrafficError
from emu.runtime import fork_server, segment, session
from emu.runtime.arena import make_arena
from emu.runtime.processes import Processes
from emu.runtime.reaper import relatives_of
from emu.runtime.sample import Sample
from emu.runtime.session import Session
from emu.traffic import PcapSource
from emu.verdict import judgement
from emu.verdict.report import Report
from faults import parse_plan

DATA = Path(__file__).parents[1] / "data"
MODULES = Path(__file__).parents[1] / "emu"
RunIt = Callable[..., Report]
#: At most two fragments a buffer, so that all returns of an area find room in the refill ring.
MTU_SIZED = "synthetic:kind=raw,size=1448,flows=8,packets=512"
EACH_FIFTH = parse_plan("bad-pad:0.2,bad-area:0.2,bad-index:20%")


def delivered(report: Report) -> int:
    return report.total("nic", "packets_delivered")


# ---- What arrives -------------------------------------------------------------------------------


def test_default_mix_arrives_whole(run_sound: RunIt) -> None:
    report = run_sound()
    assert report.ended == "packets"
    assert delivered(report) == 20_000
    assert report.total("consumer", "bytes") == report.total("nic", "bytes_offered")
    assert report.total("consumer", "fragments") == report.total("nic", "fragments_delivered")
    assert report.total("consumer", "rqe_submitted") == report.total("consumer", "rqe_valid")
    assert report.reconciliation.unconsumed == 0


def test_three_queues_share_the_traffic(run_sound: RunIt) -> None:
    report = run_sound(queues=3)
    assert [process.label for process in report.processes] == [
        "provider",
        "nic",
        *(f"consumer of queue {queue}" for queue in range(3)),
    ]
    assert all(queue.nic["packets_delivered"] > 1000 for queue in report.queues)
    assert sum(queue.nic["packets_delivered"] for queue in report.queues) == 20_000
    for queue in report.queues:
        assert queue.consumer["bytes"] == queue.nic["bytes_delivered"]


@pytest.mark.parametrize("size", [1, 64, 1448, 4096, 4097, 65536])
def test_payloads_of_one_size_arrive_in_the_fewest_fragments(run_sound: RunIt, size: int) -> None:
    traffic = f"synthetic:kind=raw,size={size},flows=8,packets=64"
    report = run_sound(traffic=traffic, packets=3000)
    assert report.total("consumer", "bytes") == 3000 * size
    assert report.total("consumer", "fragments") == 3000 * -(-size // 4096)


@pytest.mark.parametrize("verify", Verify)
def test_each_kind_of_verification_gets_all_of_the_traffic(
    run_sound: RunIt, verify: Verify
) -> None:
    report = run_sound(verify=verify)
    assert report.total("consumer", "bytes") == report.total("nic", "bytes_offered")


def test_laps_replay_the_traffic_as_often_as_asked(run_sound: RunIt) -> None:
    report = run_sound(packets=0, laps=3, queues=2, traffic="synthetic:packets=1000")
    assert delivered(report) == 3000


def test_duration_ends_the_traffic(run_sound: RunIt) -> None:
    report = run_sound(packets=0, duration_s=0.3)
    assert report.ended == "duration"
    assert report.elapsed_s >= 0.3
    assert delivered(report) > 0


@pytest.mark.parametrize("name", ["loopback.pcap", "loopback.pcapng"])
def test_capture_is_replayed_byte_for_byte(run_sound: RunIt, name: str) -> None:
    source = PcapSource(str(DATA / name))
    size = sum(len(packet.payload) for packet in source.packets())
    report = run_sound(traffic=source.label, packets=0, laps=50)
    assert delivered(report) == 50 * source.summary.packets
    assert report.total("consumer", "bytes") == 50 * size
    account = report.as_dict()["capture"]
    assert account == source.account()
    assert 0 < account["frames_used"] < account["frames"]
    assert any("frames were left out" in note for note in report.notes)


def test_original_pace_takes_as_long_as_the_capture(run_sound: RunIt) -> None:
    source = PcapSource(str(DATA / "loopback.pcap"))
    *_, last = source.packets()
    report = run_sound(traffic=source.label, packets=0, laps=1, pace=Pace.ORIGINAL)
    assert delivered(report) == source.summary.packets
    assert report.elapsed_s >= last.time_ns / 1e9


def test_every_seventh_packet_is_copied(run_sound: RunIt) -> None:
    """The area is so large that the freelist, where copies go, never runs empty."""
    report = run_sound(traffic=MTU_SIZED, copy_every=7, area_buffers=8192)
    assert delivered(report) == 20_000
    copied = report.total("nic", "copied_packets")
    assert copied >= 20_000 // 7
    assert report.total("nic", "copied_bytes") == copied * 1448
    # No pool waits for the buffer of a copy: it goes back as another pool's would.
    assert 0 < report.verdicts["other_pool"] <= copied


@pytest.mark.parametrize(
    ("copy_every", "area_buffers"),
    [
        *[(1, 17), (2, 64), (7, 512), (1, 1024)],
        *(
            pytest.param(*pair, marks=pytest.mark.long)
            for pair in [
                (2, 17),
                (7, 17),
                (1, 64),
                (7, 64),
                (1, 512),
                (2, 512),
                (2, 1024),
                (7, 1024),
            ]
        ),
    ],
)
def test_copies_starve_no_queue(run_sound: RunIt, copy_every: int, area_buffers: int) -> None:
    """What finds no free buffer is placed; else all of them would wait in the refill ring."""
    report = run_sound(
        packets=5000, traffic=MTU_SIZED, copy_every=copy_every, area_buffers=area_buffers
    )
    placed = report.total("nic", "copies_placed")
    assert report.total("nic", "packets_dropped") == 0
    assert delivered(report) == 5000
    assert report.total("nic", "copied_packets") + placed == 5000 // copy_every
    notes = [note for note in report.notes if note.startswith("copies: ")]
    assert notes == (
        [
            f"copies: {placed} of {5000 // copy_every} packets that were to be copied found no "
            "free buffer, and were placed instead"
        ]
        if placed
        else []
    )


# ---- Returns, faults and verdicts ---------------------------------------------------------------


def test_newest_grants_are_taken_first(run_sound: RunIt) -> None:
    """What is never reached is not lost, and a NIC that holds grants gives them back."""
    report = run_sound(
        traffic=MTU_SIZED, grant_order=GrantOrder.NEWEST, plan=parse_plan("nic-hold:0.01")
    )
    assert report.total("nic", "grants_taken") > 2 * report.config["grant_entries"]


@pytest.mark.parametrize("order", ReturnOrder)
@pytest.mark.parametrize("hold", [0, 200])
def test_fragments_held_to_the_end_are_scrubbed(
    run_sound: RunIt, order: ReturnOrder, hold: int
) -> None:
    report = run_sound(traffic=MTU_SIZED, return_order=order, hold=hold)
    # The scrub may also be faster than the provider with returns that still are in the ring.
    held = report.queues[0].scrub["references"] - report.reconciliation.after_scrub
    # LIFO empties its whole window at a time; the others keep it full.
    assert 0 <= held <= hold if order is ReturnOrder.LIFO else held == hold
    assert report.total("consumer", "rqe_valid") == 20_000 - held


def test_each_malformed_entry_earns_its_own_verdict(run_sound: RunIt) -> None:
    """Faults of 20 % each: what was injected was judged, and the verdicts add up one to one."""
    report = run_sound(traffic=MTU_SIZED, plan=EACH_FIFTH)
    valid, *rows = report.reconciliation.rows
    assert report.reconciliation.unconsumed == 0
    assert valid.injected == valid.judged == report.total("consumer", "rqe_valid")
    for row in rows:
        assert row.injected == row.judged == row.earned[row.name.replace("-", "_")]
        assert 0.15 * valid.injected < row.injected < 0.25 * valid.injected
    verdicts = report.verdicts
    assert [verdicts[name] for name in ("bad_pad", "bad_area", "bad_index")] == [
        row.injected for row in rows
    ]
    assert sum(verdicts.values()) == report.total("consumer", "rqe_submitted")
    assert verdicts["no_user_ref"] == report.reconciliation.after_scrub
    accepted = sum(verdicts[name] for name in ("accepted", "still_referenced", "other_pool"))
    assert accepted + report.queues[0].scrub["references"] == 20_000


def test_faults_at_every_entry_leave_the_valid_ones_alone(run_sound: RunIt) -> None:
    report = run_sound(traffic=MTU_SIZED, plan=parse_plan("bad-pad:1,bad-area:1,bad-index:1"))
    assert len({row.injected for row in report.reconciliation.rows}) == 1
    assert report.reconciliation.rows[0].injected > 19_000


def test_faults_on_three_queues_are_reconciled_together(run_sound: RunIt) -> None:
    report = run_sound(queues=3, plan=EACH_FIFTH)
    injected = {row.name: row.injected for row in report.reconciliation.rows[1:]}
    judged = {row.name: row.judged for row in report.reconciliation.rows[1:]}
    assert injected == judged
    assert min(injected.values()) > 0


def test_same_seed_injects_the_same_faults(run_sound: RunIt) -> None:
    def injected(seed: int) -> list[int]:
        report = run_sound(
            seed=seed,
            traffic=MTU_SIZED,
            plan=EACH_FIFTH,
            return_order=ReturnOrder.FIFO,
            hold=0,
        )
        return [row.injected for row in report.reconciliation.rows]

    assert injected(7) == injected(7) != injected(8)


def test_strict_alias_changes_nothing_for_whom_it_does_not_concern(run_sound: RunIt) -> None:
    report = run_sound(strict_alias=True, plan=EACH_FIFTH)
    assert report.total("provider", "aliases") == 0


# ---- Small and odd sizes ------------------------------------------------------------------------


@pytest.mark.long
def test_indices_wrap_at_two_to_the_32(run_sound: RunIt) -> None:
    report = run_sound(initial_index=2**32 - 5, plan=EACH_FIFTH)
    assert delivered(report) == 20_000


def test_smallest_rings_move_everything(run_sound: RunIt) -> None:
    report = run_sound(
        packets=200,
        rq_entries=1,
        cq_entries=16,
        grant_entries=16,
        area_buffers=17,
        hold=0,
        plan=EACH_FIFTH,
    )
    assert delivered(report) == 200


def test_smallest_ptr_ring_overflows_to_the_freelist(run_sound: RunIt) -> None:
    report = run_sound(ptr_ring_size=1, queues=2)
    assert delivered(report) == 20_000


def test_overload_drops_and_counts(run_sound: RunIt) -> None:
    """An area of 17 buffers cannot keep up. What is dropped is missing in order, and counted.

    So many that the other processes have their turn before the last one is offered.
    """
    packets = 500_000
    report = run_sound(
        packets=packets,
        traffic="synthetic:kind=raw,size=4096,flows=8,packets=64",
        overload=Overload.DROP,
        area_buffers=17,
        hold=8,
    )
    dropped = report.total("nic", "packets_dropped")
    assert dropped > 0
    assert delivered(report) + dropped == packets
    assert report.total("nic", "fragments_dropped") == dropped
    reasons = [report.total("nic", f"dropped_{why}") for why in ("no_buffer", "cq_full")]
    assert sum(reasons) == dropped
    assert report.total("consumer", "order_gaps") <= dropped


@pytest.mark.parametrize(("hold", "size"), [(1000, 1000), (17, 1000), (2, 65536)])
def test_hold_that_can_only_starve_is_refused(hold: int, size: int) -> None:
    traffic = f"synthetic:kind=raw,size={size},flows=8,packets=64"
    config = RunConfig(seed=1, packets=60, area_buffers=17, hold=hold, traffic=traffic)
    with pytest.raises(ConfigError, match=f"^hold: {hold} is not allowed.*it must be 0 to"):
        Session(config).__enter__()


def test_default_hold_fits_the_smallest_area() -> None:
    report = session.run(RunConfig(seed=1, packets=20_000, area_buffers=17))
    assert report.problems == ()
    assert report.total("nic", "packets_delivered") == 20_000
    assert "hold: 0 instead of 32: of 17 buffers a large packet needs 16" in report.notes


# ---- The life of a session ----------------------------------------------------------------------


def own_objects() -> tuple[list[str], set[str]]:
    """Descriptors of this process, and mappings of shared memory."""
    gc.collect()
    descriptors = sorted(os.listdir("/proc/self/fd"))
    maps = Path("/proc/self/maps").read_text().splitlines()
    return descriptors, {line for line in maps if "/dev/shm/zcrx-emu" in line}


def test_runs_follow_each_other_in_one_process(run_sound: RunIt) -> None:
    mapped = own_objects()[1]  # maybe by another test whose failure is still looked at
    run_sound(packets=100)  # the first one of a process loads what stays
    before = own_objects()
    assert before[1] == mapped
    run_sound(packets=100, queues=2)
    assert own_objects() == before


def test_session_that_never_runs_leaves_nothing() -> None:
    with Session(RunConfig(seed=1, queues=2)) as unused:
        pids = list(unused.pids.values())
        assert list(unused.pids) == [
            "provider",
            "nic",
            "consumer of queue 0",
            "consumer of queue 1",
        ]
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        # All have attached: nothing has a name any more, not even the barrier.
        own = f"zcrx-emu.{os.getpid()}."
        assert [name for name in os.listdir("/dev/shm") if own in name] == []
        assert unused.sample().elapsed_s == 0.0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    unused.close()  # once more


def test_samples_grow_and_the_last_one_is_final() -> None:
    samples: list[Sample] = []
    with Session(RunConfig(seed=1, duration_s=0.5, plan=EACH_FIFTH)) as running:
        report = running.run(samples.append, sample_every_s=0.05)
    assert report.ok
    assert len(samples) >= 3
    for earlier, later in itertools.pairwise(samples):
        assert earlier.elapsed_s <= later.elapsed_s
        for one, two in zip(earlier.queues, later.queues, strict=True):
            assert one.nic["packets_offered"] <= two.nic["packets_offered"]
            assert one.provider["consumed"] <= two.provider["consumed"]
            assert one.injected <= two.injected
    assert samples[-1].queues[0].nic == report.queues[0].nic
    assert samples[-1].queues[0].places.freelist == report.config["area_buffers"]
    assert set(samples[-1].cpu_s) == {"provider", "nic", "consumer of queue 0"}


def test_interrupt_ends_the_run_in_order() -> None:
    with Session(RunConfig(seed=1, duration_s=60)) as running:
        report = running.run(lambda _sample: running.interrupt(), sample_every_s=0.05)
    assert report.ended == "interrupted"
    assert report.ok
    assert report.elapsed_s < 30


def test_exception_of_a_watcher_ends_the_processes() -> None:
    class WatcherError(Exception):
        pass

    def watch(_sample: Sample) -> None:
        raise WatcherError

    with Session(RunConfig(seed=1, duration_s=60)) as running:
        pids = list(running.pids.values())
        with pytest.raises(WatcherError):
            running.run(watch, sample_every_s=0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_consumer_may_be_replaced_while_the_run_goes_on() -> None:
    """What the first user held is scrubbed; what it left in the rings does not reach the second."""
    taken_back: list[int] = []
    with Session(RunConfig(seed=1, duration_s=0.5, queues=2, plan=EACH_FIFTH)) as running:

        def replace(sample: Sample) -> None:
            if not taken_back and sample.queues[1].nic["packets_delivered"]:
                before = running.pids["consumer of queue 1"]
                taken_back.append(running.detach_consumer(1)[0])
                running.attach_consumer(1)
                assert running.pids["consumer of queue 1"] != before

        report = running.run(replace, sample_every_s=0.05)
    assert report.problems == ()
    assert report.ended == "duration"
    assert taken_back[0] > 0
    assert [process.exit_code for process in report.processes] == [0, 0, 0, -signal.SIGKILL, 0]
    assert report.total("provider", "free_count") == 2 * report.config["area_buffers"]


CALLS = ("detach_consumer", "attach_consumer", "restart_queue")


def refusal(call: Callable[[], object]) -> str:
    """The message of a call that is refused, one line."""
    with pytest.raises(EmuError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_wrong_calls_about_a_queue_are_refused_and_change_nothing() -> None:
    refused: list[str] = []
    with Session(RunConfig(seed=1, duration_s=60, queues=2)) as running:
        for name in CALLS:
            message = refusal(partial(getattr(running, name), 0))
            assert message == f"{name}: the run has not begun; call it while run() is at work"

        def call_wrongly(sample: Sample) -> None:
            if refused or not sample.queues[1].nic["packets_delivered"]:
                return
            before = running.pids
            refused.append(refusal(lambda: running.attach_consumer(1)))
            for name, number in itertools.product(CALLS, (-1, 2, True, "1")):
                message = refusal(partial(getattr(running, name), number))
                assert message == f"queue: {number!r} is not allowed; it must be 0 to 1"
            assert running.pids == before
            running.detach_consumer(1)
            refused.append(refusal(lambda: running.detach_consumer(1)))
            running.attach_consumer(1)
            running.interrupt()

        report = running.run(call_wrongly, sample_every_s=0.05)
        assert refusal(running.run) == "run: the session is over; make a new one"
    assert refusal(running.run) == "run: the session is over; make a new one"
    assert report.problems == ()
    assert len(report.processes) == 5
    assert refused == [
        "attach_consumer: queue 1 has a consumer; detach it before",
        "detach_consumer: queue 1 has no consumer; attach one before",
    ]


def test_calls_in_the_last_sample_do_nothing() -> None:
    """There is no provider any more that would follow: to wait for it would be a finding."""
    results: list[tuple[object, ...]] = []
    with Session(RunConfig(seed=1, duration_s=60, queues=2)) as running:

        def call(_sample: Sample) -> None:
            if not results:
                results.append((running.detach_consumer(1),))
                running.interrupt()
            else:
                detached = running.detach_consumer(0)
                running.attach_consumer(1)
                results.append((detached, running.restart_queue(0)))

        report = running.run(call, sample_every_s=0.05)
    assert results[1:] == [((0, 0), False)]
    assert report.problems == ()
    assert report.ended == "interrupted"
    assert report.total("provider", "restarts") == 0
    assert len(report.processes) == 4


def test_death_noticed_after_a_detachment_is_not_the_new_consumers() -> None:
    """The run reaps a consumer while it waits for another queue, and only then deals with it."""
    config = RunConfig(seed=1, duration_s=60, queues=2, respawn=True)
    replaced: list[list[int]] = []
    with Session(config) as running:

        def started() -> list[int]:  # of a consumer the reaper: the other pid comes by its word
            return [worker.process.pid for worker in running.processes.workers]

        def replace_both(_sample: Sample) -> None:
            if replaced:
                replaced.append(started())
                running.interrupt()
                return
            pid = running.pids["consumer of queue 1"]
            pidfd = os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
            select.select([pidfd], [], [], 30)  # it is dead, and the run has not noticed
            os.close(pidfd)
            for queue in (0, 1):
                running.detach_consumer(queue)
            for queue in (1, 0):
                running.attach_consumer(queue)
            replaced.append(started())

        report = running.run(replace_both, sample_every_s=0.0)
    assert replaced[1] == replaced[0]
    assert report.problems == ()
    assert report.ended == "interrupted"
    assert len(report.processes) == 6


@pytest.mark.parametrize("victim", ["nic", "provider", "consumer of queue 1"])
def test_death_of_a_process_is_named_and_judged(victim: str) -> None:
    with Session(RunConfig(seed=1, duration_s=60, queues=2)) as running:
        pid = running.pids[victim]
        killed: list[int] = []

        def kill(_sample: Sample) -> None:
            if not killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

        report = running.run(kill, sample_every_s=0.05)
    assert not report.ok
    assert report.ended == f"{victim} was killed by SIGKILL"
    assert report.problems[0] == report.ended
    audit = {statement.name: statement.holds for statement in report.statements}
    assert audit["all_home"] is (True if victim.startswith("consumer") else None)
    assert audit["exactness"] is True


@pytest.mark.usefixtures("no_server_is_kept")
def test_worker_that_cannot_start_is_an_environment_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    before = own_objects()
    with (
        pytest.raises(EnvironmentProblem, match=r"^(provider|nic|consumer).*$"),
        Session(RunConfig(seed=1)),
    ):
        pytest.fail("it must not start")
    assert own_objects() == before


@pytest.mark.usefixtures("no_server_is_kept")
def test_workers_that_end_in_the_same_moment_have_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is left who is awaited, and nobody who would have to be hidden."""

    def wait_for_all(processes: Processes, *_: object) -> None:
        for worker in processes.live():
            select.select([worker.pidfd], [], [], 30)

    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(Processes, "wait_event", wait_for_all)
    with (
        pytest.raises(EnvironmentProblem, match="ended with exit code 1 before the run began"),
        Session(RunConfig(seed=1)),
    ):
        pytest.fail("it must not start")


def test_traffic_that_cannot_be_read_makes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_args, **_fields: pytest.fail("a process"))
    before = own_objects()
    with pytest.raises(TrafficError), Session(RunConfig(traffic=f"pcap:{tmp_path / 'none'}")):
        pytest.fail("it must not start")
    assert own_objects() == before


@pytest.fixture
def no_server_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that makes its first run."""
    monkeypatch.setattr(fork_server, "_kept", fork_server._Kept())


@pytest.mark.usefixtures("no_server_is_kept")
@pytest.mark.parametrize(
    ("faults", "consumer", "begun"),
    [
        ("none", "builtin", [fork_server.ROLE]),
        ("none", "hostile:honest", [fork_server.ROLE, "consumer"]),
        ("setup-fail:at=999", "builtin", []),
    ],
)
def test_workers_load_while_the_traffic_is_made_unless_a_step_may_fail(
    monkeypatch: pytest.MonkeyPatch, faults: str, consumer: str, begun: list[str]
) -> None:
    found: list[str] = []
    known = {child.pid for child in relatives_of(os.getpid())}

    def look(*args: Any, **more: Any) -> Any:
        for child in relatives_of(os.getpid()):
            if child.pid not in known:
                words = Path(f"/proc/{child.pid}/cmdline").read_text().split("\0")
                found.append(words[words.index("emu.runtime.worker") + 1])
        return make_arena(*args, **more)

    monkeypatch.setattr(session, "make_arena", look)
    config = RunConfig(
        seed=1,
        packets=100,
        plan=parse_plan(faults),
        consumer=consumer,
        modules_from=str(MODULES),
    )
    with Session(config) as running:
        report = running.run()
    assert found == begun
    assert [process.role for process in report.processes] == ["provider", "nic", "consumer"]
    assert {child.pid for child in relatives_of(os.getpid())} <= known


@pytest.mark.usefixtures("no_server_is_kept")
def test_workers_that_were_begun_end_with_the_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: set[int] = set()
    known = {child.pid for child in relatives_of(os.getpid())}

    def fails(*_args: object, **_more: object) -> NoReturn:
        begun.update(child.pid for child in relatives_of(os.getpid()) if child.pid not in known)
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "make_arena", fails)
    before = own_objects()
    config = RunConfig(seed=1, consumer="hostile:honest", modules_from=str(MODULES))
    running = Session(config)
    with pytest.raises(KeyboardInterrupt), running:
        pytest.fail("it must not start")
    assert len(begun) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in begun)
    assert own_objects() == before


def test_start_sweeps_what_dead_runs_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_sound: RunIt
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    stale = tmp_path / f"sem.zcrx-emu.{dead.pid}.123.0"
    stale.touch()
    monkeypatch.setattr(segment, "SHM_DIR", tmp_path)
    report = run_sound(packets=100)
    assert report.notes == ("removed 1 shared-memory objects of dead runs",)
    assert not stale.exists()


def test_run_folder_holds_the_report(tmp_path: Path) -> None:
    report = session.run(RunConfig(seed=1, packets=100, rq_entries=5000), run_dir=tmp_path)
    assert json.loads((tmp_path / "run.json").read_text()) == json.loads(
        json.dumps(report.as_dict())
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert report.run_dir == str(tmp_path)
    assert report.notes == ("rq_entries: 5000 rounded up to 8192, a power of two",)


def test_progress_is_watched_by_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NIC that is stopped delivers nothing although buffers are there: the run says so."""
    monkeypatch.setattr(session, "ACK_TIMEOUT_S", 0.2)
    stopped: list[int] = []
    with Session(RunConfig(seed=1, duration_s=60), stall_s=0.2) as running:

        def stop(sample: Sample) -> None:
            if not stopped and sample.queues[0].nic["packets_delivered"]:
                stopped.append(running.pids["nic"])
                os.kill(stopped[0], signal.SIGSTOP)

        start = time.monotonic()
        report = running.run(stop, sample_every_s=0.05)
    assert time.monotonic() - start < 30
    assert report.ended == "stalled"
    progress: Any = next(item for item in report.statements if item.name == "progress")
    assert progress.holds is False
    assert not report.ok


def test_packets_that_a_plan_drops_are_no_stall() -> None:
    config = RunConfig(seed=1, duration_s=0.5, plan=parse_plan("nic-drop:1.0"))
    with Session(config, stall_s=0.2) as running:
        report = running.run()
    assert report.ended == "duration"
    assert report.total("nic", "packets_delivered") == 0
    assert [item.name for item in report.statements if item.holds is False] == ["substance"]
    assert "none was delivered" in report.problems[0]


# ---- a verdict, whatever happens -----------------------------------------------------------------


@pytest.mark.parametrize("where", ["audit", "_reconciliation", "_queue_reports", "_explain"])
def test_mistake_while_judging_is_a_verdict_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    def fails(*_: object) -> NoReturn:
        raise KeyError("a\nkey\x1b")

    monkeypatch.setattr(judgement, where, fails)
    with Session(RunConfig(seed=1, packets=10), run_dir=tmp_path) as session:
        report = session.run()
    assert not report.ok
    (problem,) = report.problems
    assert problem == (
        r"the run could not be judged: KeyError: 'a\nkey\x1b'; "
        f"traceback in {tmp_path / 'tracebacks.txt'}"
    )
    assert {item.holds for item in report.statements} == {None}
    assert json.loads((tmp_path / "run.json").read_text())["problems"] == [problem]
    assert "in fails" in (tmp_path / "tracebacks.txt").read_text()
    print_report(Console(file=io.StringIO()), report)


@pytest.mark.parametrize("error", [KeyError("x"), OSError(24, "Too many open files")])
def test_mistake_while_the_run_is_on_ends_it_with_a_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    with Session(RunConfig(seed=1, duration_s=60.0), run_dir=tmp_path) as session:
        count = 0

        def fails() -> None:
            nonlocal count
            count += 1
            if count == 3:
                raise error

        monkeypatch.setattr(session, "_act_process_faults", fails)
        report = session.run()
        pids = [process.pid for process in report.processes]
    assert not report.ok
    assert report.problems[0].startswith(f"the run could not go on: {type(error).__name__}: ")
    assert json.loads((tmp_path / "run.json").read_text())["ok"] is False
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_error_of_the_caller_is_the_callers() -> None:
    def fails(_sample: Sample) -> None:
        raise LookupError("mine")

    with (
        pytest.raises(LookupError, match="mine"),
        Session(RunConfig(seed=1, duration_s=60.0)) as session,
    ):
        session.run(fails, 0.01)
