"""What `make demo` and `make ui` run: a real Airflow and an embedded S3 server, on loopback, in a throw-away folder."""
