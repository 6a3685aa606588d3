"""The audit ``limits``: specification, measurements, statistics, tables and figures."""
