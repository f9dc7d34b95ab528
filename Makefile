# Everything here works in a fresh clone with git, make and python3 (>= 3.11).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Compiled modules are kept: else each test worker, and each program that a test starts, compiles everything again
unexport PYTHONDONTWRITEBYTECODE
# Most of a quick test is waiting for programs that it started: six at once on two cores, and more on more
WAITING := -n $$(($$(nproc 2>/dev/null || echo 2) + 4)) --maxprocesses 8 --dist worksteal
# A slow test works about two thirds of its time
WORKING := -n $$(($$(nproc 2>/dev/null || echo 2) + 1)) --maxprocesses 4 --dist worksteal

.PHONY: demo test test-lab test-slow check bench fuzz sim torture mutants protos lock clean

$(STAMP): requirements/dev.txt pyproject.toml lab/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ispagents needs python >= 3.11, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . --editable ./lab
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m lab.demo

test: $(STAMP)
	@CI="$(CI)" tests/system-packages
	$(BIN)/python -m pytest $(WAITING) -m "not slow" tests --ignore tests/repo  # which `make check` runs

# The quick tests of the lab, which is a distribution of its own
test-lab: $(STAMP)
	@CI="$(CI)" tests/system-packages
	$(BIN)/python -m pytest $(WAITING) -m "not slow" lab/tests

# The slow ones of both
test-slow: $(STAMP)
	@CI="$(CI)" tests/system-packages
	$(BIN)/python -m pytest $(WORKING) -m slow

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q --collect-only > /dev/null
	$(BIN)/python -m pytest -q tests/repo

bench: $(STAMP)
	$(BIN)/python -m tests.bench

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz

# SEED=N replays one world with its trace; else seeds from the clock on, for so much CPU time
CPU_S ?= 3600
sim: $(STAMP)
	$(BIN)/python -m tests.sim $(SEED) --cpu-s $(CPU_S)

# The second judge, on real servers. SEED=N begins with that seed, SCENARIOS="postgresql cpes" plays these only
MINUTES ?= 30
torture: $(STAMP)
	@CI="$(CI)" tests/system-packages
	$(BIN)/python -m tests.torture --minutes $(MINUTES) $(addprefix --seed ,$(SEED)) $(SCENARIOS)

# Mistakes in random lines of trust/ and agent/changes/, and whether the tests notice
mutants: $(STAMP)
	$(BIN)/python -m tests.mutation --seed $(or $(SEED),1) --lines $(or $(LINES),200)

protos: $(STAMP)
	$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. --grpc_python_out=. protos/*.proto

LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --custom-compile-command "make lock"
lock:
	$(LOCK) pyproject.toml --extra agent -o requirements/agent.txt
	$(LOCK) pyproject.toml --extra control-plane -o requirements/control-plane.txt
	$(LOCK) lab/pyproject.toml -o requirements/lab.txt
	$(LOCK) pyproject.toml lab/pyproject.toml --extra agent --extra control-plane --extra dev -o requirements/dev.txt

clean:
	rm -rf $(VENV) build *.egg-info lab/build lab/*.egg-info
