"""The shared objects of one run: made, mapped for the control process, handed over by role.

Who may map what is decided here and nowhere else; a consumer never gets the
kernel side.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace

from emu.core import (
    Mapping,
    MemoryGuard,
    Queue,
    RunControl,
    Shape,
    bells_size,
    layout_sizes,
    run_size,
)
from emu.runtime.segment import Segment, check_room, create_segment
from emu.runtime.setup_steps import SetupSteps

#: Objects of the whole run and of each queue, by role.
_SHARED = {
    "nic": ("run", "bells", "arena"),
    "provider": ("run", "bells"),
    "keeper": ("run", "bells"),
    "consumer": ("bells",),
}
_OF_QUEUE = {
    "nic": ("kern", "rings", "area", "notes"),
    "provider": ("kern", "rings", "notes"),
    "keeper": ("kern", "rings"),
    "consumer": ("rings", "area", "notes"),
}
#: Of a consumer that writes its rings itself, and whose deeds others note.
_OF_RAW_CONSUMER = ("rings", "area")


@dataclass(frozen=True, slots=True)
class Handover:
    """Objects as they travel to another process: names, sizes in bytes, descriptors."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    fds: tuple[int, ...]


def _handover(objects: dict[str, Segment], names: tuple[str, ...]) -> Handover:
    chosen = {name: objects[name] for name in names if name in objects}
    return Handover(
        tuple(chosen),
        tuple(segment.size for segment in chosen.values()),
        tuple(segment.fd for segment in chosen.values()),
    )


class RunMemory:
    """All shared objects of a run. Close it to give the descriptors back.

    Args:
        shape: Sizes of each queue.
        queues: How many queues.
        arena: The traffic to replay, or None.
        setup: Asked before each step; it may refuse one.
        has_plugin: Somebody else's provider is behind the page pools: the first ones are not
            made here.

    Raises:
        ConfigError: Shared memory cannot hold it.
        EnvironmentProblem: An object could not be made.
    """

    def __init__(
        self,
        shape: Shape,
        queues: int,
        arena: bytearray | None,
        setup: SetupSteps,
        *,
        has_plugin: bool = False,
    ) -> None:
        self.shape = shape
        self._is_foreign = has_plugin
        self._setup = setup
        self._segments: list[Segment] = []
        self._guard = MemoryGuard()
        sizes = layout_sizes(shape)
        of_queue = {
            "kern": sizes.kern,
            "rings": sizes.rings,
            "area": sizes.area,
            "notes": sizes.notes,
        }
        total = queues * sum(of_queue.values()) + len(arena or b"")
        check_room("area_buffers", shape.num_niovs, total)
        try:
            self._shared = {
                "run": self._make("run", run_size()),
                "bells": self._make("bells", bells_size()),
            }
            if arena is not None:
                self._shared["arena"] = self._make("arena", len(arena))
                with self._map(self._shared["arena"], "arena") as target:
                    target[:] = arena
            self._queues = [
                {
                    name: self._make(f"{name} of queue {queue}", size)
                    for name, size in of_queue.items()
                }
                for queue in range(queues)
            ]
            self._run = self._map(self._shared["run"], "run")
            self._bells = self._map(self._shared["bells"], "bells")
        except BaseException:
            self.close()
            raise

    def _make(self, what: str, size: int) -> Segment:
        self._setup.step(f"make {what}")
        segment = create_segment(size)
        self._segments.append(segment)
        return segment

    def _map(self, segment: Segment, what: str) -> mmap.mmap:
        self._setup.step(f"map {what}")
        mapped = segment.map()
        if what != "arena":  # that is only written, at once
            self._guard.watch(mapped, what)
        return mapped

    def hurt(self) -> list[str]:
        """Objects of which somebody has taken pages away that this process then touched."""
        return self._guard.hurt()

    def control(self) -> RunControl:
        """The run object and the bells, as the control process uses them."""
        control = RunControl(self._run, self._bells)
        control.format(len(self._queues))
        return control

    def views(self) -> list[Queue]:
        """The control process's views of the queues, given their first state."""
        views = []
        for index, objects in enumerate(self._queues):
            mapping = Mapping(
                run=self._run,
                bells=self._bells,
                kern=self._map(objects["kern"], f"kern of queue {index}"),
                rings=self._map(objects["rings"], f"rings of queue {index}"),
                notes=self._map(objects["notes"], f"notes of queue {index}"),
            )
            assert mapping.rings is not None
            self._setup.fill_rings(self.shape, index, mapping.rings)
            view = Queue(self.shape, index, mapping)
            self._setup.step(f"format queue {index}")
            view.format()
            if not self._is_foreign:
                self._setup.step(f"create the page pool of queue {index}")
                view.create_pool()
            views.append(view)
        return views

    def shape_for(self, role: str) -> Shape:
        """The shape as a role may know it: a consumer finds its rings through their header."""
        return replace(self.shape, ring_layout=0) if role == "consumer" else self.shape

    def shared_for(self, role: str) -> Handover:
        """What a role may map of the whole run."""
        return _handover(self._shared, _SHARED[role])

    def queue_for(self, role: str, queue: int) -> Handover:
        """What a role may map of one queue."""
        is_raw = role == "consumer" and self.shape.is_witnessed
        return _handover(self._queues[queue], _OF_RAW_CONSUMER if is_raw else _OF_QUEUE[role])

    def close_kernel_side(self) -> None:
        """Close what only NIC and provider are handed: there will be no others of these.

        A consumer may have a successor, which is handed what it maps.
        """
        kept = {segment.fd for name in _SHARED["consumer"] for segment in [self._shared[name]]}
        kept |= {queue[name].fd for queue in self._queues for name in _OF_QUEUE["consumer"]}
        for segment in [one for one in self._segments if one.fd not in kept]:
            self._segments.remove(segment)
            segment.close()

    def close(self) -> None:
        """Close all descriptors; mappings live on."""
        self._guard.close()
        for segment in self._segments:
            segment.close()
        self._segments.clear()
