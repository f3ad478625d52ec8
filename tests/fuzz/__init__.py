"""Coverage-guided fuzzing of the code that reads the bytes of a hostile server."""
