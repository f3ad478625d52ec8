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

# What each environment holds beside the dependencies of the package: its extras, and the dependency groups.
ENVIRONMENTS := browser build bench demo dev docs examples fuzz green
EXTRAS_bench := httpx2
EXTRAS_browser := sandbox,phone
EXTRAS_demo := sandbox
EXTRAS_dev := sandbox,oauth,redis,phone,otel,cli,httpx2
EXTRAS_docs := sandbox,oauth,redis,phone,otel
EXTRAS_examples := sandbox,phone,otel
GROUPS_bench := backend bench
GROUPS_browser := backend browser
GROUPS_build := backend build
GROUPS_demo := backend
GROUPS_dev := backend dev
GROUPS_docs := backend docs
GROUPS_examples := backend test examples
GROUPS_fuzz := backend fuzz
GROUPS_green := backend green

# Releases and hashes are locked in requirements/, so that a new release of a dependency breaks no checkout. The package
# is built with the locked build backend. NEWEST=1 installs the newest releases instead: CI does so once a week.
define environment
	@if [ -e $(@D)/.python ] && ! cmp -s .venv/.python $(@D)/.python; then rm -rf $(@D); fi
	$(CLEAN) $(PYTHON) -m venv $(@D)
	$(if $(NEWEST),$(call newest,$(notdir $(@D))),$(call locked,$(notdir $(@D))))
	@cp .venv/.python $(@D)/.python
	@touch $@
endef

define locked
$(CLEAN) $(@D)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/$(1).txt
	$(if $(filter build,$(1)),,$(CLEAN) $(@D)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .)
endef

define newest
$(CLEAN) $(@D)/bin/python -m pip install -q --upgrade 'pip>=25.1'
	$(CLEAN) $(@D)/bin/python -m pip install -q $(if $(filter build,$(1)),,-e '.[$(EXTRAS_$(1))]') $(GROUPS_$(1):%=--group %)
endef

$(ENVIRONMENTS:%=.venv/%/.ready): .venv/%/.ready: pyproject.toml requirements/%.txt .venv/.python
	$(environment)

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

faults: .venv/dev/.ready ## drive the clients through every fault, on each route to the operator, and print the report
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

fuzz: .venv/fuzz/.ready ## fuzz the reading of responses for a minute
	$(FUZZ) -max_total_time=60

fuzz-long: .venv/fuzz/.ready ## fuzz the reading of responses for an hour
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
	.venv/build/bin/python -m build -q --no-isolation
	.venv/build/bin/twine check --strict dist/*
	.venv/build/bin/check-wheel-contents dist/*.whl
	.venv/build/bin/python tests/description.py dist/*.whl
	$(CLEAN) $(PYTHON) -m venv .venv/bare
	$(if $(NEWEST),,.venv/bare/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/base.txt)
	.venv/bare/bin/python -m pip install -q --disable-pip-version-check $(if $(NEWEST),,--no-deps) dist/*.whl
	.venv/bare/bin/python -m pip check
	.venv/build/bin/python tests/bare.py .venv/bare/bin/python build/sbom.cdx.json

lock: .venv/build/.ready ## lock the newest releases of all dependencies, with their hashes, into requirements/
	@mkdir -p requirements
	@set -e; $(foreach name,base $(ENVIRONMENTS),$(call lock,$(name));)
	@mkdir -p build && $(COMPILE) --resolution lowest-direct --no-deps pyproject.toml $(call extras,$(EXTRAS_lowest)) -o build/lowest.txt
	$(COMPILE) --generate-hashes pyproject.toml $(call extras,$(EXTRAS_lowest)) --extra cli --group backend --group test \
		-c build/lowest.txt -o requirements/lowest.txt

# No line of the result names an index. The command line's lower bounds do not count, because a test tool needs newer
# releases of the same packages.
COMPILE := .venv/build/bin/uv pip compile -q --python-version 3.11 --upgrade --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links
comma := ,
extras = $(patsubst %,--extra %,$(subst $(comma), ,$(1)))
EXTRAS_lowest := sandbox,oauth,redis,phone,otel,httpx2

# $(1) is the environment.
lock = echo requirements/$(1).txt && $(COMPILE) --universal --generate-hashes \
	$(if $(filter build,$(1)),,pyproject.toml $(call extras,$(EXTRAS_$(1)))) \
	$(GROUPS_$(1):%=--group %) -o requirements/$(1).txt

workflows: .venv/build/.ready ## check the workflows of .github for weaknesses
	.venv/build/bin/zizmor --offline --quiet .github

matrix: .venv/build/.ready ## run the tests on the wheel, with every Python there is, and with the oldest dependencies
	.venv/build/bin/nox

clean: ## remove all files that the tasks made
	rm -rf .venv .fuzz dist tests/oidc/node_modules .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
