"""The measured programs, one a file. Each takes its settings as JSON, and prints what it measured as JSON."""
