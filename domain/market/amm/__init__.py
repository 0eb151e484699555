"""Pool mathematics: one file per curve, in whole base units."""
