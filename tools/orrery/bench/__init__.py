"""The comparison: suites of scenarios, what they run on, and the record that comes out."""
