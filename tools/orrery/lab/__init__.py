"""The lab as a whole: making it, asking it, testing it, taking it down."""
