"""Live counters over HTTP, for those who watch soaks: OpenMetrics."""
