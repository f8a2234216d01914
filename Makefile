# Everything needs only Python 3.11+, make and pip: `.venv` is made on first use, with the lock's
# versions; for the demo with what a training needs, for all else with all of it. Python compiles
# what is imported when it is: compiled whole, it would be a sixth larger, and slower to install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow score bench audit fuzz study-quick pages docs lint format lock clean

$(VENV): $(VENV)/.installed

$(VENV)/.demo: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("counterpoise needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint requirements.lock --editable '.[train]'
	touch $@

$(VENV)/.installed: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	touch $@

demo: $(VENV)/.demo
	$(BIN)/counterpoise train --preset demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

# How well the diagnosis does on logs of known causes, half of them never looked at.
score: $(VENV)/.installed
	$(BIN)/python corpus/score.py

# Speed, cost and growth, side by side with what people use; JSON in benchmarks/results.
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/run.py

# Known vulnerabilities, leaked secrets, and what there is in build/sbom.json.
audit: $(VENV)/.installed
	$(BIN)/python .ci/audit.py

# What damaged and made-up files do to their readers, for some minutes.
fuzz: $(VENV)/.installed
	$(BIN)/python fuzz/fuzz.py

# Six strategies through five troubles of two small tasks; goes on where it was interrupted.
study-quick: $(VENV)/.installed
	$(BIN)/counterpoise study run
	$(BIN)/counterpoise study report runs/study-quick

# Pages, charts and blocks of the documentation that are made from the code; they are committed.
pages: $(VENV)/.installed
	$(BIN)/python docs/hooks/write.py

# The documentation site, into build/site; a warning is an error, and so is anything that a page
# would load from the network. (The variable: Material's notice
# on MkDocs 2 is not one of ours.)
docs: pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python docs/hooks/loads.py build/site

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pins what is installed in .venv, after upgrading it by hand. CUDA's packages follow from torch.
lock: $(VENV)/.installed
	$(BIN)/python -m pip freeze --exclude-editable | grep -vE '^(nvidia-|cuda-|triton)' | sed 's/^\(torch==[0-9.]*\).*/\1/' > requirements.lock

clean:
	rm -rf $(VENV) build dist
