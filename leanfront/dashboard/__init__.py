"""The dashboard: static pages, ES modules and styles that ask the HTTP API and nothing else.

``js/`` holds what pages share, and a folder for each page with its ``page.js``, which starts it; no page imports from
another's folder. ``leanfront/http/pages.py`` serves them; ``vendor/README.md`` says where the rest comes from.
"""
