"""Traces that ui.perfetto.dev and chrome://tracing open: the trace event format, in JSON."""
