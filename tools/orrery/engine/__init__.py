"""The embedded engine: one machine's implementation of the OpenWhisk REST API v1."""
