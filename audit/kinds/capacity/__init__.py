"""All of the audit ``capacity``: what it is, what it measures, its statistics, tables and figures."""
