"""Opportunities, orders and risk."""
