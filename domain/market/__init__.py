"""Market events, pool folds, pool mathematics, routing and prices."""
