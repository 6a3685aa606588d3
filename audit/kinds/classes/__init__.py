"""The audit ``classes``: specification, measurements, statistics, tables and figures."""
