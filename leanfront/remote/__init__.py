"""The Python client of a server's HTTP API."""
