"""Doors for people and programs; no wiring."""
