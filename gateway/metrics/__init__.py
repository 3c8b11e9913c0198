"""Numbers of what happens: plain integers that a reader sums up."""
