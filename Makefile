# Every target works on a fresh checkout with Python 3.11 or later and nothing else.

PYTHON ?=
CONSTRAINTS ?= .ci/constraints.txt
TESTS ?=
TRIAL ?=
SEED ?=
SEEDS ?=
DEMO_ONCE ?=

VENV := .venv
BIN := $(VENV)/bin
PRODUCT := $(VENV)/.product
STAMP := $(VENV)/.installed
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
    $(addprefix --constraint ,$(CONSTRAINTS)) --config-settings editable_mode=compat

.DEFAULT_GOAL := help
.PHONY: help install test demo lint format types layers sim ratios package all clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile | \
	    while IFS=: read -r name text; do printf '%-9s%s\n' "$$name" "$$text"; done

install: $(STAMP)  ## make .venv with the project and what its tests need

# what the product itself needs is a quarter of what the tests need
$(PRODUCT): setup.cfg pyproject.toml $(CONSTRAINTS)
	@test -x $(BIN)/python || .ci/venv $(VENV) $(PYTHON)
	$(INSTALL) --editable .
	@touch $@

$(STAMP): $(PRODUCT)
	$(INSTALL) --editable '.[dev]'
	@touch $@

test: $(STAMP)  ## run the tests, print coverage; TESTS=tests.mux runs some
ifeq ($(TESTS),)
	@.ci/test $(BIN) $(TRIAL)
else
	@$(BIN)/coverage run -m twisted.trial $(TRIAL) $(TESTS); status=$$?; \
	    $(BIN)/coverage report; exit $$status
endif

demo: $(PRODUCT)  ## gateway, agent and a web site behind it; DEMO_ONCE=1 ends by itself
	@$(BIN)/gotunnel demo $(if $(DEMO_ONCE),--once)

lint: $(STAMP)  ## check form and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(STAMP)  ## put the form right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## check the types
	$(BIN)/mypy gateway tests twisted/plugins

layers: $(STAMP)  ## check that imports point downward
	$(BIN)/lint-imports

sim: $(STAMP)  ## run the simulation; SEED=123 replays one seed, SEEDS=0-9999 runs a range
	@$(BIN)/python -m $(if $(SEED)$(SEEDS),tests.sim $(SEED) $(SEEDS),twisted.trial tests.sim)

ratios: $(STAMP)  ## compare the speed with a plain Twisted relay, twice if need be
	$(BIN)/gotunnel bench --compare-stock || $(BIN)/gotunnel bench --compare-stock

package: $(STAMP)  ## build the wheel and try it away from the checkout
	@.ci/package $(BIN)/python $(CONSTRAINTS)

all: lint types layers test package ratios  ## everything that CI checks

clean:  ## remove what the targets above made
	rm -rf $(VENV) .tox build dist *.egg-info .coverage .coverage.* _trial_temp*
	rm -rf .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f twisted/plugins/dropin.cache
	find gateway tests twisted -name __pycache__ -type d -exec rm -rf {} +
