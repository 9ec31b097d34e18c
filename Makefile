# make demo   set up, then run the whole pipeline on real video files
# make test   set up, then run the tests
#
# Set-up chooses Python and the lock that fit this machine, makes .venv with them, and does nothing twice.

VENV := .venv
STAMP := $(VENV)/.installed
PY := $(VENV)/bin/python

.PHONY: demo test lint setup clean
.DELETE_ON_ERROR:

demo: setup
	@$(VENV)/bin/vivit demo

test: setup lint
	@$(PY) -m pytest -n logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

lint: setup
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/ruff format -q --check .

setup: $(STAMP)

# A lock or the entry points, where they change, make it anew, and so does another PYTHON=…; else it is left alone.
ifneq ($(PYTHON),)
ifneq ($(PYTHON),$(shell cat $(STAMP) 2>/dev/null))
.PHONY: $(STAMP)
endif
endif
$(STAMP): requirements/py310.txt requirements/tfx121.txt setup.py
	@sh requirements/setup.sh $(VENV)
	@echo "$(PYTHON)" > $@

clean:
	rm -rf $(VENV) demo
