"""The processes of a run and the memory that they share: made, led, watched and ended."""
