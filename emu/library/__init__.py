"""The kernel's side of a ring in this process, for tests of Python programs: docs/library.md.

``instance``  one io_uring ring: what arrives, what was completed, what the checker says
``queue``     an interface queue of it: area and refill ring, for the program under test
``files``     where the shared object and its headers are
"""

from emu.core import LibraryReport
from emu.library.instance import Completion, Instance
from emu.library.queue import Queue, Shape

__all__ = ["Completion", "Instance", "LibraryReport", "Queue", "Shape"]
