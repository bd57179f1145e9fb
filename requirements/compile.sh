#!/usr/bin/env bash
# Pin everything anew, for every Python we support: requirements/compile.sh UV
set -euo pipefail
cd "$(dirname "$0")/.."

oldest=$(mktemp)
trap 'rm -f "$oldest"' EXIT
compile() { "$uv" pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header --no-annotate "$@" pyproject.toml; }
uv=$1

compile --upgrade --group dev -c <(echo 'apache-airflow~=3.3.0') -o requirements/airflow-3.3.txt

# The oldest Airflow goes with what there was in its time; the tools are today's.
compile --upgrade --exclude-newer 2025-10-01 -c <(echo 'apache-airflow==3.1.0') -o "$oldest"
compile --upgrade --group dev -c "$oldest" -o requirements/airflow-3.1.txt
