"""Scanners turn what the chain says into market observations."""
