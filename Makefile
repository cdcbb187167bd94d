# Needs Python 3.11, 3.12 or 3.13 and make; everything else is installed into .venv.

# The first of them that runs: pyenv has names for versions that it is not set to.
PYTHON ?= $(shell for v in 3.11 3.12 3.13; do \
	python$$v -c "" 2>/dev/null && echo python$$v && break; done)
BIN := .venv/bin
STAMP := .venv/installed
FAST := hierfl tests/unit/cli tests/unit/codecs tests/unit/config tests/unit/numerics \
	tests/unit/planning tests/unit/protocol tests/link/test_golden.py
# The short ones; the others (accuracy, liars, slow_links, soak) say themselves what they take.
BENCHMARKS := step vote demo engine

export FLWR_TELEMETRY_ENABLED := 0

# Flower's versions that hierfl is made for, each with an environment of its own.
FLOWERS := 1.41.0 1.42.0
FLOWER_TESTS := tests/link tests/unit/flower tests/unit/deploy/stock_app \
	tests/system/test_accelerate.py tests/system/test_edge_tier.py

.PHONY: demo test test-slow test-flower test-containers release-check check lint docs coverage \
	bench bench-peers proto clean

demo: $(STAMP)
	$(BIN)/hierfl data get fashion-mnist
	$(BIN)/hierfl run

# File by file, three at a time on two cores: most of the time a test waits for processes and disks.
test: lint
	$(BIN)/python -m pytest -m "not slow and not containers" -n 3 --dist loadfile

# Before a commit: style, types, import contracts, and the tests that take a minute.
check: lint
	$(BIN)/python -m pytest -n 2 $(FAST)

coverage: $(STAMP)
	$(BIN)/python -m pytest -m "not system and not slow and not containers" -n 2 --cov

# All other system tests: every kill of the table, full disks, taken ports, a soak, the commands of
# documents, Flower's own engine.
test-slow: $(STAMP) test-flower
	$(BIN)/python -m pytest -m slow

# What runs on Flower, on each version of it.
test-flower: $(FLOWERS:%=.venv/flower-%/installed)
	@set -e; for version in $(FLOWERS); do echo "Flower $$version"; \
	  .venv/flower-$$version/bin/python -m pytest -m "not slow" $(FLOWER_TESTS); done

.venv/flower-%/installed: pyproject.toml constraints.txt $(STAMP)
	@echo "installing Flower $* into .venv/flower-$*"
	@test -x .venv/flower-$*/bin/python || $(PYTHON) -m venv .venv/flower-$*
	@grep -v -E '^(flwr|uv)==' constraints.txt > .venv/flower-$*/constraints.txt
	@.venv/flower-$*/bin/python -m pip install -qq --disable-pip-version-check \
	  -e '.[dev]' flwr==$* -c .venv/flower-$*/constraints.txt
	@touch $@

# The demo in real containers; as root, with podman and iptables.
test-containers: $(STAMP)
	$(BIN)/python -m pip install -qq podman-compose -c constraints.txt
	$(BIN)/hierfl data get fashion-mnist
	$(BIN)/python -m pytest -m containers tests/system/test_containers.py tests/system/test_arm64.py

# Wheel and sdist, built, and installed in empty environments with each extra. Asks the index.
release-check: $(STAMP)
	$(BIN)/python -m pip install -qq build -c constraints.txt
	$(BIN)/python -m tests.system.release

# The site, in build/site; a warning is an error.
docs: $(STAMP)
	$(BIN)/python -m pip install -qq -e '.[docs]' -c constraints.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(STAMP)
	@set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name; done

# Beside other frameworks, each in an environment of its own.
bench-peers: $(STAMP) build/peers/nvflare/installed
	$(BIN)/python -m benchmarks.peers --nvflare build/peers/nvflare/bin/python

build/peers/nvflare/installed:
	@test -x build/peers/nvflare/bin/python || $(PYTHON) -m venv build/peers/nvflare
	@build/peers/nvflare/bin/python -m pip install -qq --disable-pip-version-check nvflare==2.9.0
	@touch $@

proto: $(STAMP)
	cd hierfl/link && ../../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. link.proto

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv (some minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@
