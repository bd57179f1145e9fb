"""A partition while it runs: its attempt, what it writes down, and what it obeys."""
