"""Keys that daybook makes and keeps itself: the auditor's, and those that seal personal data."""
