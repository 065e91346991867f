"""The harness that a Python user would write by hand.

Two processes share an area of slots by ``multiprocessing.shared_memory``. The producer
copies a payload into a free slot and sends the slot's number; the consumer reads the
payload's first byte and sends the number back. What carries the numbers is what a user
has to choose, so all likely ways are here; the fastest counts.

Usage: ``python_harness.py TRANSPORT PAYLOAD_BYTES SECONDS``
"""

from __future__ import annotations

import enum
import itertools
import json
import multiprocessing
import os
import struct
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkContext
from multiprocessing.shared_memory import SharedMemory

SLOT_BYTES = 4096
#: Few enough that their numbers fit into any pipe: neither side can block the other.
NUM_SLOTS = 256
NUM_PAYLOADS = 1024
BATCH = 32
CLOCK_EVERY_PACKETS = 64
END = 0xFFFFFFFF  #: Sent in place of a slot when no more follow.

Put = Callable[[int], None]
Get = Callable[[], int]
PutMany = Callable[[list[int]], None]
GetMany = Callable[[], tuple[int, ...]]


class Transport(enum.StrEnum):
    """What carries slot numbers, one channel each way."""

    QUEUE = "Queue"
    SIMPLE_QUEUE = "SimpleQueue"
    PIPE = "Pipe"
    """``send_bytes`` of one packed number."""
    PIPE_BATCHED = "Pipe batched"
    """``send_bytes`` of up to ``BATCH`` packed numbers."""


def channel(context: ForkContext, transport: Transport) -> tuple[Put, Get]:
    """Return both ends of a channel for one number a message."""
    if transport is Transport.QUEUE:
        queue = context.Queue()
        return queue.put, queue.get
    if transport is Transport.SIMPLE_QUEUE:
        simple = context.SimpleQueue()
        return simple.put, simple.get
    reader, writer = context.Pipe(duplex=False)
    number = struct.Struct("I")

    def put(slot: int) -> None:
        writer.send_bytes(number.pack(slot))

    def get() -> int:
        return int(number.unpack(reader.recv_bytes())[0])

    return put, get


def batch_channel(context: ForkContext) -> tuple[PutMany, GetMany]:
    """Return both ends of a channel for several numbers a message."""
    reader, writer = context.Pipe(duplex=False)

    def put(slots: list[int]) -> None:
        writer.send_bytes(struct.pack(f"{len(slots)}I", *slots))

    def get() -> tuple[int, ...]:
        message = reader.recv_bytes()
        return struct.unpack(f"{len(message) // 4}I", message)

    return put, get


def consume(area: memoryview, get: Get, give_back: Put) -> None:
    touched = 0
    while (slot := get()) != END:
        touched += area[slot * SLOT_BYTES]
        give_back(slot)


def produce(
    area: memoryview, payloads: list[bytes], put: Put, get_back: Get, seconds: float
) -> float:
    """Send for so many seconds; return packets/s, all slots being home again."""
    size = len(payloads[0])
    free = list(range(NUM_SLOTS))
    sent = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for payload in payloads[:CLOCK_EVERY_PACKETS]:
            slot = free.pop() if free else get_back()
            offset = slot * SLOT_BYTES
            area[offset : offset + size] = payload
            put(slot)
        sent += CLOCK_EVERY_PACKETS
        payloads = payloads[CLOCK_EVERY_PACKETS:] + payloads[:CLOCK_EVERY_PACKETS]
    for _ in range(NUM_SLOTS - len(free)):
        get_back()
    elapsed = time.perf_counter() - start
    put(END)
    return sent / elapsed


def consume_batches(area: memoryview, get: GetMany, give_back: PutMany) -> None:
    touched = 0
    while (slots := get())[0] != END:
        for slot in slots:
            touched += area[slot * SLOT_BYTES]
        give_back(list(slots))


def produce_batches(
    area: memoryview,
    payloads: list[bytes],
    put: PutMany,
    get_back: GetMany,
    seconds: float,
) -> float:
    """Do as ``produce`` does, with up to ``BATCH`` packets a message."""
    size = len(payloads[0])
    free = list(range(NUM_SLOTS))
    source = itertools.cycle(payloads)
    sent = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        if len(free) < BATCH:
            free.extend(get_back())
        slots, free = free[-BATCH:], free[:-BATCH]
        for slot in slots:
            offset = slot * SLOT_BYTES
            area[offset : offset + size] = next(source)
        put(slots)
        sent += len(slots)
    while len(free) < NUM_SLOTS:
        free.extend(get_back())
    elapsed = time.perf_counter() - start
    put([END])
    return sent / elapsed


def measure(transport: Transport, payload_size: int, seconds: float) -> float:
    """Run both processes and return packets/s."""
    # Forked, as it is the cheapest way, and channels need not be handed over by name.
    context = multiprocessing.get_context("fork")
    payloads = [os.urandom(payload_size) for _ in range(NUM_PAYLOADS)]
    memory = SharedMemory(create=True, size=NUM_SLOTS * SLOT_BYTES)
    try:
        area = memory.buf
        assert area is not None
        area[:] = bytes(len(area))  # Its pages are there from now on.
        try:
            return _measure(context, area, transport, payloads, seconds)
        finally:
            del area
    finally:
        memory.close()
        memory.unlink()


def _measure(
    context: ForkContext,
    area: memoryview,
    transport: Transport,
    payloads: list[bytes],
    seconds: float,
) -> float:
    if transport is Transport.PIPE_BATCHED:
        put_many, get_many = batch_channel(context)
        back_many, got_back_many = batch_channel(context)
        consumer = context.Process(
            target=consume_batches, args=(area, get_many, back_many), daemon=True
        )
        consumer.start()
        rate = produce_batches(area, payloads, put_many, got_back_many, seconds)
    else:
        put, get = channel(context, transport)
        back, got_back = channel(context, transport)
        consumer = context.Process(target=consume, args=(area, get, back), daemon=True)
        consumer.start()
        rate = produce(area, payloads, put, got_back, seconds)
    consumer.join()
    return rate


def main(arguments: list[str]) -> None:
    transport, payload_size, seconds = arguments
    if not 0 < int(payload_size) <= SLOT_BYTES:
        raise SystemExit(f"payload size {payload_size}: must be 1 to {SLOT_BYTES}")
    rate = measure(Transport(transport), int(payload_size), float(seconds))
    print(json.dumps({"unit": "packets/s", "value": rate}))


if __name__ == "__main__":
    main(sys.argv[1:])
