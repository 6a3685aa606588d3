"""All of the audit ``geometry``: what it is, what it measures, its statistics, tables and figures."""
