"""What holds of every trace, whatever it was made from."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any


class Checked:
    """A trace that keeps to the format, and ways to ask what is in it."""

    def __init__(self, trace: dict[str, Any]) -> None:
        self.trace = json.loads(json.dumps(trace, allow_nan=False))
        self.events: list[dict[str, Any]] = self.trace["traceEvents"]
        self._check_names()
        self._check_times()
        self._check_spans()
        self._check_slices()

    def _check_names(self) -> None:
        self.processes: dict[int, str] = {
            event["pid"]: event["args"]["name"] for event in self.named("process_name")
        }
        self.tracks = {
            (event["pid"], event["tid"]): event["args"]["name"]
            for event in self.named("thread_name")
        }
        assert len(set(self.processes.values())) == len(self.processes)
        assert {pid for pid, _ in self.tracks} <= self.processes.keys()
        for event in self.events:
            if event["ph"] in ("C", "M"):
                assert event["pid"] in self.processes
            else:
                assert (event["pid"], event["tid"]) in self.tracks

    def _check_times(self) -> None:
        last: dict[tuple[int, int], float] = defaultdict(float)
        for event in self.events:
            row = (event["pid"], event["tid"])
            assert event["ts"] >= last[row] >= 0
            last[row] = event["ts"]

    def _check_spans(self) -> None:
        self.spans: list[tuple[dict[str, Any], dict[str, Any]]] = []
        begun: dict[tuple[str, int], dict[str, Any]] = {}
        for event in self.events:
            if event["ph"] not in ("b", "e"):
                continue
            key = (event["cat"], event["id"])
            if event["ph"] == "b":
                assert key not in begun
                begun[key] = event
            else:
                start = begun.pop(key)
                assert start["name"] == event["name"]
                assert start["pid"] == event["pid"]
                self.spans.append((start, event))
        assert begun == {}, "each one that begins ends"

    def _check_slices(self) -> None:
        """On a track each lies beside the others, or within one."""
        open_until: dict[tuple[int, int], list[float]] = defaultdict(list)
        for event in self.of("X"):
            stack = open_until[event["pid"], event["tid"]]
            while stack and stack[-1] <= event["ts"] + 0.0005:
                stack.pop()
            end = event["ts"] + event["dur"]
            assert event["dur"] >= 0
            assert not stack or end <= stack[-1] + 0.0015, event
            stack.append(end)

    def of(self, *phases: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["ph"] in phases]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["name"] == name]

    def pid_of(self, name: str) -> int:
        found: list[int] = [p for p, known in self.processes.items() if known.startswith(name)]
        assert len(found) == 1, found
        return found[0]
