# One short entry per task. Needs Python 3.11+ and make; everything else is installed into .venv/.
PYTHON ?= python3
BIN := .venv/dev/bin
DEMO := .venv/demo/bin
EXAMPLES := .venv/examples/bin

.PHONY: help demo test faults soak test-browser test-httpx2 test-redis test-oidc test-examples docs linkcheck matrix fuzz fuzz-long bench bench-transports bench-instructions lint format types contract build clean

help: ## list the tasks
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# $(1) is the environment's folder, $(2) what is installed into it.
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install -q --upgrade 'pip>=25.1'
	$(1)/bin/python -m pip install -q $(2)
	@touch $(1)/.ready
endef

.venv/demo/.ready: pyproject.toml
	$(call environment,.venv/demo,-e '.[sandbox]')

.venv/dev/.ready: pyproject.toml
	$(call environment,.venv/dev,-e '.[sandbox$(,)oauth$(,)redis$(,)phone$(,)otel$(,)cli$(,)httpx2]' --group dev)

.venv/browser/.ready: pyproject.toml
	$(call environment,.venv/browser,-e '.[sandbox$(,)phone]' --group browser)

.venv/build/.ready: pyproject.toml
	$(call environment,.venv/build,--group build)

.venv/docs/.ready: pyproject.toml
	$(call environment,.venv/docs,-e '.[sandbox$(,)oauth$(,)redis$(,)phone$(,)otel]' --group docs)

.venv/bench/.ready: pyproject.toml
	$(call environment,.venv/bench,-e '.[httpx2]' --group bench)

.venv/examples/.ready: pyproject.toml
	$(call environment,.venv/examples,-e '.[sandbox$(,)phone$(,)otel]' --group test --group examples)

, := ,

demo: .venv/demo/.ready ## send and check a code end to end, on a local operator
	@$(DEMO)/python examples/demo.py

test: .venv/dev/.ready ## run the tests
	$(BIN)/python -m pytest -n auto --cov --cov-report=term-missing $(ARGS)

faults: .venv/dev/.ready ## drive the clients through every fault and print the report
	$(BIN)/python -m tests.faults

soak: .venv/dev/.ready ## run both clients at full speed for ten minutes: make soak MINUTES=10
	$(BIN)/python -m tests.faults.soak $(MINUTES)

test-browser: .venv/browser/.ready ## run the inbox page and the example logins in the system's Chromium
	.venv/browser/bin/python -m pytest tests/browser $(ARGS)

# The suites of both clients, but for what is about httpx itself: its mocks, its instrumentation, its sandbox transport.
CLIENT_SUITES = tests/test_client.py tests/test_contract.py tests/exchange tests/faults/test_faults.py \
	tests/faults/test_secrets.py tests/faults/test_injection.py \
	--ignore tests/exchange/test_observers.py --ignore tests/exchange/test_interception.py

test-httpx2: .venv/dev/.ready ## run the suites of both clients over an httpx2 client of the caller's
	CAMARA_OTP_TESTS_HTTP=httpx2 $(BIN)/python -m pytest -n auto $(CLIENT_SUITES) $(ARGS)

test-redis: .venv/dev/.ready ## test sharing tokens, on a Redis of its own (needs redis-server)
	$(BIN)/python -m pytest tests/redis $(ARGS)

test-oidc: .venv/dev/.ready tests/oidc/node_modules/.ready ## test logging in, against a certified OpenID provider (needs node, npm)
	$(BIN)/python -m pytest tests/oidc $(ARGS)

tests/oidc/node_modules/.ready: tests/oidc/package-lock.json
	npm ci --prefix tests/oidc --no-audit --no-fund --loglevel=error
	@touch $@

.venv/fuzz/.ready: pyproject.toml
	$(call environment,.venv/fuzz,-e . --group fuzz)

# New inputs go to a folder of their own; what is worth keeping is moved to tests/fuzz/corpus by hand.
FUZZ = mkdir -p .fuzz && .venv/fuzz/bin/python -m tests.fuzz.answers .fuzz tests/fuzz/corpus \
	-dict=tests/fuzz/answers.dict -artifact_prefix=.fuzz/ -max_len=8192 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1

fuzz: .venv/fuzz/.ready ## fuzz the reading of answers for a minute
	$(FUZZ) -max_total_time=60

fuzz-long: .venv/fuzz/.ready ## fuzz the reading of answers for an hour
	$(FUZZ) -max_total_time=3600

docs: .venv/docs/.ready ## build the site into docs/_build/html; every warning is an error
	.venv/docs/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html

linkcheck: .venv/docs/.ready ## try the links that lead out of the site (needs internet)
	.venv/docs/bin/sphinx-build -q -b linkcheck docs docs/_build/linkcheck

test-examples: .venv/examples/.ready ## run the examples and the notebook against the local operator
	$(EXAMPLES)/python -m pytest tests/examples $(ARGS)

bench: .venv/dev/.ready ## measure what a call costs, against one written by hand; minutes
	$(BIN)/python benchmarks/client.py $(ARGS)

bench-transports: .venv/bench/.ready ## measure what a call costs over other transports; minutes
	.venv/bench/bin/python benchmarks/transports.py

bench-instructions: .venv/dev/.ready ## check that a call takes no more instructions than it did (needs valgrind); minutes
	$(BIN)/python benchmarks/instructions.py $(ARGS)

lint: .venv/dev/.ready ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev/.ready ## mend style
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
	$(PYTHON) -m venv .venv/bare
	.venv/bare/bin/python -m pip install -q dist/*.whl
	.venv/build/bin/python tests/bare.py .venv/bare/bin/python build/sbom.cdx.json

matrix: .venv/build/.ready ## run the tests on the wheel, with every Python there is, and with the oldest dependencies
	.venv/build/bin/nox

clean: ## remove what the tasks made
	rm -rf .venv .fuzz dist tests/oidc/node_modules .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
