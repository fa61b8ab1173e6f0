# Packet scripts: the host with sockets in virtual time, its shared object, the runner.
#
#   libpx.a                  target/packetdrill, but for the entry point of the shared object
#   mirari-packetdrill.so    for the public packetdrill program; the libraries once more, with -fPIC

PX_C := $(filter-out %/so.c,$(call find_src,target/packetdrill))

# The runner's parts but for its program, for it and for the fuzzer.
PD_C := $(filter-out %/runner.c,$(wildcard test/packetdrill/*.c))

define px_rules
$(B)/$(1)/libpx.a: $(call objs,$(1),$(PX_C))
$(B)/$(1)/libpackets.a: $(call objs,$(1),$(PD_C))
endef
$(foreach v,host asan replay fuzz,$(eval $(call px_rules,$(v))))

CFLAGS_pic := $(CFLAGS_host) -fPIC -fvisibility=hidden
CC_pic := $(CC)
$(eval $(call variant_rules,pic))
$(call objs,pic,$(DEV_P_C)): EXTRA_CFLAGS += -fno-builtin

.PHONY: packetdrill-so
packetdrill-so: $(B)/mirari-packetdrill.so ## The stack as a shared object for packetdrill --so_filename
$(B)/mirari-packetdrill.so: $(call objs,pic,$(LIB_C) $(LIB_S) $(PX_C) target/packetdrill/so.c)
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_pic) -shared -Wl,--gc-sections -Wl,-z,defs -o $@ $^ -lpthread

define runner_rules
$(B)/$(1)/test/packetdrill/runner: $(B)/$(1)/test/packetdrill/runner.o $(B)/$(1)/libpackets.a $(B)/$(1)/libpx.a $(B)/$(1)/test/harness/platform.o $(B)/$(1)/libharness.a $(B)/$(1)/libmirari.a
	@$$(if $$(V),,echo "  LD $$@")
	$$(Q)$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^
endef
$(foreach v,host asan,$(eval $(call runner_rules,$(v))))

# Archives in the order of need, so a rule of its own.
PD_LIBS = $(B)/$(1)/libpackets.a $(B)/$(1)/libpx.a $(B)/$(1)/test/harness/platform.o $(B)/$(1)/libharness.a $(B)/$(1)/libmirari.a
define packetdrill_fuzz_rules
$(B)/$(1)/test/fuzz/packetdrill_fuzz: $(B)/$(1)/test/fuzz/packetdrill_fuzz.o $(if $(filter replay,$(1)),$(B)/replay/test/fuzz/replay/main.o) $(call PD_LIBS,$(1))
	@$$(if $$(V),,echo "  LD $$@")
	$$(Q)$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^
endef
$(foreach v,replay fuzz,$(eval $(call packetdrill_fuzz_rules,$(v))))
