"""``python -m emu`` is ``zcrx-emu``."""

from __future__ import annotations

from emu.start import main

if __name__ == "__main__":
    main()
