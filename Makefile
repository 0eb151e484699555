# One door: `make help` lists the commands. Each brings what it needs: Python 3.11+ with pip, git and make suffice.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench chaos
READY := .venv/.ready
RUN := .venv/bin
export UV_PROJECT_ENVIRONMENT := .venv

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## bring uv, all packages and daybook itself into .tools and .venv

demo: $(READY) ## trade on a local Solana and prove the books; ARGS="--seconds 20 --json"
	@$(RUN)/daybook demo $(ARGS)

test: $(READY) ## run every test, two files at a time; ARGS="tests/domain -k order"
	@$(RUN)/pytest -n 2 --dist loadfile $(ARGS)

check: $(READY) ## lint, format, types, imports and the house's own rules
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@MYPYPATH=tests $(RUN)/mypy --explicit-package-bases tests benchmarks
	@$(RUN)/lint-imports
	@$(RUN)/pytest -q tests/test_tidy.py

bench: $(READY) ## run benchmarks/NAME.py; ARGS are its own
	@$(call named,benchmarks)

chaos: $(READY) ## run tests/chaos/NAME.py; ARGS are its own
	@$(call named,tests/chaos)

$(READY): uv.lock pyproject.toml .ci/setup
	@.ci/setup >&2
	@touch $@

# Runs $(1)/$(NAME).py, or says which names there are. The rooms come first on the path: benchmarks/projections.py
# must not hide projections/.
define named
test -n "$(NAME)" && test -f "$(1)/$(NAME).py" || { echo "make $@ NAME=x runs $(1)/x.py; x is one of:" \
	$$(ls $(1)/*.py 2>/dev/null | sed 's,.*/,,; s,[.]py$$,,') >&2; exit 2; }; PYTHONPATH=.:tests:$(1) $(RUN)/python -P $(1)/$(NAME).py $(ARGS)
endef
