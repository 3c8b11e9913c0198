"""One test for each seed that ever failed for a fault of the product."""
