# Called through ./justw, which builds .venv first; a `just` of your own works too once .venv is there.
set shell := ["bash", "-euo", "pipefail", "-c"]
# Arguments reach the commands as they were given: ./justw test -k "store or loader"
set positional-arguments

# Worker processes of pytest, one per core; `-n 0` after a recipe puts all into one process
workers := "-n logical --maxprocesses 8 --dist loadgroup"

# Compiled modules and rewritten tests are kept, which saves every worker 8 seconds a run
export PYTHONDONTWRITEBYTECODE := ""

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

# List the recipes
default:
    @just --list

# Format the code and fix what ruff can fix
fmt:
    ruff format
    ruff check --fix

# Format, lint and spelling, changing nothing
lint:
    ruff format --check
    ruff check
    codespell --skip tests/golden nvg pipeline cli tests docs README.md CHANGELOG.md CONTRIBUTING.md

# Static types (mypy, strict)
types:
    mypy

# The tests but the slow ones; arguments go to pytest
test *args: _chromium
    pytest {{ workers }} -m "not slow" "$@"

# The tests to run while you work: nothing slow or thorough, no cluster, server or browser
quick *args:
    pytest {{ workers }} -m "not (slow or thorough or ray or s3 or browser)" "$@"

# What CI runs: lint, types and every test
check: lint types _chromium
    pytest {{ workers }}

# Where that is allowed (root on Debian), Chromium for the browser tests is added
_chromium:
    @command -v chromium-headless-shell chromium >/dev/null || [ "$(id -u)" != 0 ] || timeout 300 just browser >/dev/null 2>&1 || true

# The whole way on handwritten digits, on a CPU; the outcome lies in runs/demo
demo *args:
    python -m cli.demo "$@"

# The pictures of docs/GALLERY.md, from what the demo left
gallery:
    python -m cli.gallery

# Debian's Chromium without windows, for the browser tests
browser:
    apt-get update -q
    apt-get install -y -q --no-install-recommends chromium-headless-shell || apt-get install -y -q --no-install-recommends chromium

# docs/RECIPE.md, from the docstrings of the configs
reference:
    python -m pipeline.recipe.reference

# The benchmarks
bench *args:
    python -m tests.bench "$@"

# Mutate all that may come from others, and count what is said to it: just fuzz --minutes 5
fuzz *args:
    python -m tests.fuzz "$@"

# On a CUDA machine: is the code correct and fast there? At most 9 minutes; results in runs/gpu
gpu *args:
    python -m tests.gpu "$@"

# Remove runs/ (trained models too) and every cache; .venv stays
clean:
    rm -rf runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
    find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
