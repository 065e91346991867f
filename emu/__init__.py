"""zcrx-emu."""
