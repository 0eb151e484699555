"""Redis or Valkey: hot values that may be lost at any time."""
