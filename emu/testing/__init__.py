"""For other people's tests: what the pytest plugin hands out, and Hypothesis strategies."""
