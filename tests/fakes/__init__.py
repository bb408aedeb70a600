"""Stand-ins for what tests cannot or should not have: containers, above all."""
