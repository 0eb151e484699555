"""What is true and what may happen: pure decisions, no input or output."""
