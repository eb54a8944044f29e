# A fresh machine needs Python 3.11 or newer, git and make; every target sets the rest up by itself.

BIN := .venv/bin
READY := .venv/.ready

export DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help setup demo test parity checks docs images serve bench switches clean

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## make .venv, pinned by constraints.txt

demo: setup ## the seven steps on the tiny default, then the results table
	@$(BIN)/dvc repro
	@$(BIN)/glus report

test: setup ## all tests, on two cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

parity: setup ## every golden case of the published implementations
	@$(BIN)/python -m pytest -q -m "every_case or not every_case" tests/parity

checks: setup ## format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_imports.py

docs: setup ## the documents as a site, links checked: site/index.html
	@rm -rf site
	@$(BIN)/python -m sphinx -q -W --keep-going -c docs -d .glus/doctrees . site
	@echo "site/index.html"

images: setup ## the pictures of docs/images, from what make demo left
	@$(BIN)/python -m experiments.pictures

serve: setup ## Prefect server and worker, MLflow; Ctrl-C stops all (ports: PREFECT_SERVER_API_PORT=, MLFLOW_PORT=)
	@$(BIN)/python -m flows.serve

bench: setup ## ratios against a baseline in the same run
	@set -e; for file in benchmarks/*.py; do $(BIN)/python $$file; done

switches: setup ## what each departure of the published code costs, two seeds (some 40 minutes)
	@$(BIN)/dvc repro -q stage
	@OMP_NUM_THREADS=1 $(BIN)/python -m experiments.published_switches

clean: ## remove scratch folders and caches; artifacts, .venv and the servers' homes stay
	@rm -rf .glus site .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find glus flows tests -name __pycache__ -type d -prune -exec rm -rf {} +

# dvc starts the workers of its queue as `dvc`, however it was started itself: for all that a Python of .venv starts, the
# programs of .venv come first, so that nothing has to be activated. Python runs this line when it starts.
PROGRAMS_FIRST := import os, sys; os.environ["PATH"] = os.pathsep.join([os.path.join(sys.prefix, "bin"), os.environ.get("PATH", os.defpath)])

# The same for programs that nothing of ours starts, such as an agent's `.venv/bin/prefect worker start`.
NO_TELEMETRY := import os; os.environ.setdefault("DO_NOT_TRACK", "true")

# uv resolves and unpacks several times faster than pip; sam2 is built with the setuptools of .venv ([tool.uv]).
# Compiled here and once: where Python may not write bytecode, every step would compile its imports anew (9 s).
$(READY): pyproject.toml constraints.txt
	@for python in python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "make: Python 3.11 or newer is needed (looked for python3, python3.11 to 3.13)." >&2; exit 1; fi; \
	[ -x $(BIN)/python ] || $$found -m venv .venv
	@echo "Installing into .venv (about 7 GB, some minutes the first time) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv "setuptools>=77" wheel
	@SAM2_BUILD_CUDA=0 $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[app,dev]'
	@packages=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	echo '$(PROGRAMS_FIRST)' > "$$packages/programs_first.pth"; \
	echo '$(NO_TELEMETRY)' > "$$packages/no_telemetry.pth"
	@$(BIN)/python -m experiments.plots_page
	@touch $@
