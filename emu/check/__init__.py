"""``zcrx-emu check``: one question about one file, put to every tool that can answer it."""
