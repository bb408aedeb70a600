"""The machine that a lab can live in: its image, its start, and the way into it."""
