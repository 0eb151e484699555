"""Deciding and acting: the write side."""
