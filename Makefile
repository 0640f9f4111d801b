# Everything sets itself up: `make demo` and `make test` need only Python, pip and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint check bench clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/mtc-sensor replay samples/demo.pcap > /dev/null  # compiles the packet engine, once
	touch $@

demo: $(VENV)/.ready
	$(BIN)/mtc-sensor replay samples/demo.pcap --out out/demo --force
	$(BIN)/mtc-sensor flowpic samples/demo.pcap --out out/demo/flowpic --top 4
	@echo 'Logs: out/demo/mtc.log out/demo/notice.log   Pictures: out/demo/flowpic/*.png'

test: lint check

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: $(VENV)/.ready
	$(BIN)/pytest

bench: $(VENV)/.ready
	$(BIN)/python benchmarks/report.py

clean:
	rm -rf $(VENV) out
	find mtc_sensor benchmarks samples tests -name __pycache__ -prune -exec rm -rf {} +
