"""The quote service: a live pool book, its cache, and Jupiter as the fallback."""
