"""Facts about the OpenWhisk REST API, as data, and what checks them against any host."""
