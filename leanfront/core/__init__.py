"""The rooms that compute: targets, compressors, cost models, objectives, search, storage, audit.

They are folders at the top of the repository. Here are links to them, for tools that read the sources in place
(type checkers, editors, an uninstalled checkout); what is installed is mapped by ``[tool.setuptools.package-dir]``.
"""
