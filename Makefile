# make lab: install on the first call, then open chapter 1.    make test: everything that is checked.
# Another Python: make lab PYTHON=python3.12.    Options for JupyterLab: make lab LAB_ARGS="--no-browser --port 8899"

PYTHON ?= python3
JOBS ?= 2
LAB_ARGS ?=
SOLUTIONS ?= yes

BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PY := $(BIN)/python
HTML := _build/html/index.html
FIRST := book/ch01_waves.ipynb
TIMINGS := .timings/runtimes.json
# With no notebook the name below stands for the missing book, and every check on it fails.
NOTEBOOKS := $(or $(wildcard book/*.ipynb exercises/source/*.ipynb exercises/*.ipynb),book/no-chapter-found.ipynb)
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# Idle threads that spin on busy cores slow small transforms down by a factor of ten and more.
export OMP_WAIT_POLICY := PASSIVE
test test-fast lint types unit fast chapters timings site browser bench: export OMP_NUM_THREADS := 1
# In `make test` the site shows the very run that has tested the notebooks. `make site` alone runs them itself.
test: export ONNLAB_EXECUTED := .cache/executed

.NOTPARALLEL:
.PHONY: lab test test-fast lint types unit fast chapters timings site browser bench exercises students results archive format pins clean venv

lab: venv
	$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/$(FIRST) $(AS_ROOT) $(LAB_ARGS)

# The steps run from left to right; the first that fails stops the run.
test: lint types unit chapters site browser

test-fast: lint types fast

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m nbstripout --verify --keep-id $(NOTEBOOKS)

types: venv
	$(PY) -m mypy

unit: venv
	$(PY) -m pytest tests -m "not browser" -n $(JOBS) --dist loadfile

fast: venv
	$(PY) -m pytest tests -m "not browser and not slow" -n $(JOBS) --dist loadfile

# Every cell runs; a failing assert fails. What is above its budget is marked, and the seconds go to $(TIMINGS).
chapters timings: venv
	$(PY) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=600 -W default \
		-p tests.notebooks.budget -p tests.notebooks.points --timings $(TIMINGS) \
		-p tests.notebooks.executed $(addprefix --executed ,$(ONNLAB_EXECUTED)) -n $(JOBS) --dist loadfile $(NOTEBOOKS)

# SOLUTIONS=no builds the site with the exercises as students get them.
site: venv
	rm -rf _build
	mkdir -p _build
	sed '$(if $(filter no,$(SOLUTIONS)),s|exercises/source/|exercises/|)' _toc.yml > _build/_toc.yml
	$(BIN)/jupyter-book build -n -W --keep-going --toc _build/_toc.yml .
	@echo "Open file://$(CURDIR)/$(HTML)"

browser: venv
	$(PY) -m pytest tests -m browser -n $(JOBS) --dist worksteal

# Memory that is given back and asked for at every call costs more than small transforms do.
bench: export MALLOC_MMAP_THRESHOLD_ := 1000000000
bench: export MALLOC_TRIM_THRESHOLD_ := 1000000000
bench: venv
	$(PY) -m pytest tests/benchmarks -o python_files="bench_*.py" -s

$(HTML):
	$(MAKE) site

# The exercises as students get them, from the notebooks with solutions.
exercises: venv
	$(PY) -m onnlab release exercises/source exercises

# What students get, from the last commit: no solutions, and no tests, which know right answers.
students:
	mkdir -p dist
	git archive --format=zip --prefix=onnlab/ -o dist/onnlab-students.zip HEAD -- . ':!exercises/source' ':!tests' ':!.ci'

# The tables of the README, from the lines in results/; the appendix of the book reads them by itself.
results: venv
	$(PY) -m onnlab.experiments.report README.md results

# The site as one file to publish, with its checksum beside it.
archive: $(HTML)
	mkdir -p dist
	rm -f dist/onnlab-book.zip*
	cd _build && $(abspath $(PY)) -m zipfile -c $(CURDIR)/dist/onnlab-book.zip html
	cd dist && sha256sum onnlab-book.zip > onnlab-book.zip.sha256

format: venv
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) -m nbstripout --keep-id $(NOTEBOOKS)

# Pin what is installed now. A local version such as +cpu exists on one platform only.
pins: venv
	(head -n 1 constraints.txt; $(PY) -m pip freeze --exclude-editable | sed 's/+.*//') > constraints.part
	mv constraints.part constraints.txt

clean:
	rm -rf _build .timings .cache dist .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find onnlab tests book -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) was not found: install Python 3.11 or newer, or name yours: make lab PYTHON=python3.12"; \
		exit 1; }
	@$(PYTHON) bootstrap.py
