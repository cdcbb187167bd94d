# Needs Python 3.11 and make; everything else is installed into .venv.

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/installed
PACKAGES := hierfl clients edge cloud deploy
# The short ones; the others (accuracy, liars, slow_links, soak) say themselves what they take.
BENCHMARKS := step vote demo engine

export FLWR_TELEMETRY_ENABLED := 0

.PHONY: demo test test-slow test-containers lint bench proto clean

demo: $(STAMP)
	$(BIN)/hierfl data get fashion-mnist
	$(BIN)/hierfl run

test: lint
	$(BIN)/python -m pytest -m "not slow and not containers"

# More kills, broken disks, a soak, Flower's own engine: a quarter of an hour.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# The demo in real containers; as root, with podman and iptables.
test-containers: $(STAMP)
	$(BIN)/python -m pip install -qq podman-compose -c constraints.txt
	$(BIN)/hierfl data get fashion-mnist
	$(BIN)/python -m pytest -m containers tests/system/test_containers.py tests/system/test_arm64.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy $(wildcard $(PACKAGES))

bench: $(STAMP)
	@set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name; done

proto: $(STAMP)
	cd hierfl/link && ../../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. link.proto

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv (some minutes the first time)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@
