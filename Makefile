# Everything a person or a CI needs: run `make` for the list.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup serve test faults bench bench-scaling bench-long lint test-packages dev pins clean

BIN := .venv/bin
ARGS ?=
WITH ?=

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

setup: ## make .venv with what the server needs; for PostgreSQL or S3: make setup WITH="postgres s3"
	@sh scripts/setup.sh requirements.txt
	@for part in $(WITH); do sh scripts/setup.sh requirements-$$part.txt; done

serve: setup ## set up, migrate the database, run the server on [server] bind
	$(BIN)/flask migrate
	exec $(BIN)/gunicorn -c deploy/gunicorn.conf.py 'app:create_app()'

test: setup dev test-packages lint ## set up, lint, run all tests: make test ARGS='-k upload -x'
ifeq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=20 -m 'not alone' tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=20 -m 'not alone' --database postgresql tests --ignore tests/live --ignore tests/faults --ignore tests/test_s3.py --ignore tests/test_tus_s3.py
	$(BIN)/python -m pytest --durations=20 -m alone tests
else
	$(BIN)/python -m pytest --durations=20 $(ARGS)
endif

faults: setup dev test-packages ## every fault, many times over, as root: about half an hour, with figures
	KISSA_FAULTS=long $(BIN)/python -m pytest -v -s --durations=20 tests/faults tests/live/test_move.py $(ARGS)

bench: setup ## measure Kissa beside copyparty and nginx, some minutes: make bench ARGS='uploads memory'
	@sh bench/setup.sh
	$(BIN)/python -m bench.run $(ARGS)

bench-scaling: setup dev test-packages ## PostgreSQL with ten million rows, and several servers: see docs/scaling.md
	@sh bench/setup.sh
	$(BIN)/python -m bench.scaling $(ARGS)

bench-long: setup ## the same in rounds of five; draws docs/performance.md anew
	@sh bench/setup.sh
	$(BIN)/python -m bench.run --long --docs $(ARGS)

lint: dev ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test-packages: ## install the system packages that tests use (Debian, as root)
	@sh scripts/test-packages.sh

dev:
	@sh scripts/setup.sh requirements-dev.txt

pins: setup ## make requirements*.txt, with hashes, from requirements*.in
	$(BIN)/python -m pip install --quiet pip-tools==7.6.2
	for name in requirements requirements-postgres requirements-s3 requirements-dev bench/requirements; do $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file $$name.txt $$name.in; done

clean: ## remove .venv and caches; never configuration, database or uploads
	rm -rf .venv bench/.venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
