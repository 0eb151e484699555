"""The thin front door: command line, settings and wiring."""
