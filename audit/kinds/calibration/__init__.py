"""All of the audit ``calibration``: what it is, what it measures, its statistics, tables and figures."""
