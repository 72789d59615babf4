#!/bin/sh
# Locks every dependency with hashes, for every platform, naming no package host. Needs `uv`.
set -eu
cd "$(dirname "$0")/.."
lock() {
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --custom-compile-command requirements/lock.sh --quiet "$@"
}
lock --all-extras --group build -o requirements/run.txt
lock --all-extras --group build --group dev -c requirements/run.txt -o requirements/dev.txt
peers() {
    uv pip compile "requirements/$1.in" -c "$2" --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command requirements/lock.sh --quiet -o "requirements/$1.txt"
}
peers bench requirements/run.txt
peers gradio requirements/bench.txt
