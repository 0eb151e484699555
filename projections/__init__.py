"""Folding events into answers: the read side."""
