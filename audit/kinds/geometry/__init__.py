"""The audit ``geometry``: specification, measurements, statistics, tables and figures."""
