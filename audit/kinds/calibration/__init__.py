"""The audit ``calibration``: specification, measurements, statistics, tables and figures."""
