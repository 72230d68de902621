# SPDX-License-Identifier: GPL-2.0-or-later
# Builds everything into $(BUILD): the libraries, the command, tests, benchmarks. `make help` lists the targets.

VERSION := 0.1.0
SOVERSION := 0

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR ?= $(DATADIR)/man
UNITDIR ?= $(PREFIX)/lib/systemd/system

CC ?= cc
CFLAGS ?= -O2 -g
# What the code needs, apart from what a packager may choose.
BASE := -std=c17 -D_GNU_SOURCE -Iinclude -Isrc -DSPW_VERSION='"$(VERSION)"' -DSPW_DATADIR='"$(DATADIR)/spillway"' \
	-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
	-fPIC -fvisibility=hidden -fno-strict-aliasing -fstack-protector-strong -MMD -MP
# SAN=1: AddressSanitizer and UndefinedBehaviorSanitizer, into a tree of its own (BUILD=build/asan).
ifdef SAN
BASE += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDSAN := -fsanitize=address,undefined
else
HARDEN := -Wl,-z,relro,-z,now
endif

# V=1 shows the commands.
Q := $(if $(V),,@)
say = @$(if $(V),:,echo "  $(1)	$(2)")

# `make deps`, `make help` and the like must work before anything is installed.
BARE := deps deps-check help clean format
ifneq ($(filter-out $(BARE),$(or $(MAKECMDGOALS),all)),)
MNL_LIBS = $(shell pkg-config --libs libmnl $(if $(CONNTRACK_LACKS),,libnetfilter_conntrack))
CLI_LIBS = $(shell pkg-config --libs jansson libcap-ng libseccomp) -ldl $(GATE_LIBS)
CMOCKA_LIBS = $(shell pkg-config --libs cmocka)
NFQ_LIBS = $(shell pkg-config --libs libnetfilter_queue)
endif

# The gate is made where there is what it needs; else the command says what its build lacked. GATE=no: without it.
BPFTOOL ?= $(or $(shell command -v bpftool),$(wildcard /usr/sbin/bpftool))
GATE_LACKS := $(strip $(if $(filter no,$(GATE)),GATE=no,$(if $(shell command -v clang),,clang) \
	$(if $(BPFTOOL),,bpftool) $(if $(shell pkg-config --exists 'libbpf >= 1.0' && echo yes),,libbpf-dev)))
ifeq ($(GATE_LACKS),)
GATE_LIBS := $(shell pkg-config --libs libbpf)
GATE_NOT := src/gate/gate.bpf.c src/gate/absent.c
else
GATE_NOT := src/gate/gate.bpf.c src/gate/load.c src/gate/flows.c
GATE_ABSENT := this build has no gate: $(if $(filter no,$(GATE)),it was made with GATE=no,it lacked $(GATE_LACKS))
endif

# Packets' connections are decoded where there is the library for it; else the library says so. CONNTRACK=no: without it.
CONNTRACK_LACKS := $(strip $(if $(filter no,$(CONNTRACK)),CONNTRACK=no,\
	$(if $(shell pkg-config --exists libnetfilter_conntrack && echo yes),,libnetfilter-conntrack-dev)))
CONNTRACK_NOT := src/nfqueue/conntrack$(if $(CONNTRACK_LACKS),,_absent).c
CONNTRACK_ABSENT := this build does not decode connections: $(if $(filter no,$(CONNTRACK)),it was made with \
	CONNTRACK=no,it lacked $(CONNTRACK_LACKS))

# The library is the netlink side and the inspector's side; the command is all the rest on top of it.
MAIN_SRC := src/inspect/program.c
LIB_SRC := $(filter-out $(CONNTRACK_NOT),$(wildcard src/nfqueue/*.c)) $(filter-out $(MAIN_SRC) src/inspect/role.c,$(wildcard src/inspect/*.c))
CLI_MAIN := src/cli/main.c
CLI_SRC := $(filter-out $(LIB_SRC) $(CONNTRACK_NOT) $(MAIN_SRC) $(CLI_MAIN) $(GATE_NOT),$(wildcard src/*/*.c))
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# Kept, though only a chain of rules asks for them.
.SECONDARY: $(call obj,$(wildcard tests/*/*.c bench/*.c lab/tools/*.c))

LIB_A := $(BUILD)/libspillway.a
LIB_SO := $(BUILD)/libspillway.so
LIB_REAL := $(LIB_SO).$(VERSION)
MAIN_A := $(BUILD)/libspillway_main.a
CORE_A := $(BUILD)/libcore.a
# The model of the kernel's queue, for tests.
SIM_A := $(BUILD)/libsim.a
SPILLWAY := $(BUILD)/spillway
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*.c))
NETPROG := $(patsubst tests/net/%.c,$(BUILD)/tests/net/%,$(filter-out tests/net/fail_%.c,$(wildcard tests/net/*.c)))
# Preloaded by tests.
PRELOAD := $(patsubst tests/net/%.c,$(BUILD)/tests/net/%.so,$(wildcard tests/net/fail_*.c))
# What the lab's experiments start: programs, and plug-ins.
PLUGINS := slow paced trusting whole
LAB_PLUGIN := $(PLUGINS:%=$(BUILD)/lab/%.so)
LAB := $(patsubst lab/tools/%.c,$(BUILD)/lab/%,$(filter-out $(PLUGINS:%=lab/tools/%.c),$(wildcard lab/tools/*.c)))
BENCH := $(patsubst bench/%.c,$(BUILD)/bench/%,$(filter-out $(if $(GATE_LACKS),bench/gate.c),$(wildcard bench/*.c)))
FUZZ := $(patsubst fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard fuzz/*.c))
MAN := $(patsubst man/%.scd,$(BUILD)/man/%,$(wildcard man/*.scd))

.PHONY: all help deps deps-check lib tests bench-programs fuzzers man demo check check-kernels bench install format lint clean
.DELETE_ON_ERROR:

all: deps-check
	+@$(MAKE) --no-print-directory build

.PHONY: build
build: $(SPILLWAY) $(LIB_A) $(LIB_SO) $(MAIN_A) $(LAB) $(LAB_PLUGIN) $(MAN)

help:
	@echo "make          build everything into $(BUILD)/"
	@echo "make deps     install the Debian packages that building, testing and the lab need (as root)"
	@echo "make demo     the experiment of 2012 on this machine's kernel, with its table and chart"
	@echo "make check    the tests; make check T=name runs one; make check T=list lists them"
	@echo "make check-kernels  those that stand on the kernel, on Debian's 6.1 and 6.12 (emulated) and the running one"
	@echo "make bench    Spillway beside a plain libnetfilter_queue loop and beside no queue"
	@echo "make install  DESTDIR, PREFIX as usual"
	@echo "make lint     clang-format and clang-tidy; make format rewrites"

deps:
	@tools/deps install
deps-check:
	@tools/deps check build

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) $(CFLAGS) $(CPPFLAGS) -c -o $@ $<

# The gate's program, without what only debuggers want, and as a header with the loader's calls.
$(BUILD)/gate/gate.bpf.o: src/gate/gate.bpf.c $(wildcard src/gate/*.h src/lane/*.h)
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)clang -target bpf -mcpu=v3 -std=gnu17 -ffreestanding -O2 -g -Wall -Wextra -Werror -Isrc \
		-I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@.full $<
	$(Q)$(BPFTOOL) gen object $@ $@.full
	@rm -f $@.full
$(BUILD)/gate/gate.skel.h: $(BUILD)/gate/gate.bpf.o
	$(Q)echo '/* NOLINTBEGIN: made by bpftool */' > $@
	$(Q)$(BPFTOOL) gen skeleton $< name gate_bpf >> $@
	$(Q)echo '/* NOLINTEND */' >> $@
$(BUILD)/obj/src/gate/load.o: $(BUILD)/gate/gate.skel.h
$(BUILD)/obj/src/gate/load.o: BASE += -isystem $(BUILD)/gate
$(BUILD)/obj/src/gate/absent.o: BASE += -DSPW_GATE_ABSENT='"$(GATE_ABSENT)"'
$(BUILD)/obj/src/nfqueue/conntrack_absent.o: BASE += -DSPW_CONNTRACK_ABSENT='"$(CONNTRACK_ABSENT)"'
# With or without: so that a change of that is noticed.
$(BUILD)/gate/lacks: FORCE
	@mkdir -p $(@D)
	@echo '$(GATE_LACKS)' | cmp -s - $@ || echo '$(GATE_LACKS)' > $@
$(BUILD)/conntrack-lacks: FORCE
	@mkdir -p $(@D)
	@echo '$(CONNTRACK_LACKS)' | cmp -s - $@ || echo '$(CONNTRACK_LACKS)' > $@
$(BUILD)/obj/src/nfqueue/conntrack_absent.o: $(BUILD)/conntrack-lacks
$(BUILD)/libspillway.a $(BUILD)/libspillway.so.$(VERSION): $(BUILD)/conntrack-lacks
$(BUILD)/obj/src/gate/absent.o: $(BUILD)/gate/lacks
$(CORE_A): $(BUILD)/gate/lacks

$(LIB_A): $(call obj,$(LIB_SRC))
$(MAIN_A): $(call obj,$(MAIN_SRC))
$(CORE_A): $(call obj,$(CLI_SRC))
$(SIM_A): $(call obj,$(wildcard tests/sim/kernel*.c) tests/sim/netlink.c)
$(LIB_A) $(MAIN_A) $(CORE_A) $(SIM_A):
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

$(LIB_REAL): $(call obj,$(LIB_SRC)) src/libspillway.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(LDSAN) $(HARDEN) -shared -Wl,-soname,libspillway.so.$(SOVERSION) \
		-Wl,--version-script=src/libspillway.map -o $@ $(filter %.o,$^) $(MNL_LIBS)
$(LIB_SO): $(LIB_REAL)
	$(Q)ln -sf $(notdir $<) $(LIB_SO).$(SOVERSION)
	$(Q)ln -sf $(notdir $<) $@

# Plug-ins call the library that the command was built with.
$(SPILLWAY): $(call obj,$(CLI_MAIN)) $(CORE_A) $(LIB_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(LDSAN) $(HARDEN) -Wl,--export-dynamic-symbol='spw_*' -o $@ $^ $(MNL_LIBS) $(CLI_LIBS)

SIM := $(BUILD)/tests/sim/sim
$(SIM): $(call obj,$(wildcard tests/sim/*.c src/lane/*.c))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(LDSAN) -o $@ $^

# The same with a core whose limits are small, so that its edges are met all the time.
SIM_SMALL := $(BUILD)/tests/sim/small
$(SIM_SMALL): $(wildcard tests/sim/*.[ch] src/lane/*.[ch])
	@mkdir -p $(@D) $(BUILD)/small/lane
	$(call say,LD,$@)
	$(Q)for f in src/lane/*; do sed -E -e 's/(CHANNEL_ANSWERS +)8192u/\164u/; s/(CHANNEL_WINDOW +)1024u/\132u/' \
		-e 's/(LANE_ORDERS +)256u/\18u/; s/(LANE_PAYLOADS +)16u/\12u/; s/(LANE_PIECE +)1024u/\116u/' \
		$$f > $(BUILD)/small/lane/$${f##*/}; done
	$(Q)$(CC) -I$(BUILD)/small $(filter-out -MMD -MP,$(BASE)) $(CFLAGS) $(LDFLAGS) $(LDSAN) -o $@ tests/sim/*.c $(BUILD)/small/lane/*.c

# The controller that sheds load, in a world of flows.
OVERLOAD := $(BUILD)/tests/overload/overload
$(OVERLOAD): $(call obj,$(wildcard tests/overload/*.c) src/lane/load.c)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(LDSAN) -o $@ $^ -lm

tests: $(SIM) $(SIM_SMALL) $(OVERLOAD) $(UNIT) $(NETPROG) $(PRELOAD)
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(SIM_A) $(CORE_A) $(LIB_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(LDSAN) -o $@ $^ $(CMOCKA_LIBS) $(MNL_LIBS) $(CLI_LIBS)
ifneq ($(GATE_LACKS),)
# Its tests speak with libbpf itself.
$(BUILD)/tests/unit/test_gate $(BUILD)/tests/unit/test_gate_decide: $(BUILD)/gate/lacks
	@mkdir -p $(@D)
	@printf '#!/bin/sh\necho "SKIP: %s"\nexit 77\n' '$(GATE_ABSENT)' > $@
	@chmod +x $@
endif
$(BUILD)/tests/net/gate $(BUILD)/tests/net/rules_gate $(BUILD)/tests/net/feature: $(CORE_A)
$(BUILD)/tests/net/gate $(BUILD)/tests/net/rules_gate: MORE := $(GATE_LIBS)
$(BUILD)/tests/net/differential: $(call obj,$(wildcard tests/net/differential/*.c)) $(SIM_A)
$(BUILD)/tests/net/%: $(BUILD)/obj/tests/net/%.o $(LIB_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(LDSAN) -o $@ $(filter %.o,$^) $(filter-out $(LIB_A),$(filter %.a,$^)) $(LIB_A) $(MNL_LIBS) $(NFQ_LIBS) $(CLI_LIBS) $(MORE)
# Never instrumented: it stands before the sanitizer's own allocator.
$(BUILD)/tests/net/%.so: tests/net/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(filter-out -fsanitize=% -fno-sanitize-recover=%,$(BASE)) $(CFLAGS) $(LDFLAGS) -shared -o $@ $< -ldl $(MNL_LIBS)
bench-programs: $(BENCH)
$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NFQ_LIBS) $(MORE)
$(BUILD)/bench/gate: $(CORE_A) $(LIB_A)
$(BUILD)/bench/gate: MORE := $(MNL_LIBS) $(GATE_LIBS)

# One of them is an inspector's program: it brings no main() of its own.
$(BUILD)/lab/hostile: MORE = $(MAIN_A) $(LIB_A) $(MNL_LIBS)
$(BUILD)/lab/hostile: $(MAIN_A) $(LIB_A)
$(BUILD)/lab/pareto $(BUILD)/lab/crowd: MORE := -lm
$(BUILD)/lab/%: $(BUILD)/obj/lab/tools/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(LDSAN) -o $@ $< $(MORE)
$(BUILD)/lab/%.so: $(BUILD)/obj/lab/tools/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $<

# The fuzzers compile what they test anew, instrumented; libFuzzer is clang's. What they test is the library, or what is
# named here.
FUZZED_request := src/control/request.c
FUZZED_answers := $(wildcard src/lane/*.c)
fuzzers: $(FUZZ)
$(BUILD)/fuzz/%: fuzz/%.c $(LIB_SRC) $(FUZZED_request) $(FUZZED_answers)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)clang -std=c17 -D_GNU_SOURCE -Iinclude -Isrc -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-o $@ $< $(or $(FUZZED_$*),$(LIB_SRC)) $(MNL_LIBS) $(CLI_LIBS)

man: $(MAN)
$(BUILD)/man/%: man/%.scd
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)scdoc < $< > $@

demo:
	@tools/deps need demo
	+@$(MAKE) --no-print-directory build
	@tools/demo $(SPILLWAY) $(BUILD)/demo

check:
	@tools/deps need check
	+@$(MAKE) --no-print-directory build tests bench-programs
	@BUILD=$(BUILD) tests/run $(T)

check-kernels:
	@tools/deps need kernels
	+@$(MAKE) --no-print-directory build tests bench-programs
	@BUILD=$(BUILD) tests/kernels/run

bench:
	@tools/deps need check
	+@$(MAKE) --no-print-directory build bench-programs
	@bench/run --spillway $(SPILLWAY) --programs $(BUILD)/bench --json $(BUILD)/bench.json

# Always anew: PREFIX may be another one each time.
$(BUILD)/pc/%: packaging/%.in FORCE
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@BINDIR@|$(BINDIR)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(VERSION)|; s|@CONNTRACK@|$(if $(CONNTRACK_LACKS),, libnetfilter_conntrack)|' $< > $@
.PHONY: FORCE

install: build $(BUILD)/pc/spillway.pc $(BUILD)/pc/spillway-main.pc $(BUILD)/pc/spillway.service
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)/spillway \
		$(DESTDIR)$(DATADIR)/spillway $(DESTDIR)$(DATADIR)/doc/spillway/examples
	install -m 0755 $(SPILLWAY) $(DESTDIR)$(BINDIR)/spillway
	install -m 0644 include/spillway/*.h $(DESTDIR)$(INCLUDEDIR)/spillway/
	install -m 0644 $(LIB_A) $(MAIN_A) $(DESTDIR)$(LIBDIR)/
	install -d $(DESTDIR)$(LIBEXECDIR)/spillway
	install -m 0755 $(LAB) $(LAB_PLUGIN) $(DESTDIR)$(LIBEXECDIR)/spillway/
	install -m 0755 $(LIB_REAL) $(DESTDIR)$(LIBDIR)/
	ln -sf libspillway.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libspillway.so.$(SOVERSION)
	ln -sf libspillway.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libspillway.so
	install -m 0644 $(BUILD)/pc/*.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	install -D -m 0644 $(BUILD)/pc/spillway.service $(DESTDIR)$(UNITDIR)/spillway.service
	install -m 0644 README.md CHANGELOG.md SECURITY.md $(DESTDIR)$(DATADIR)/doc/spillway/
	install -m 0644 examples/*.c $(DESTDIR)$(DATADIR)/doc/spillway/examples/
	install -m 0755 examples/*.py $(DESTDIR)$(DATADIR)/doc/spillway/examples/
	install -D -m 0644 -t $(DESTDIR)$(DATADIR)/doc/spillway/docs docs/*.md
	install -D -m 0644 lab/README.md $(DESTDIR)$(DATADIR)/doc/spillway/lab/README.md
	cp -R --no-preserve=ownership lab $(DESTDIR)$(DATADIR)/spillway/
	find $(DESTDIR)$(DATADIR)/spillway/lab -name __pycache__ -prune -exec rm -rf {} +
	for m in $(MAN); do s=$${m##*.}; install -D -m 0644 $$m $(DESTDIR)$(MANDIR)/man$$s/$${m##*/}; done

C_FILES = $(shell git ls-files '*.c' '*.h')
format:
	clang-format -i $(C_FILES)
lint:
	@tools/lint

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
