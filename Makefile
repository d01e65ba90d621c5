# Two commands do all the set-up: `make demo` and `make test`. What they install is pinned, with hashes, in envs/.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

METADATA ?= data/metadata
AUDIT = audit --config 'run=[]' 'audit={metadata: $(METADATA)}'

# Of the demo's trainings, so that no core waits for the last one
LONGEST = $(patsubst %,results/models/demo-liz2022-specific/%.keras,InceptionResNetV2 Xception)

.PHONY: help demo dvc audit bench test lint lock clean-demo

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 14

$(BIN)/.ready: envs/cpu.txt envs/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else f"thorax needs Python 3.11 to 3.13, and $(PYTHON) is {sys.version.split()[0]}: call make with PYTHON=python3.12, for example.")'
	$(PYTHON) -m venv .venv
	@echo "Installing the pinned packages into .venv (about 1.5 GB, a minute or two)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/cpu.txt -r envs/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(BIN)/.ready ## Liz et al. 2022 on synthetic radiographs, from raw files to report (about 13 minutes on 2 cores)
	snakemake --profile demo --prioritize $(LONGEST)
	snakemake --profile demo --report results/report.html --quiet
	@thorax show --table results/tables/demo-liz2022-specific/global.md
	@echo "The report: results/report.html (open it in a browser)"

dvc: $(BIN)/.ready ## dvc.yaml from the Snakefile, for the demo; for another run: thorax dvc -- ARGUMENTS of snakemake
	thorax dvc -- --profile demo

audit: $(BIN)/.ready ## the papers' counts beside ours, from METADATA=folder with the archives' metadata files (under a minute)
	snakemake --cores 2 $(AUDIT)
	snakemake --cores 2 $(AUDIT) --report results/audit/report.html --quiet
	@thorax show --table results/audit/*.md results/audit/counts/*.md results/audit/splitters/*.md
	@echo "The report: results/audit/report.html (open it in a browser)"

bench: $(BIN)/.ready ## what it costs, as ratios measured side by side (about ten minutes): docs/benchmarks.md
	python -m bench

test: $(BIN)/.ready ## all tests
	pytest -n 2 --dist loadfile

lint: $(BIN)/.ready ## style, formats, spelling, types
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	codespell
	mypy

lock: ## pin envs/*.in anew (needs uv)
	cd envs && for name in cpu gpu dev; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --output-file $$name.txt $$name.in; done

clean-demo: ## forget the demo's results, so that it starts from an empty folder
	rm -rf results data/phantom logs benchmarks .snakemake
