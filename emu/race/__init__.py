"""Race testing: the core's own code under chosen interleavings, and in real processes.

``scenario`` says what is written down, ``library`` has the ready ones, ``runner`` searches and
replays, ``timeline`` shows a finding, ``artifact`` keeps it. docs/racing.md tells the story.
"""

from __future__ import annotations

from emu.race.scenario import Scenario, Shape

__all__ = ["Scenario", "Shape"]
