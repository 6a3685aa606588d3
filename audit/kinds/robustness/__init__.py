"""The audit ``robustness``: specification, measurements, statistics, tables and figures."""
