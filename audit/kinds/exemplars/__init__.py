"""All of the audit ``exemplars``: what it is, what it measures, its statistics, tables and figures."""
