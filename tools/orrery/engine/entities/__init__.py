"""What the API stores: actions and the values they are made of. Nothing here does I/O."""
