"""Wallets, reserves and double-entry postings."""
