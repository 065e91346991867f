"""A consumer that notes when it was handed its first and its last packet.

It loads nothing beside: what it takes to load is part of what is measured.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu import Consumer

#: The environment's name for the file that the two times are written into.
TIMES = "ZCRX_BENCH_TIMES"


def main(consumer: Consumer) -> None:
    """Give all back, and write both times: seconds of the clock that all processes share."""
    first = last = 0.0
    for completion in consumer:
        last = time.monotonic()
        first = first or last
        consumer.give_back(completion)
    with open(os.environ[TIMES], "w", encoding="ascii") as file:
        file.write(f"{first} {last}")
