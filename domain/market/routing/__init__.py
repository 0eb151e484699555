"""Ways through the pools: the best route from one token to another, and cycles that gain."""
