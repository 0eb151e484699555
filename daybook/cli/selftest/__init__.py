"""Proves that the log skips, doubles and reorders nothing on this machine, and that the proof can fail."""
