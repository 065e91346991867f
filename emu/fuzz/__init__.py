"""Fuzzing a memory provider: programs of operations, judged after each of them."""
