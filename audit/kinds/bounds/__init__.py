"""All of the audit ``bounds``: what it is, what it measures, its statistics, tables and figures."""
