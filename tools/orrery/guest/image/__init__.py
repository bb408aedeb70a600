"""The guest's kernel and initial file system, built from packages of the distribution."""
