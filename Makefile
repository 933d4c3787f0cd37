# The commands for people: `make figures` and `make test` set up what they need by themselves.
# Another interpreter: make figures PYTHON=python3.12      Another study: make figures CONFIG=presets/mnist.yaml
# Other versions of the packages than those of constraints.txt: make setup CONSTRAINTS=mine.txt, or CONSTRAINTS= for none
# On a SLURM cluster: make figures PROFILE=profiles/slurm (docs/cluster.md)      Jobs in conda environments: DEPLOY=conda

PYTHON ?= python3
CORES ?= all
CONFIG ?=
PROFILE ?=
VERBOSE ?=
CONSTRAINTS ?= constraints.txt
UPGRADE ?=
NAME ?=
OPTIONS ?=
DEPLOY ?=
KILLS ?= 6
FLIPS ?= 600
TABLE ?=
TESTS ?=
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
# The console is a logger plugin beside the library; with VERBOSE=1, Snakemake speaks for itself.
SNAKEMAKE := PYTHONPATH="$(CURDIR)/workflow/scripts$(if $(PYTHONPATH),:$(PYTHONPATH))" \
  $(BIN)/snakemake $(if $(VERBOSE),,--logger isthmus) $(if $(CONFIG),--configfile $(CONFIG)) $(if $(PROFILE),--workflow-profile $(PROFILE),--cores $(CORES))
# The rules that draw: allowed with the two that prepare what they read, they work from the tables as these are.
DRAW := $(shell sed -nE 's/^(rule|use rule draw_training as) (draw_[a-z_]+)( with)?:$$/\2/p' workflow/rules/*.smk)

SNAKEMAKE += $(if $(DEPLOY),--software-deployment-method $(DEPLOY))

.DEFAULT_GOAL := help
.PHONY: help setup install readable unlocked constraints figures tables redraw report plan new-analysis check-analysis \
  test test-slow test-exhaustive test-slurm test-faults test-lowest test-newest gpu-check check types style format bench gallery docs site doctor release clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## the virtual environment in .venv: the packages of pyproject.toml in the versions of constraints.txt

# The stamp holds what was installed, and is written last, so a set-up that was interrupted is taken up again the next
# time. An environment that another folder uses is left alone: what is installed here would change what runs there.
$(READY): pyproject.toml $(CONSTRAINTS)
	@cat $^ | cmp -s - $@ || $(MAKE) --no-print-directory install

install:
	@! test -L $(VENV) || \
	  { echo "$(VENV) is a link, and nothing is installed where it leads. Run make there, or delete the link: rm $(VENV)" >&2; exit 1; }
	@! test -e $(VENV)/pyvenv.cfg || grep -qF "$(CURDIR)/$(VENV)" $(BIN)/activate || \
	  { echo "$(VENV) was made for another folder, whose Python it would start. Delete it: rm -r $(VENV)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Isthmus needs Python 3.11 or newer; $(PYTHON) is older. Try: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m ensurepip --upgrade >/dev/null
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
	@cat pyproject.toml $(CONSTRAINTS) > $(READY)

# Versions that are in the list already stay as they are, unless UPGRADE says otherwise.
constraints: $(READY) ## constraints.txt, after a change of pyproject.toml; with UPGRADE=1 the newest versions of everything
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --no-header --no-annotate --quiet $(if $(UPGRADE),--upgrade) --output-file constraints.txt

readable: $(READY)
	@$(if $(CONFIG),$(BIN)/python workflow/scripts/check_configuration.py $(CONFIG))

# After a crash, Snakemake's lock is still there: it is removed if no run is at work.
unlocked: readable
	@$(BIN)/python workflow/scripts/unlock.py $(if $(CONFIG),--configfile $(CONFIG)) $(if $(PROFILE),--workflow-profile $(PROFILE))

plan: readable ## what the study will cost: jobs still to be done, hours, memory, disk
	@$(BIN)/python workflow/scripts/plan.py $(if $(CONFIG),--configfile $(CONFIG)) --cores $(CORES)

figures: unlocked ## run the whole study: results/tables and results/figures
	$(SNAKEMAKE)

tables: unlocked ## run the whole study as far as the tables
	$(SNAKEMAKE) -- tables

redraw: unlocked ## draw every figure again from the tables alone
	$(SNAKEMAKE) --allowed-rules list_cells summarize $(DRAW) --forcerun $(DRAW) --until $(DRAW) -- figures

report: unlocked ## run the whole study and write Snakemake's HTML report: results/report.html
	$(SNAKEMAKE)
	$(SNAKEMAKE) --report results/report.html

new-analysis: $(READY) ## the files of a new analysis, which already work: make new-analysis NAME=sparsity
	@$(BIN)/python workflow/scripts/new_analysis.py $(NAME)

check-analysis: $(READY) ## an analysis's files, its unit test and a small study: make check-analysis NAME=sparsity
	@$(BIN)/python workflow/scripts/check_analysis.py $(NAME) $(if $(OPTIONS),--options '$(OPTIONS)')

check: $(READY) ## formatting, types, the order of the packages, and the files for GitHub
	@$(MAKE) --no-print-directory --jobs 2 types style

types:
	$(BIN)/mypy

style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow templates
	$(BIN)/lint-imports --no-cache
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet .github

test: check ## these checks, and all tests but the slow ones (tests/README.md)
	$(BIN)/python -m pytest

# None of them is an example in a docstring, so the library is not searched for those.
test-slow: $(READY) ## the tests that take a whole workflow, and simulations in full
	$(BIN)/python -m pytest -m "slow and not exhaustive" tests

test-exhaustive: $(READY) ## the tests that repeat many times what the others show
	$(BIN)/python -m pytest -m exhaustive

test-slurm: $(READY) ## a study on a one-node SLURM on this machine (Debian, root; docs/cluster.md)
	$(BIN)/python -m pytest -m slurm -n 0 tests/workflow/test_slurm.py

test-faults: $(READY) ## attacks: kills, flipped bits, full disks; make test-faults KILLS=200 FLIPS=5000 TABLE=table.md
	$(BIN)/python -m pytest -m faults -n 0 tests/workflow/test_faults.py --kills $(KILLS) --flips $(FLIPS) \
	  $(if $(TABLE),--faults-table $(TABLE))

# In an environment of its own, so that the one in .venv stays as it is. The oldest versions go without most packages of the
# group `dev`, which ask for newer ones, and call what their own dependencies have deprecated since.
# With another Python: make test-newest PYTHON=python3.14
test-lowest: VERSIONS := --resolution lowest-direct --group test
test-newest: VERSIONS := --resolution highest --group dev
test-lowest: ## `make test` with the oldest packages that pyproject.toml admits; some tests: TESTS=tests/unit/core
test-newest: ## the same with the newest ones
test-lowest test-newest: test-%:
	$(PYTHON) -m venv --clear $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet uv
	$(VENV)-$*/bin/python -m uv pip install --quiet --python $(VENV)-$* --editable . $(VERSIONS)
	$(VENV)-$*/bin/python -m pytest $(if $(filter lowest,$*),-W ignore::DeprecationWarning) $(TESTS)

# Without an environment, as on a machine without a network, with the machine's own Python: cases it lacks packages for are skipped by name.
gpu-check: ## test the workflow on this machine's GPU, in eight minutes (docs/gpu.md); make gpu-check OPTIONS='--data DIR'
	@PYTHONPATH=workflow/scripts $(or $(wildcard $(BIN)/python),$(PYTHON)) -m gpu_check $(OPTIONS)

format: $(READY) ## format Python and Snakemake files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow templates

bench: $(READY) ## run the benchmarks and record them in docs/speed.md; some of them: make bench NAME="training curves"
	$(BIN)/python benchmarks/record.py $(NAME)

gallery: readable ## pages of docs/gallery: with CONFIG, of one finished study; otherwise all, from what is kept there
	$(BIN)/python workflow/scripts/gallery.py $(if $(CONFIG),--configfile $(CONFIG))

docs: $(READY) ## docs/configuration.md and docs/tables.md from the schemas, docs/rules.md from the workflow
	$(BIN)/python -m isthmus.study.reference
	$(BIN)/python workflow/scripts/draw_rules.py

# Laid out as here, so that links lead to the same places; --strict refuses those that lead nowhere.
site: $(READY) ## the documentation as a web site: site/html/index.html
	$(BIN)/python -m pip install --quiet --group docs $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
	rm -rf site
	mkdir -p site/source/workflow site/source/tests
	cp -r $(wildcard *.md LICENSE CITATION.cff config docs presets benchmarks) site/source
	cp workflow/claims.yaml site/source/workflow
	cp tests/README.md site/source/tests
	$(BIN)/zensical build --strict

doctor: ## what this machine has, what will be used, what is missing and how to get it
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) workflow/scripts/doctor.py

release: $(READY) ## check whether this commit can be released, and print the commands that do it
	@$(BIN)/python workflow/scripts/release.py

clean: ## remove results (the environment stays)
	rm -rf results .snakemake
