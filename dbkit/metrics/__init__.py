"""A pool's numbers for those who watch: OpenTelemetry (``otel``), Prometheus (``prometheus``), and the fields of logs.

All names are in ``names``; docs/metrics.md shows them.
"""
