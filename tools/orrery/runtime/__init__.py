"""The action runtime: the small HTTP server inside every Python action container.

Standard library only, so that an image needs nothing but Python and this wheel. `server` speaks
HTTP, `action` holds the user's function, `archive` unpacks a zip.
"""
