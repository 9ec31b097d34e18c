# make demo   set up, then run the whole pipeline on real video files
# make test   set up, then run the tests
#
# Set-up finds Python 3.10 (or fetches it with uv), makes .venv from the lock, and does nothing twice.

LOCK := requirements/py310.txt
VENV := .venv
STAMP := $(VENV)/.installed
PY := $(VENV)/bin/python

.PHONY: demo test lint setup clean
.DELETE_ON_ERROR:

demo: setup
	@$(VENV)/bin/vivit demo

test: setup lint
	@$(PY) -m pytest

lint: setup
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/ruff format -q --check .

setup: $(STAMP)

# Anything that the lock or the entry points depend on makes it anew; else it is left alone.
$(STAMP): $(LOCK) setup.py
	@sh requirements/setup.sh $(VENV) $(LOCK)
	@touch $@

clean:
	rm -rf $(VENV) demo
