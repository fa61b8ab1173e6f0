# Libraries. Sources are found by wildcard: a new file needs no registration.
#
#   libmirari.a       lib/ and the portable devices
#   libmirari-unix.a  devices that need a host, and target/unix
#   libmirari-sim.a   target/sim

find_src = $(sort $(foreach d,$(1),$(wildcard $(d)/*.c) $(wildcard $(d)/*/*.c) $(wildcard $(d)/*/*/*.c)))

# Devices that call the host. Everything else in dev/ is portable.
DEV_HOSTED := dev/net/user dev/net/tap dev/net/packet dev/net/host dev/clock/host dev/entropy/host \
              dev/console/host dev/kv/dir dev/channel/memfd dev/channel/ivshmem_host

LIB_C   := $(call find_src,lib)
# lib/run/switch_<arch>.S and the like: one file per architecture.
LIB_S   := $(filter %_$(ARCH).S,$(wildcard lib/*/*.S))
DEV_H_C := $(call find_src,$(DEV_HOSTED))
DEV_P_C := $(filter-out $(DEV_H_C),$(call find_src,dev))
UNIX_C  := $(call find_src,target/unix)
SIM_C   := $(call find_src,target/sim)

objs = $(addprefix $(B)/$(1)/,$(patsubst %.S,%.o,$(patsubst %.c,%.o,$(2))))

define library_rules
# As lib/ (CFLAGS_LIB): no calls of a C library that the source does not show.
$(call objs,$(1),$(DEV_P_C)): EXTRA_CFLAGS += -fno-builtin
$(B)/$(1)/libmirari.a: $(call objs,$(1),$(LIB_C) $(LIB_S) $(DEV_P_C))
$(B)/$(1)/libmirari-unix.a: $(call objs,$(1),$(DEV_H_C) $(UNIX_C))
$(B)/$(1)/libmirari-sim.a: $(call objs,$(1),$(SIM_C))
LIBS_$(1) := $(B)/$(1)/libmirari-sim.a $(B)/$(1)/libmirari-unix.a $(B)/$(1)/libmirari.a
endef
$(foreach v,host asan replay fuzz,$(eval $(call library_rules,$(v))))

# Put in place when it is whole: whoever uses the one before is not disturbed.
$(B)/%.a:
	@mkdir -p $(@D)
	@$(if $(V),,echo "  AR $@")
	$(Q)rm -f $@.new && $(AR) rcsD $@.new $^ && mv -f $@.new $@

# Host libraries the unix target needs; kept in one place for the tool, tests and pkg-config.
HOST_LIBS := -lslirp -lseccomp -lglib-2.0

.PHONY: lib free freebsd
lib: $(LIBS_host) ## The libraries for this host

free: $(call objs,free,$(LIB_C) $(LIB_S)) ## Compile lib/ freestanding, without any system header

freebsd: $(call objs,freebsd,$(LIB_C)) ## Compile lib/ with FreeBSD kernel flags (clang)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
