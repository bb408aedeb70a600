"""Packages of the distribution that are downloaded and unpacked, and never installed."""
