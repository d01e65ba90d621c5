# Two commands do all the set-up: `make demo` and `make test`. What they install is pinned, with hashes, in envs/.
PYTHON ?= python3
BIN := .venv/bin
# The variant of TensorFlow in .venv, cpu or gpu; unless said otherwise, the one that is there
INSTALLED := $(shell cat .venv/device 2>/dev/null || { test -e $(BIN)/.ready && echo cpu; })
DEVICE ?= $(or $(INSTALLED),cpu)
$(if $(filter cpu gpu,$(DEVICE)),,$(error DEVICE=$(DEVICE) is neither cpu nor gpu: correct it))
ANOTHER := $(filter-out $(DEVICE),$(INSTALLED))
PINS := envs/$(DEVICE).txt envs/dev.txt
# A folder that `make wheels` filled: packages come from it alone, without network
WHEELS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
VENV := $(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else f"thorax needs Python 3.11 to 3.13, and $(PYTHON) is {sys.version.split()[0]}: call make with PYTHON=python3.12, for example.")' && $(PYTHON) -m venv
FROM := $(if $(WHEELS),--no-index --find-links '$(WHEELS)')
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Where it is set, as in many containers, Python compiles TensorFlow's modules again in each job: three seconds
unexport PYTHONDONTWRITEBYTECODE

METADATA ?= data/metadata
AUDIT = audit --config 'run=[]' 'audit={metadata: $(METADATA)}'

# The folder with the real radiographs of `make sample`: nih_sample, nih_starter, lung_masks, weights
SAMPLE ?= ../shared/data

# The case of README's picture, by its number in results/figures/picture/heatmaps.html
CASE ?= 4

# Runs a command and prints, meanwhile, each epoch that a training has finished
FOLLOW = python demo/follow.py logs/train logs/segmenter --

# Two workers of pytest; a file's tests stay together, and tests/conftest.py says which files come first
WORKERS = -n 2 --dist loadfile --no-loadscope-reorder
# Unit tests that build networks
NETWORKS = models bundles explanation images/test_segmenter.py

# Of the demo's trainings, so that no core waits for the last one
LONGEST = $(patsubst %,results/models/demo-liz2022-specific/%.keras,DenseNet201 InceptionResNetV2)

# Snakemake's report with a file for each page, $(1)/report/report.html: Chrome leaves a page blank that a single file embeds, if it
# has more than 2 MB
define report
snakemake $(2) --report $(1)/report.zip --quiet
@rm -rf $(1)/report
@python -m zipfile --extract $(1)/report.zip $(1)
endef

.PHONY: help install demo sample weights picture dvc audit bench test test-fast lint wheels lock clean-demo remake

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 14

install: $(BIN)/.ready ## the pinned packages into .venv (DEVICE=gpu: with CUDA; WHEELS=folder: without network)

$(BIN)/.ready: $(PINS) pyproject.toml $(if $(ANOTHER),remake)
	@test -z "$(WHEELS)" || test -d "$(WHEELS)" || { echo "WHEELS=$(WHEELS) is not a folder: fill it by make wheels on a machine with network." >&2; exit 1; }
	@$(VENV) $(if $(ANOTHER),--clear) .venv
	@echo $(DEVICE) > .venv/device
	@echo "Installing the pinned packages for $(DEVICE) into .venv ($(if $(filter gpu,$(DEVICE)),3.7 GB to fetch and 7.4,600 MB to fetch and 2.7) GB on disk, a minute or two)"
	$(PIP) install $(FROM) --no-compile --require-hashes $(PINS:%=-r %)
	$(PIP) install $(FROM) --no-deps --no-build-isolation --editable .
	@touch $@

remake: # .venv has the other variant

demo: $(BIN)/.ready ## Liz et al. 2022 on synthetic radiographs, from raw files to report (about ten minutes on 2 cores)
	$(FOLLOW) snakemake --profile demo --prioritize $(LONGEST)
	$(call report,results,--profile demo)
	@thorax show --table results/tables/demo-liz2022-specific/global.md
	@echo "The results: results/index.html (open it in a browser). What ran, and how: results/report/report.html"

sample: $(BIN)/.ready ## 1,249 real radiographs of NIH ChestX-ray14 from SAMPLE=folder (about half an hour on 2 cores)
	@python demo/sample.py $(SAMPLE)
	$(FOLLOW) snakemake --cores 2 --set-threads train=1 predict=1 --configfile demo/sample.yaml
	@thorax show --table results/tables/nih-real/global.md
	@python demo/sample.py
	@echo "The results: results/index.html (open it in a browser)"

weights: $(BIN)/.ready ## what a network on the same radiographs gains from ImageNet's weights, and from phantoms (about an hour of CPU time)
	@python demo/sample.py $(SAMPLE)
	$(FOLLOW) snakemake --cores 2 --set-threads train=1 predict=1 --configfile demo/sample.yaml demo/weights.yaml -- results/tables/nih-weights/repeats.md
	@python -m bench start --configfile demo/sample.yaml demo/weights.yaml --experiment nih-weights

picture: $(BIN)/.ready ## README's pictures: heatmaps at 224 x 224 pixels on the demo's radiographs (about a quarter of an hour on 2 cores)
	$(FOLLOW) snakemake --profile demo --configfile demo/experiment.yaml demo/picture.yaml -- results/figures/picture/heatmaps.html results/cases/picture/cases-1.html
	@python demo/picture.py $(CASE)
	@echo "All cases: results/figures/picture/heatmaps.html and results/cases/picture/cases-1.html. README's pictures: docs/img"

dvc: $(BIN)/.ready ## dvc.yaml from the Snakefile, for the demo; for another run: thorax dvc -- ARGUMENTS of snakemake
	thorax dvc -- --profile demo

audit: $(BIN)/.ready ## the published counts next to ours, from METADATA=folder with the archives' metadata files (about a minute)
	snakemake --cores 2 $(AUDIT)
	$(call report,results/audit,--cores 2 $(AUDIT))
	@thorax show --table results/audit/*.md results/audit/counts/*.md results/audit/pos_weights/*.md results/audit/splitters/*.md results/audit/systems/*/*.md
	@echo "The report: results/audit/report/report.html (open it in a browser)"

bench: $(BIN)/.ready ## what it costs, as ratios measured side by side (about ten minutes): docs/reference/benchmarks.md
	python -m bench

test: $(BIN)/.ready ## all tests (about half an hour on 2 cores; those of the demo need a finished one)
	pytest $(WORKERS) --durations=30

test-fast: $(BIN)/.ready ## the tests that need neither a workflow nor a network (two minutes on 2 cores)
	pytest $(WORKERS) -m "not slow and not real" tests/unit $(NETWORKS:%=--ignore=tests/unit/%)

lint: $(BIN)/.ready ## style, formats, spelling, types
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	snakemake --profile demo --lint
	codespell
	.ci/prose
	mypy

wheels: ## the pinned packages as files into wheels/ (DEVICE=gpu: with CUDA), for a machine without network
	@test -x $(BIN)/python || { $(VENV) .venv; }
	$(PIP) download --dest wheels --require-hashes $(PINS:%=-r %)

lock: ## pin envs/*.in again (needs uv)
	cd envs && for name in cpu gpu dev; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --output-file $$name.txt $$name.in; done
	$(PYTHON) envs/conda.py

clean-demo: ## forget the demo's results, so that it starts from an empty folder
	rm -rf results data/phantom logs benchmarks .snakemake
