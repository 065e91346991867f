# `make stress` and `make test` are all that a newcomer needs: both set up a
# virtual environment, the C core and the package first.

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev
ASAN := build/asan
TSAN := build/tsan
ARM := build/aarch64
FAULTS ?= bad-pad:0.01,bad-area:0.01,bad-index:0.005
DURATION ?= 10

export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start a thousand interpreters: where this is set, each would compile all modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: stress test test-long test-c test-c-asan test-python test-python-long test-asan
.PHONY: test-tsan test-aarch64 lane beside lint format bench bench-smoke robust robust-smoke fuzz fuzz-smoke smoke clean help

stress: $(READY)
	zcrx-emu stress --duration $(DURATION) --faults $(FAULTS)

# Parts run one after the other ($(1)) and beside these ($(2)), since tests wait and so do linkers.
# Each runs whatever failed before it; the last lines say how long each took, and which failed.
define PARTS
@mkdir -p build; rm -f build/parts build/parts.beside; \
$(MAKE) --no-print-directory --jobs=2 lane beside LANE='$(1)' BESIDE='$(2)' || exit; \
if grep -q failed build/parts.beside; then cat build/beside.log; fi; \
sed 's/^/make $@: /' build/parts build/parts.beside; \
! grep -q failed build/parts build/parts.beside
endef

TOOK := build/parts
# A part is told nothing of the job server: what it starts would take it for its own.
lane:
	@: >$(TOOK); for part in $(LANE); do \
	  from=$$(date +%s); state=; \
	  MAKEFLAGS= $(MAKE) --no-print-directory $$part || state=' failed'; \
	  echo "$$part $$(( $$(date +%s) - from )) s$$state" >>$(TOOK); \
	done

# Shown when all is done, and only if something failed.
beside:
	@$(MAKE) --no-print-directory lane LANE='$(BESIDE)' TOOK=build/parts.beside >build/beside.log 2>&1

TEST_TAKES := about four minutes on two cores
LONG_TAKES := about ten minutes on two cores

test: $(DEV)
	@echo 'make test: Python, beside it C and the specification on a sanitized core; $(TEST_TAKES)'
	$(call PARTS,test-python,test-c-asan test-asan)

# Of what wants more than a compiler, test-long ALSO=test-aarch64 asks, too.
test-long: $(DEV)
	@echo 'make test-long: campaigns, matrices, C as it is shipped, threads; $(LONG_TAKES)'
	$(call PARTS,test-python-long,test-c test-tsan $(ALSO))

help:
	@echo 'make stress   10 s of traffic with faults; DURATION=S FAULTS=SPEC change it'
	@echo 'make test     what must hold: C tests sanitized, Python tests, property tests sanitized'
	@echo 'make test-long  what takes long for what it shows: campaigns, whole matrices, C tests plain and under TSan'
	@echo 'make test-aarch64  the C core and the library for arm64, in an emulator'
	@echo 'make lint     ruff, mypy, clang-format'
	@echo 'make bench    the benchmarks (three minutes); make bench-smoke: the short form'
	@echo 'make robust   chaos, kills, attacks on a neighbour (long); make robust-smoke: in short'
	@echo 'make fuzz     an hour of fuzzing, all seeded bugs, speed; fuzz-smoke: in short'
	@echo 'make smoke    lint, and bench, robust and fuzz in short, side by side'
	@echo 'make clean    remove everything that was built, and what runs, fuzz and race left here'

# ---- set-up ------------------------------------------------------------------

$(READY): pyproject.toml meson.build meson.options cext/meson.build cext/lib/meson.build
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'make: PYTHON=$(PYTHON): Python 3.11 or later is needed' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'make: Python has no venv module; on Debian: apt install python3-venv' >&2; exit 2; }
	@test -e "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" || \
	  { echo 'make: Python.h is missing; on Debian: apt install python3-dev' >&2; exit 2; }
	@command -v $${CC:-cc} >/dev/null || \
	  { echo 'make: there is no C compiler; on Debian: apt install gcc libc6-dev' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	"$(BIN)/pip" install --quiet 'meson-python>=0.17' 'meson>=1.3.0' ninja 'cffi>=1.16'
	"$(BIN)/pip" install --quiet --no-build-isolation --editable .
	"$(BIN)/python" -m compileall -q emu faults  # an editable install never keeps bytecode itself
	@touch $@

# What the tests and all else want besides; a run needs none of it.
$(DEV): $(READY)
	"$(BIN)/python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"] \
	  ["optional-dependencies"]["dev"], sep="\n")' >$(VENV)/dev.txt
	"$(BIN)/pip" install --quiet --requirement $(VENV)/dev.txt
	@touch $@

# ---- tests -------------------------------------------------------------------

build/plain/build.ninja: $(DEV)
	meson setup --wipe build/plain -Dunit_tests=true -Dcore_only=true -Dwerror=true >/dev/null

# A report names lines; variables and types would take a sixth of the build.
$(ASAN)/build.ninja: $(DEV)
	meson setup --wipe $(ASAN) -Dunit_tests=true -Dcore_only=true -Dwerror=true \
	  -Ddebug=false -Dc_args=-g1 -Dcpp_args=-g1 \
	  -Doptimization=1 -Db_sanitize=address,undefined >/dev/null

# Threads that wait for each other crowd two cores beside the Python tests: what failed is asked again.
define IN_C
@rm -f $(1)/meson-logs/testlog.json
@meson test -C $(1) --print-errorlogs || { \
  failed=$$(sed -n 's/.*"name": "[^"]*:\([a-z0-9_]*\)".*"result": "\(FAIL\|TIMEOUT\)".*/\1/p' \
    $(1)/meson-logs/testlog.json) && [ -n "$$failed" ] && \
  echo 'make $@: once more: what failed' && \
  meson test -C $(1) --no-rebuild --print-errorlogs $$failed; }
endef

test-c: build/plain/build.ninja
	$(call IN_C,build/plain)

test-c-asan: $(ASAN)/build.ninja
	$(call IN_C,$(ASAN))

# One worker more than cores: many tests wait for processes of their own.
PYTEST = pytest -n $$(( $$(nproc) + 1 )) --dist worksteal

# Hundreds of live runs crowd two cores: what failed is asked once more, alone, and said so.
AGAIN = { [ $$? -eq 1 ] && echo 'make $@: once more, alone: what failed' && \
  pytest --last-failed --last-failed-no-failures none

# Asked of a sanitized core, beside the others: see test-asan.
SANITIZED := tests/spec/test_model.py tests/spec/test_stepping_property.py

# What was edited since the set-up would be compiled by each of a thousand interpreters.
test-python: $(DEV)
	python -m compileall -q emu faults
	$(PYTEST) -m 'not long' $(addprefix --ignore=,$(SANITIZED)) || $(AGAIN) -m 'not long'; }

test-python-long: $(DEV)
	python -m compileall -q emu faults
	$(PYTEST) -m long || $(AGAIN) -m long; }

# The core under AddressSanitizer and UndefinedBehaviorSanitizer, driven by the
# property tests. Leaks are the C tests' business: Python itself leaks at exit.
test-asan: $(ASAN)/build.ninja
	ninja -C $(ASAN) cext/_core.abi3.so >/dev/null
	LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	ZCRX_EMU_CORE="$(CURDIR)/$(ASAN)/cext/_core.abi3.so" \
	  pytest -n $$(nproc) --dist worksteal -m 'not long' $(SANITIZED)

# Threads in the place of processes: what the core shares without an atomic access is found here.
# Only GCC warns of stand-alone fences, which the doorbells have, and only GCC knows that warning.
THREADED := area bell crc32c flight live page_pool provider ring ring_race

$(TSAN)/build.ninja: $(DEV)
	meson setup --wipe $(TSAN) -Dunit_tests=true -Dcore_only=true -Dwerror=true \
	  -Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false \
	  $$($${CC:-cc} --version | grep -q clang || echo -Dc_args=-Wno-tsan) >/dev/null

test-tsan: $(TSAN)/build.ninja
	TSAN_OPTIONS=halt_on_error=1 meson test -C $(TSAN) --print-errorlogs $(THREADED)
	TSAN_OPTIONS=halt_on_error=1 meson test -C $(TSAN) --print-errorlogs --suite threads

# The core and the library for arm64, by both compilers. An emulator shows what the processor does
# (its instructions, its stacks, its sizes of pages); of orders of memory it shows the strong ones of
# the machine below it: weak ones are the business of `zcrx-emu race`. What it cannot do is left out
# by tests/cext/meson.build, and called SKIP.
CROSS := tools/cross/aarch64-gcc.ini tools/cross/aarch64-clang.ini
SETUP_ARM = -Dunit_tests=true -Dlibrary_only=true -Dwerror=true -Doptimization=1 \
  -Dc_args=-DCHECK_SLOWDOWN=8

$(ARM)/build.ninja: $(DEV) $(CROSS)
	@for tool in aarch64-linux-gnu-gcc qemu-aarch64-static clang; do \
	  command -v $$tool >/dev/null || { echo "make: $$tool is missing; on Debian: apt install" \
	    'gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static clang' >&2; exit 2; }; done
	meson setup --wipe $(ARM) --cross-file tools/cross/aarch64-gcc.ini $(SETUP_ARM) >/dev/null

$(ARM)-clang/build.ninja: $(ARM)/build.ninja
	meson setup --wipe $(ARM)-clang $(patsubst %,--cross-file %,$(CROSS)) $(SETUP_ARM) >/dev/null

# What processors differ in: instructions, counters, stacks, atomics, signals, sizes of pages. Not
# asked: interleavings in one thread, sockets, and arithmetic, which are the same on each.
OF_PROCESSOR := abi area areas bell crc32c fault flight fuzz handoff layout live page_pool placement \
  plugin poison provider returns ring ring_race sigbus sim 'lib_*'
PAGED := layout sigbus lib_client lib_elsewhere lib_misuse lib_nic lib_plan lib_receive lib_right lib_sockets
BUILTIN := crc32c flight ring_race sim
IN_EMULATOR = meson test --print-errorlogs --timeout-multiplier 3

test-aarch64: $(ARM)/build.ninja $(ARM)-clang/build.ninja
	$(IN_EMULATOR) -C $(ARM) $(OF_PROCESSOR)
	QEMU_PAGESIZE=65536 $(IN_EMULATOR) -C $(ARM) $(PAGED)
	$(IN_EMULATOR) -C $(ARM)-clang $(BUILTIN)

# ---- quality -----------------------------------------------------------------

C_FILES := $(wildcard cext/*.[ch]) $(wildcard cext/*/*.[ch]) $(wildcard tests/cext/*.[ch])

lint: $(DEV)
	ruff check .
	ruff format --check .
	mypy
	clang-format --dry-run -Werror $(C_FILES)

format: $(DEV)
	ruff check --fix .
	ruff format .
	clang-format -i $(C_FILES)

bench: $(DEV)
	python -m tools.bench
	python -m tools.exec_bench

bench-smoke: $(DEV)
	python -m tools.bench --quick
	python -m tools.exec_bench --quick

# What a hostile, dying or starving process must not be able to do to the others.
robust: $(DEV)
	zcrx-emu stress --duration 600 --queues 2 --faults chaos
	python -m tools.attack --malformed 1000000000
	python -m tools.attack --hostile --providers
	python -m tools.kills --count 1000 --start 1000 --signals 1000

robust-smoke: $(DEV)
	zcrx-emu stress --duration 5 --queues 2 --faults chaos
	python -m tools.attack --rounds 1 --seconds 1
	python -m tools.attack --hostile --providers --seconds 1 ends_quietly gives_twice \
	  exits_at_import scrub_exits alloc_crashes loading_hangs
	python -m tools.kills --count 8 --within 5 --start 7 --signals 4

# Short forms of what is long, and lint, side by side: those of robustness wait most of their time.
smoke: $(DEV)
	@echo 'make smoke: lint, benchmarks, fuzzing, robustness; about two minutes'
	$(call PARTS,lint fuzz-smoke bench-smoke,robust-smoke)

fuzz: $(DEV)
	zcrx-emu fuzz --time 3600
	python -m tools.fuzz_power
	python -m tools.fuzz_bench

fuzz-smoke: $(DEV)
	zcrx-emu fuzz --time 5
	python -m tools.fuzz_power --seconds 10 --runs 1 --bug bound-off-by-one --bug scrub-skips-last
	python -m tools.fuzz_bench --quick
	python -m tools.lib_fuzz --time 5

clean:
	rm -rf $(VENV) build runs fuzz race .mypy_cache .ruff_cache .pytest_cache .hypothesis
