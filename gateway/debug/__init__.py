"""A look into the running process, for whoever sits at its machine."""
