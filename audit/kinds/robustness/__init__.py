"""All of the audit ``robustness``: what it is, what it measures, its statistics, tables and figures."""
