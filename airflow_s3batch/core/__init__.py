"""The engine room: jobs, manifests, the request engine and the report, with no Airflow in it.

Everything here runs in a plain script: credentials, clock, randomness and transport are arguments.
"""
