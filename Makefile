# `make run` starts the server, `make test` proves that it works. Both set up what they need and skip what is done.

PYTHON ?= python3
VENV   := .venv
BENCH_VENV := .venv-bench
# Every worker begins with a run of neighbouring tests, which share what is dear to set up; whoever is done takes from others.
PARALLEL := -n auto --dist worksteal
PY     := $(VENV)/bin/python
# A Node script: where the machine has no Node, the one that set-up put into the environment runs it.
BIOME  := node_modules/.bin/biome
FACTOR ?= 20

.DEFAULT_GOAL := help
.PHONY: help run setup page weights test test-full test-cluster coverage fuzz lint audit lock prove-container prove-service prove-node wer bench bench-scheduler \
	bench-speakers bench-cuda load soak chromium postgresql clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 17

run: setup ## set up what is missing, then start the server
	@exec $(PY) main.py

setup: $(VENV)/.installed page weights ## the environment, the page's libraries and the default model's weights

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make run PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip

$(VENV)/.installed: requirements.txt constraints.txt | $(PY)
	@echo "Installing the server's packages (a few minutes the first time)"
	$(PY) -m pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the packages for tests and checks"
	$(PY) -m pip install --quiet -r requirements-dev.txt
	@touch $@

page: $(VENV)/.installed ## the page's JavaScript libraries, and the bundles that a browser loads
	@$(PY) -m tools.vendor_page
	@$(PY) -m tools.build_page || echo "Going on without them: the server delivers the page's modules one by one."

weights: $(VENV)/.installed ## the weights of DEFAULT_MODEL
	@$(PY) -m tools.fetch_model || echo "Going on without them: the server fetches them when a task asks for the model."

chromium:
	@tools/ensure_chromium.sh

postgresql:
	@tools/ensure_postgresql.sh

test: $(VENV)/.installed-dev page node_modules/.installed-dev chromium postgresql ## every test but the slow ones
	@$(PY) -m tools.fetch_model tiny.en speakers
	$(PY) -m pytest -m "not slow" $(PARALLEL) $(PYTEST_ARGS)

test-full: $(VENV)/.installed-dev page node_modules/.installed-dev chromium postgresql ## every test, with the long ones
	@$(PY) -m tools.fetch_model tiny.en base speakers
	$(PY) -m pytest $(PARALLEL) $(PYTEST_ARGS)

$(VENV)/.installed-cluster: requirements-cluster.txt $(VENV)/.installed-dev
	@echo "Installing Ray"
	$(PY) -m pip install --quiet -r requirements-cluster.txt
	@touch $@

test-cluster: $(VENV)/.installed-cluster page chromium ## several machines, which this one plays with Ray; about seven minutes
	@$(PY) -m tools.fetch_model tiny.en
	$(PY) -m pytest -m cluster $(PYTEST_ARGS)

coverage: $(VENV)/.installed-dev page node_modules/.installed-dev chromium postgresql ## branch coverage of what `make test` runs
	@$(PY) -m tools.fetch_model tiny.en speakers
	@$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -m "not slow" $(PARALLEL) $(PYTEST_ARGS); status=$$?; \
	$(PY) -m coverage combine --quiet && $(PY) -m coverage report && exit $$status

fuzz: $(VENV)/.installed-dev ## the property tests at random, FACTOR (20) times as long; SEED= repeats a run
	@seed=$${SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; again="make fuzz SEED=$$seed FACTOR=$(FACTOR)"; \
	echo "This run again: $$again"; \
	FUZZ_FACTOR=$(FACTOR) $(PY) -m pytest -m hypothesis --timeout 7200 $(PARALLEL) --hypothesis-seed $$seed $(PYTEST_ARGS) \
		|| { echo "Something was found. The same run again: $$again"; exit 1; }

node_modules/.installed-dev: package-lock.json | $(VENV)/.installed
	@echo "Installing the packages that check the page's JavaScript"
	@$(PY) -m tools.vendor_page --dev
	@touch $@

lint: $(VENV)/.installed-dev node_modules/.installed-dev ## style and types
	$(VENV)/bin/hadolint Dockerfile
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	@PATH="$$PATH:$(CURDIR)/$(VENV)/bin" $(BIOME) check --error-on-warnings

audit: $(VENV)/.installed-dev ## known vulnerabilities, risky lines, and the list of components in audit/
	@$(PY) -m tools.audit

prove-container: $(VENV)/.installed-dev ## build the Dockerfile and run it as compose.yaml says, without Docker (root, Debian); PROVE_ARGS="--with postgresql --with ray"
	$(PY) -m tools.deployment_proof container $(PROVE_ARGS)

prove-service: $(VENV)/.installed-dev ## boot a bare Debian with the systemd unit (root, Debian); PROVE_ARGS=
	$(PY) -m tools.deployment_proof service $(PROVE_ARGS)

prove-node: $(VENV)/.installed-dev ## the same with the unit of a cluster's node, and a head beside it; PROVE_ARGS=
	$(PY) -m tools.deployment_proof node $(PROVE_ARGS)

wer: $(VENV)/.installed-dev ## word error rate beside openai-whisper's own; FILES=folder with a manifest.json
	$(PY) -m benchmarks.word_error_rate $(if $(FILES),--recordings $(FILES))

$(BENCH_VENV)/.installed: benchmarks/requirements.txt benchmarks/requirements-whisper-cpp.txt benchmarks/requirements-openvino.txt
	@echo "Installing the projects to compare with, and matplotlib, into an environment of their own"
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -r benchmarks/requirements.txt
	@for peer in whisper-cpp openvino; do \
		$(BENCH_VENV)/bin/python -m pip install --quiet --only-binary :all: -r benchmarks/requirements-$$peer.txt \
			|| echo "Measuring without $$peer, which could not be installed"; \
	done
	@touch $@

bench: $(VENV)/.installed-dev $(BENCH_VENV)/.installed ## speed beside others at fp32 and int8, into docs/benchmarks.md; FILES=folder, BENCH_ARGS=
	@$(PY) -m tools.fetch_model tiny.en base
	$(PY) -m benchmarks.throughput --peers $(BENCH_VENV)/bin/python $(if $(FILES),--recordings $(FILES)) $(BENCH_ARGS)

bench-scheduler: $(VENV)/.installed-dev $(BENCH_VENV)/.installed ## waits, throughput and memory with and without the scheduler, into docs/scheduling.md
	@$(PY) -m tools.fetch_model tiny.en base
	$(PY) -m benchmarks.scheduler --plots $(BENCH_VENV)/bin/python $(if $(FILES),--recordings $(FILES)) $(BENCH_ARGS)

bench-speakers: $(VENV)/.installed-dev $(BENCH_VENV)/.installed ## errors in who speaks when, into docs/speakers.md (Debian); BENCH_ARGS=
	$(PY) -m benchmarks.diarization --publish --scorer $(BENCH_VENV)/bin/python $(BENCH_ARGS)

bench-cuda: $(VENV)/.installed-dev ## the engine on a GPU in one call of at most twelve minutes, into docs/benchmarks.md
	$(PY) -m benchmarks.cuda_all --out data/cuda $(if $(FILES),--recordings $(FILES)) $(BENCH_ARGS)
	$(PY) -m benchmarks.cuda_all --publish data/cuda

load: $(VENV)/.installed-dev page ## how much the server takes, into docs/reliability.md; about ten minutes, LOAD_ARGS=
	$(PY) -m benchmarks.load $(LOAD_ARGS)

soak: $(VENV)/.installed-dev page ## mixed work with a fault every thirty seconds, into docs/reliability.md; MINUTES (30), SOAK_ARGS=
	$(PY) -m benchmarks.soak --minutes $(or $(MINUTES),30) $(SOAK_ARGS)

lock: $(VENV)/.installed-dev ## renew constraints.txt (needs uv)
	grep -hv '^-' requirements.txt requirements-dev.txt requirements-cluster.txt | uv pip compile --quiet --universal --python-version 3.11 \
		--no-emit-index-url --no-header --no-annotate - -o constraints.txt

clean: ## remove what set-up made; recordings and transcripts stay
	rm -rf $(VENV) $(BENCH_VENV) node_modules static/vendor static/built
