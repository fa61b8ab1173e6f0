# Tests. Each test/<kind>/<name>.c is a program that speaks TAP; each *.t is a script that does.
#
#   unit contract sim   C programs, no root, no network
#   packetdrill         packet scripts, run by a program of ours (packetdrill.mk)
#   cli interop boot    scripts; they say SKIP and why where something is missing
#   cross               tests by `mirari test`, the same on every target; interop/cross.t runs them
#   fuzz                libFuzzer targets; their corpora are replayed under asan

TEST_KINDS := unit contract sim
TEST_C   := $(sort $(foreach k,$(TEST_KINDS),$(wildcard test/$(k)/*_test.c)))
TEST_T   := $(sort $(wildcard test/cli/*.t) $(wildcard test/interop/*.t) $(wildcard test/boot/*.t))
FUZZ_C   := $(sort $(wildcard test/fuzz/*_fuzz.c))
HARNESS_C := $(wildcard test/harness/*.c)

TESTS_host := $(patsubst %.c,$(B)/host/%,$(TEST_C) test/packetdrill/runner.c)
TESTS_asan := $(patsubst %.c,$(B)/asan/%,$(TEST_C) test/packetdrill/runner.c)
FUZZ_replay := $(patsubst %.c,$(B)/replay/%,$(FUZZ_C))
FUZZ_bin := $(patsubst %.c,$(B)/fuzz/%,$(FUZZ_C))

# Tests of the tool's parts include its sources.
TEST_LIBS := -lz -lbrotlienc -lbrotlidec -lcrypto

define test_rules
$(B)/$(1)/libharness.a: $(call objs,$(1),$(HARNESS_C))
# platform.o is named, so that no target is pulled out of its archive for the symbols in it.
$(B)/$(1)/test/%_test: $(B)/$(1)/test/%_test.o $(B)/$(1)/test/harness/platform.o $(B)/$(1)/libharness.a $(LIBS_$(1))
	@$$(if $$(V),,echo "  LD $$@")
	$$(Q)$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^ -Wl,--as-needed $$(PART_LIBS) $$(HOST_LIBS) $$(TEST_LIBS) -lm
endef
$(foreach v,host asan,$(eval $(call test_rules,$(v))))
$(foreach v,replay fuzz,$(eval $(B)/$(v)/libharness.a: $(call objs,$(v),$(HARNESS_C))))
FUZZ_PARTS = $(B)/$(1)/test/harness/platform.o $(B)/$(1)/libharness.a $(LIBS_$(1))
# Objects of tests are kept: they are not intermediate files.
.SECONDARY:

$(B)/replay/test/fuzz/%: $(B)/replay/test/fuzz/%.o $(B)/replay/test/fuzz/replay/main.o $(call FUZZ_PARTS,replay)
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_replay) $(LDFLAGS_replay) -o $@ $^ -Wl,--as-needed $(PART_LIBS) $(HOST_LIBS)
$(B)/fuzz/test/fuzz/%: $(B)/fuzz/test/fuzz/%.o $(call FUZZ_PARTS,fuzz)
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_fuzz) $(LDFLAGS_fuzz) -o $@ $^ -Wl,--as-needed $(PART_LIBS) $(HOST_LIBS)

T ?=
pick = $(if $(T),$(foreach t,$(1),$(if $(findstring $(T),$(t)),$(t))),$(1))
export MIRARI_BUILD := $(B)
PROVE := prove -e test/harness/keep --timer

# How POSIX sockets behave, over the host's stack and over ours; test/interop/socket_conform.t runs them.
SOCKET_BINS := $(addprefix $(B)/host/test/socket/,conform conform-static conform-peer)
CONFORM_O := $(call objs,host,$(wildcard test/socket/conform*.c))
$(B)/host/test/socket/conform $(B)/host/test/socket/conform-static: $(CONFORM_O)
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_host) $(LDFLAGS_host) $(if $(findstring static,$@),-static) -o $@ $^ -lpthread
$(B)/host/test/socket/conform-peer: $(B)/host/test/socket/peer.o
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_host) $(LDFLAGS_host) -o $@ $^

.PHONY: test asan replay fuzz check test-bins bench
test-bins: $(TESTS_host) $(SOCKET_BINS)

test: $(call pick,$(TESTS_host)) ## Unit, contract and sim tests (T=part of a name)
	$(Q)$(PROVE) $(call pick,$(TESTS_host))

asan: $(call pick,$(TESTS_asan)) $(call pick,$(FUZZ_replay)) ## The same under ASan and UBSan, and the fuzz corpora
	$(Q)$(PROVE) $(call pick,$(TESTS_asan)) $(call pick,$(FUZZ_replay))

F ?= wire
SECONDS ?= 60
fuzz: $(B)/fuzz/test/fuzz/$(F)_fuzz ## Fuzz one surface: F=name SECONDS=60
	@mkdir -p test/fuzz/corpus/$(F)
	$(Q)cd $(B) && fuzz/test/fuzz/$(F)_fuzz -max_total_time=$(SECONDS) -timeout=10 -print_final_stats=1 \
	  $(CURDIR)/test/fuzz/corpus/$(F)

# Everything, fast to slow, in one prove run so that its closing lines count all.
ALL_TESTS = $(wildcard test/check/*.t) $(TESTS_host) $(TESTS_asan) $(FUZZ_replay) $(TESTS_explore) $(TEST_T)
check: ## Install what tests need, build and run all tests
	@tools/deps test
	@$(MAKE) -j$(shell nproc) check-build
	$(Q)$(PROVE) $(call pick,$(ALL_TESTS))

.PHONY: check-build clang
# Only where the cross compiler is; test/boot says SKIP otherwise.
CROSS_VIRT := $(if $(shell command -v $(CROSS_aarch64)gcc),virt-aarch64)
check-build: all packetdrill-so $(CROSS_VIRT) examples free freebsd clang test-bins $(TESTS_asan) $(FUZZ_replay) $(TESTS_explore) $(B)/asan/mirari-sim bench-bins

clang: ## Everything of the host variant with the second compiler, warnings as errors
	@$(MAKE) CC=$(CLANG) B=$(B)/clang WERROR=-Werror all test-bins bench-bins

BENCH_C := $(wildcard test/bench/*.c test/bench/virt/*.c)
bench-bins: $(patsubst test/bench/%.c,$(B)/host/test/bench/%,$(BENCH_C))
$(B)/host/test/bench/%: $(B)/host/test/bench/%.o $(LIBS_host)
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_host) $(LDFLAGS_host) -o $@ $^ -Wl,--as-needed $(HOST_LIBS) -lz -lpthread

bench: ## Compare with peers in one run and print the table
	@tools/deps test
	@$(MAKE) -j$(shell nproc) all examples bench-bins
	@test/bench/run $(BENCH)

.PHONY: bench-virt
bench-virt: ## Compare virtual machines, ours and Linux with lighttpd, nginx, BIND, NSD, in one run (root)
	@tools/deps test
	@tools/deps bench
	@$(MAKE) -j$(shell nproc) all examples bench-bins
	@test/bench/virt/run $(BENCH)

.PHONY: bench-socket
bench-socket: ## Unmodified programs over the socket server and over the host's stack, in one run (root)
	@tools/deps test
	@$(MAKE) -j$(shell nproc) all bench-bins
	@test/bench/socket $(BENCH)

.PHONY: socket-programs
socket-programs: all test-bins ## Unmodified programs over the socket server, both ways in, with all run times (root)
	@tools/deps test
	@for p in node go java; do command -v $$p >/dev/null || exec tools/deps socket; done
	$(Q)$(PROVE) -v test/interop/socket_conform.t test/interop/socket_programs.t

.PHONY: socket-suites
socket-suites: all ## Test suites of others (CPython, Go, LTP=, LIBUV=, CURL=FOLDER) over the host's stack and over ours (root)
	@MIRARI_BUILD=$(B) test/socket/suites/run $(SUITES)

.PHONY: soak
soak: all examples bench-bins ## 200 boots in a row and ten minutes of mixed load with faults on virtual machines (root)
	$(Q)SOAK_BOOTS=200 SOAK_SECONDS=600 $(PROVE) -v test/boot/soak.t
