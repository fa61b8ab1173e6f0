# What is explored, and what is proved: docs/proof.md says what each is worth.
#
#   explore   all interleavings of the rings' and channels' own code, compiled with its accesses to shared
#             memory as calls; the quick part is in `make check`, the whole in `make proof`
#   proof     the whole exploration, SPIN on the notification protocol, Frama-C/WP on index arithmetic

CFLAGS_explore := -O1 $(CFLAGS_ALL) -fno-stack-protector -DMIR_EXPLORE=1
CC_explore := $(CC)
$(eval $(call variant_rules,explore))

EXPLORE_C := $(sort $(wildcard test/explore/*_explore.c))
TESTS_explore := $(patsubst %.c,$(B)/explore/%,$(EXPLORE_C))
EXPLORED := $(B)/explore/lib/ring/xring.o $(B)/explore/lib/vchan/vchan.o
# What they use besides is that of the host.
$(B)/explore/test/explore/%_explore: $(B)/explore/test/explore/%_explore.o $(B)/explore/test/explore/explore.o $(EXPLORED) \
  $(B)/host/test/harness/platform.o $(B)/host/libharness.a $(B)/host/libmirari.a
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC) -o $@ $^

.PHONY: explore proof
explore: $(TESTS_explore) ## All interleavings of rings and channels, the quick part
	$(Q)$(PROVE) $(TESTS_explore)

proof: $(TESTS_explore) ## The whole exploration, SPIN and Frama-C (installs them); minutes
	@tools/deps proof
	$(Q)for t in $(TESTS_explore); do $$t --all || exit 1; done
	$(Q)$(PROVE) test/proof/spin.t test/proof/wp.t
