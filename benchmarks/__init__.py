"""The benchmarks that docs/performance.md quotes. ``make bench`` runs them all.

One module a question, one script in `clients/` a measured program: each runs in a process of its own, on a core of
its own, against a server on another.
"""
