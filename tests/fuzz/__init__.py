"""Coverage-guided fuzzing of what reads a hostile server's bytes."""
