"""One guest: starting it, talking to it, stopping it."""
