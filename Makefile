# A front door: every target calls meson or a script.
PREFIX ?= /usr/local
PYTHON := /usr/bin/python3

.DEFAULT_GOAL := help
.PHONY: help deps build demo test sim sim-mutants fuzz vm lint clean install

help:
	@echo 'make deps     install the Debian packages that are missing (root or sudo)'
	@echo 'make build    deps, then a release build: build/volley'
	@echo 'make demo     build, then the ping-pong line-up on this machine'
	@echo 'make test     deps, then every test: release, ASan and UBSan, TSan'
	@echo 'make sim      simulates hosts, network and applications (SEEDS=10000, or one: SEED=n)'
	@echo 'make sim-mutants  plants bugs in the stack, says which seed finds each'
	@echo 'make fuzz     fuzzes what is received with libFuzzer, an hour in all (SECONDS=n: n s per target)'
	@echo 'make vm       runs suites in a virtual machine with two NUMA nodes and PCI network cards (SUITES="...")'
	@echo 'make lint     clang-format, clang-tidy, shellcheck, Python syntax'
	@echo 'make clean    remove the build folders'
	@echo 'make install  install the release build (PREFIX=$(PREFIX), DESTDIR=)'

deps:
	@scripts/deps.sh

build: deps
	@$(PYTHON) -B scripts/build.py release

demo: deps
	@$(PYTHON) -B scripts/build.py release volley
	@scripts/demo.sh

test: deps
	@$(PYTHON) -B scripts/run_tests.py

sim: deps
	@$(PYTHON) -B scripts/build.py release tests/sim/sim
	@build/tests/sim/sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10000))

sim-mutants: deps
	@$(PYTHON) -B scripts/build.py release tests/sim/sim
	@$(PYTHON) -B tests/sim/mutants.py

fuzz: deps
	@scripts/deps.sh lint
	@$(PYTHON) -B scripts/fuzz.py $(if $(SECONDS),--seconds $(SECONDS))

vm: deps
	@scripts/deps.sh vm
	@$(PYTHON) -B tests/vm/run.py $(SUITES)

lint: deps
	@scripts/deps.sh lint
	@$(PYTHON) -B scripts/build.py release
	@scripts/lint.sh

clean:
	rm -rf build build-debug build-tsan build-fuzz build-vm build-deps

install: build
	@/usr/bin/meson configure build -Dprefix=$(PREFIX)
	@DESTDIR='$(DESTDIR)' /usr/bin/meson install -C build
