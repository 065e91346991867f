"""The shared objects of one run: made, mapped for the control process, handed over by role.

Who may map what is decided here and nowhere else; a consumer never gets the
kernel side.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.core import Mapping, Queue, RunControl, Shape, bells_size, layout_sizes, run_size
from emu.segment import Segment, check_room, create_segment

#: Objects of the whole run and of each queue, by role.
_SHARED = {"nic": ("run", "bells", "arena"), "provider": ("run", "bells"), "consumer": ("bells",)}
_OF_QUEUE = {
    "nic": ("kern", "rings", "area", "lab"),
    "provider": ("kern", "rings", "lab"),
    "consumer": ("rings", "area", "lab"),
}


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

    Raises:
        ConfigError: Shared memory cannot hold it.
        EnvironmentProblem: An object could not be made.
    """

    def __init__(self, shape: Shape, queues: int, arena: bytearray | None) -> None:
        self.shape = shape
        self._segments: list[Segment] = []
        sizes = layout_sizes(shape)
        of_queue = {
            "kern": sizes.kern,
            "rings": sizes.rings,
            "area": sizes.area,
            "lab": sizes.lab,
        }
        total = queues * sum(of_queue.values()) + len(arena or b"")
        check_room("area_buffers", shape.num_niovs, total)
        try:
            self._shared = {"run": self._make(run_size()), "bells": self._make(bells_size())}
            if arena is not None:
                self._shared["arena"] = self._make(len(arena))
                with self._shared["arena"].map() as target:
                    target[:] = arena
            self._queues = [
                {name: self._make(size) for name, size in of_queue.items()} for _ in range(queues)
            ]
        except BaseException:
            self.close()
            raise
        self._run, self._bells = self._shared["run"].map(), self._shared["bells"].map()

    def _make(self, size: int) -> Segment:
        segment = create_segment(size)
        self._segments.append(segment)
        return segment

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
                kern=objects["kern"].map(),
                rings=objects["rings"].map(),
                lab=objects["lab"].map(),
            )
            view = Queue(self.shape, index, mapping)
            view.format()
            view.create_pool()
            views.append(view)
        return views

    def shared_for(self, role: str) -> Handover:
        """What a role may map of the whole run."""
        return _handover(self._shared, _SHARED[role])

    def queue_for(self, role: str, queue: int) -> Handover:
        """What a role may map of one queue."""
        return _handover(self._queues[queue], _OF_QUEUE[role])

    def close(self) -> None:
        """Close all descriptors; mappings live on."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()
