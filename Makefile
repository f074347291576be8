# What a developer does here, one verb a target. Everything lives in .venv; nothing is installed outside of it, except that
# `make test` as root adds the Debian packages that the tests run against.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-dev.lock
SOURCES := $(shell find src -name '*.py' -o -name '*.txt') pyproject.toml setup.py
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

FUZZ_SECONDS ?= 60

# The package once more, with its hot path compiled. Who has it first in PYTHONPATH runs that.
COMPILED := build/compiled
WITH_COMPILED := PYTHONPATH=$(abspath $(COMPILED))
# The real programs against it; tests that put other objects in the place of our own need the interpreted form.
COMPILED_TESTS ?= tests/interop

.PHONY: help demo test compiled test-compiled soak fuzz bench lint types layers lock clean

help:
	@echo "make demo     start two backends, headgate in front of them, and show what to try"
	@echo "make test     everything pytest finds (PYTEST_ARGS=... to choose)"
	@echo "make compiled        the hot path compiled by mypyc, in $(COMPILED); takes minutes"
	@echo "make test-compiled   tests/interop on that"
	@echo "make soak     the slow tests too"
	@echo "make fuzz     random ClientHellos, guided by coverage (FUZZ_SECONDS=60)"
	@echo "make bench    headgate beside HAProxy and nginx (BENCH_ARGS='--only get --seconds 2' to choose)"
	@echo "make lint types layers    ruff, mypy --strict, import rules"
	@echo "make lock     write $(LOCK) anew from what is installed"
	@echo "make clean    remove .venv and everything generated"

demo: $(VENV)/installed
	@exec $(BIN)/python examples/demo.py $(DEMO_ARGS)

test: $(VENV)/developing
	@scripts/test-programs
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

compiled: $(COMPILED)/built

test-compiled: $(COMPILED)/built
	@scripts/test-programs
	$(WITH_COMPILED) HEADGATE_TEST_COMPILED=1 $(BIN)/python -m pytest -n auto $(COMPILED_TESTS) $(PYTEST_ARGS)

soak: $(VENV)/developing
	@scripts/test-programs
	$(BIN)/python -m pytest --slow $(PYTEST_ARGS)

# atheris is an extra of its own: no test needs it, and it is not there for each version of Python.
fuzz: $(VENV)/developing
	@$(BIN)/python -c 'import atheris' 2> /dev/null || $(PIP_INSTALL) -e '.[fuzz]'
	@found=$$(mktemp -d) && $(BIN)/python tests/fuzz/fuzz_client_hello.py -max_total_time=$(FUZZ_SECONDS) -max_len=20000 \
	    -timeout=10 -rss_limit_mb=1024 -artifact_prefix=$$found/ $$found tests/fuzz/seeds

bench: $(COMPILED)/built
	@scripts/test-programs
	$(WITH_COMPILED) $(BIN)/python -m bench.run $(BENCH_ARGS)
	$(WITH_COMPILED) $(BIN)/python -m bench.workers
	$(WITH_COMPILED) $(BIN)/python -m bench.server_tls
	$(WITH_COMPILED) $(BIN)/python -m bench.certificates
	$(WITH_COMPILED) $(BIN)/python -m bench.ocsp

lint: $(VENV)/developing
	$(BIN)/ruff check

types: $(VENV)/developing
	$(BIN)/mypy

layers: $(VENV)/developing
	$(BIN)/lint-imports

lock: $(VENV)/developing
	$(BIN)/python -m pip freeze --exclude-editable --exclude headgate --exclude atheris > $(LOCK)

clean:
	rm -rf $(VENV) build dist demo-run bench/run src/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/created:
	@python=$$(scripts/find-python) && { test -x $(BIN)/python || "$$python" -m venv $(VENV); }
	@$(BIN)/python -m pip --version > /dev/null
	@touch $@

# For use: a plain installation. Where the developer's editable one is there already, it serves as well. pip compiles what it
# copies; an editable installation is compiled here, since a start without bytecode takes twice as long and Python writes none where
# PYTHONDONTWRITEBYTECODE is set or the directory can't be written.
COMPILE := $(BIN)/python -m compileall -q src/headgate

$(VENV)/installed: $(VENV)/created $(LOCK) $(SOURCES)
	@if test -e $(VENV)/developing; then $(COMPILE); \
	else echo "installing headgate into $(VENV)"; $(PIP_INSTALL) -c $(LOCK) .; fi
	@touch $@

# What setuptools keeps between two builds would find its way into the next one.
$(COMPILED)/built: $(VENV)/developing $(SOURCES)
	@echo "compiling the hot path into $(COMPILED): some three minutes"
	@rm -rf build
	@HEADGATE_COMPILE=1 PIP_CONSTRAINT=$(abspath $(LOCK)) $(PIP_INSTALL) --no-deps --target $(COMPILED) .
	@touch $@

$(VENV)/developing: $(VENV)/created $(LOCK) pyproject.toml
	@echo "installing headgate and its development tools into $(VENV)"
	@$(PIP_INSTALL) -c $(LOCK) -e '.[dev]'
	@$(COMPILE)
	@touch $@
