"""The audit ``capacity``: specification, measurements, statistics, tables and figures."""
