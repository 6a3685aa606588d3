"""The audit ``bounds``: specification, measurements, statistics, tables and figures."""
