"""The dashboard: static pages, ES modules and styles that ask the HTTP API and nothing else.

``leanfront/http/pages.py`` serves them; ``vendor/README.md`` says where what is not ours comes from.
"""
