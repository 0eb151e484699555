"""The log read again, with nothing leaving the house."""
