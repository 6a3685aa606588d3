"""All of the audit ``limits``: what it is, what it measures, its statistics, tables and figures."""
