"""The audit ``exemplars``: specification, measurements, statistics, tables and figures."""
