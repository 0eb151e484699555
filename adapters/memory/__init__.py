"""In-memory twins of the ports, held to the same contract tests."""
