# One short entry per task. Needs Python 3.11+ and make; everything else is installed into .venv/.
PYTHON ?= python3
BIN := .venv/dev/bin
DEMO := .venv/demo/bin
EXAMPLES := .venv/examples/bin

TASKS := $(shell sed -n 's/^\([a-z0-9-]*\):.*\#\#.*/\1/p' $(firstword $(MAKEFILE_LIST)))
.PHONY: $(TASKS) tests examples benchmarks FORCE

help: ## list the tasks
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

# Folders of these names exist, so that make would call them up to date.
tests: test
examples: test-examples
benchmarks: bench

# Installing must not depend on variables that are meant for the program.
CLEAN := env -u PYTHONWARNINGS -u PYTHONPATH -u PYTHONOPTIMIZE

# Changes only when PYTHON names another interpreter; then every environment is made again.
.venv/.python: FORCE
	@mkdir -p .venv
	@$(CLEAN) $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ...")'
	@$(CLEAN) $(PYTHON) -c 'import sys; print(sys.base_prefix, sys.version)' > $@.new
	@cmp -s $@ $@.new && rm $@.new || mv $@.new $@

# $(1) is the environment's folder, $(2) the packages.
define environment
	@if [ -e $(1)/.python ] && ! cmp -s .venv/.python $(1)/.python; then rm -rf $(1); fi
	$(CLEAN) $(PYTHON) -m venv $(1)
	$(CLEAN) $(1)/bin/python -m pip install -q --upgrade 'pip>=25.1'
	$(CLEAN) $(1)/bin/python -m pip install -q $(2)
	@cp .venv/.python $(1)/.python
	@touch $(1)/.ready
endef

.venv/demo/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/demo,-e '.[sandbox]')

.venv/dev/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/dev,-e '.[sandbox$(,)oauth$(,)redis$(,)phone$(,)otel$(,)cli$(,)httpx2]' --group dev)

.venv/green/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/green,-e . --group green)

.venv/browser/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/browser,-e '.[sandbox$(,)phone]' --group browser)

.venv/build/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/build,--group build)

.venv/docs/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/docs,-e '.[sandbox$(,)oauth$(,)redis$(,)phone$(,)otel]' --group docs)

.venv/bench/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/bench,-e '.[httpx2]' --group bench)

.venv/examples/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/examples,-e '.[sandbox$(,)phone$(,)otel]' --group test --group examples)

.venv/fuzz/.ready: pyproject.toml .venv/.python
	$(call environment,.venv/fuzz,-e . --group fuzz)

, := ,

# With COVERAGE=1 each suite measures coverage into a file of its own; `make coverage` adds them up.
measure = $(if $(COVERAGE),COVERAGE_FILE="$(CURDIR)/.coverage.$@") $(1) -m pytest $(if $(COVERAGE),--cov --cov-report=)

demo: .venv/demo/.ready ## send and check a code end to end, on a local operator
	@$(DEMO)/python examples/demo.py

# The tests wait more than they compute, so there are more processes than cores.
WORKERS ?= 4

test: .venv/dev/.ready ## run the tests, except the long ones; at most two minutes
	$(call measure,$(BIN)/python) -n $(WORKERS) -m 'not long' $(ARGS)

test-long: .venv/dev/.ready ## run the long tests: the fault table, many calls at once, fuzzing, processes
	$(call measure,$(BIN)/python) -n $(WORKERS) -m long $(ARGS)

environments: .venv/dev/.ready ## run a part of the tests in 14 environments that users have: locale, HOME, user, signals, load
	$(BIN)/python tests/environments.py $(ARGS)

coverage: .venv/dev/.ready ## report the coverage of all suites that ran with COVERAGE=1
	$(BIN)/coverage combine --keep
	$(BIN)/coverage report

faults: .venv/dev/.ready ## drive the clients through every fault, on every way to the operator, and print the report
	$(BIN)/python -m tests.faults

SECONDS ?= 60
simulate: .venv/dev/.ready ## drive the client through random schedules on a simulated network: make simulate SECONDS=60
	$(BIN)/python -m tests.simulation $(SECONDS) $(SEED)

soak: .venv/dev/.ready ## run both clients at full speed for ten minutes: make soak MINUTES=10
	$(BIN)/python -m tests.faults.soak $(MINUTES)

test-browser: .venv/browser/.ready ## run the inbox page and the example logins in the system's Chromium
	$(call measure,.venv/browser/bin/python) tests/browser $(ARGS)

# The suites of both clients, except tests of httpx itself: its mocks, its instrumentation, its sandbox transport.
CLIENT_SUITES = tests/test_client.py tests/test_contract.py tests/exchange \
	tests/faults/test_secrets.py tests/faults/test_injection.py \
	--ignore tests/exchange/test_observers.py --ignore tests/exchange/test_interception.py

test-httpx2: .venv/dev/.ready ## run the suites of both clients over an httpx2 client of the caller's
	CAMARA_OTP_TESTS_HTTP=httpx2 $(call measure,$(BIN)/python) -n $(WORKERS) $(CLIENT_SUITES) $(ARGS)

test-redis: .venv/dev/.ready ## test sharing tokens and the guard, on a Redis of its own (needs redis-server)
	$(call measure,$(BIN)/python) tests/redis $(ARGS)

test-green: .venv/green/.ready ## run calls under gevent and eventlet, patched before and after the import
	.venv/green/bin/python -m pytest tests/green $(ARGS)

test-oidc: .venv/dev/.ready tests/oidc/node_modules/.ready ## test logging in, against a certified OpenID provider (needs node, npm)
	$(call measure,$(BIN)/python) tests/oidc $(ARGS)

tests/oidc/node_modules/.ready: tests/oidc/package-lock.json
	cd tests/oidc && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# New inputs go to a folder of their own; move useful ones to tests/fuzz/corpus by hand.
FUZZ = mkdir -p .fuzz && .venv/fuzz/bin/python -m tests.fuzz.answers .fuzz tests/fuzz/corpus \
	-dict=tests/fuzz/answers.dict -artifact_prefix=.fuzz/ -max_len=8192 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1

fuzz: .venv/fuzz/.ready ## fuzz the reading of answers for a minute
	$(FUZZ) -max_total_time=60

fuzz-long: .venv/fuzz/.ready ## fuzz the reading of answers for an hour
	$(FUZZ) -max_total_time=3600

docs: .venv/docs/.ready ## build the site into docs/_build/html; every warning is an error
	.venv/docs/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html

linkcheck: .venv/dev/.ready ## check the links of all pages: files, anchors, form of external ones; needs no internet
	$(BIN)/python -m pytest -q tests/test_links.py

test-examples: .venv/examples/.ready ## run the examples and the notebook against the local operator
	$(call measure,$(EXAMPLES)/python) tests/examples $(ARGS)

attack: .venv/examples/.ready ## attack the example logins without and with the guard, and print the table into the docs
	$(EXAMPLES)/python -m tests.examples.attack

bench: .venv/dev/.ready ## measure the cost of a call, against hand-written httpx; minutes
	$(BIN)/python benchmarks/client.py $(ARGS)

bench-guard: .venv/dev/.ready ## measure the cost of a check by the guard
	$(BIN)/python benchmarks/guard.py

bench-transports: .venv/bench/.ready ## measure the cost of a call over other transports; minutes
	.venv/bench/bin/python benchmarks/transports.py

bench-instructions: .venv/dev/.ready ## check that a call takes no more instructions than it did (needs valgrind); minutes
	$(BIN)/python benchmarks/instructions.py $(ARGS)

lint: .venv/dev/.ready ## check style, words and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m docs.words
	$(BIN)/codespell

format: .venv/dev/.ready ## fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/dev/.ready ## check types, with mypy and pyright
	$(BIN)/mypy
	$(BIN)/pyright
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --ignoreexternal --verifytypes camara_otp 

contract: .venv/dev/.ready ## renew tests/data/contract.json: make contract SPECS=<folder of published specs>
	$(BIN)/python tests/contract.py $(SPECS)

build: .venv/build/.ready ## build wheel and sdist into dist/, check both, and install the wheel on its own
	rm -rf dist .venv/bare
	.venv/build/bin/python -m build -q
	.venv/build/bin/twine check --strict dist/*
	.venv/build/bin/check-wheel-contents dist/*.whl
	.venv/build/bin/python tests/description.py dist/*.whl
	$(CLEAN) $(PYTHON) -m venv .venv/bare
	.venv/bare/bin/python -m pip install -q dist/*.whl
	.venv/build/bin/python tests/bare.py .venv/bare/bin/python build/sbom.cdx.json

workflows: .venv/build/.ready ## check the workflows of .github for weaknesses
	.venv/build/bin/zizmor --offline --quiet .github

matrix: .venv/build/.ready ## run the tests on the wheel, with every Python there is, and with the oldest dependencies
	.venv/build/bin/nox

clean: ## remove all files that the tasks made
	rm -rf .venv .fuzz dist tests/oidc/node_modules .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
