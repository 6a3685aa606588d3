"""All of the audit ``classes``: what it is, what it measures, its statistics, tables and figures."""
