# Target virt: lib/, the portable devices and target/virt, for a machine with nothing under it.
#
#   $(B)/virt/libmirari.a        lib/ and the portable devices
#   $(B)/virt/libmirari-virt.a   target/virt and target/virt/$(ARCH)
#
# The C library is Debian's musl: its headers instead of the host's, and the pure functions of its libc.a.
# Position-independent, because the image moves itself to a random address. Interrupts use the stack
# they find, so nothing may be kept below the stack pointer. target/virt/README.md has the link line.

MUSL_INCLUDE ?= /usr/include/$(ARCH)-linux-musl
MUSL_LIB     ?= /usr/lib/$(ARCH)-linux-musl
CFLAGS_virt_x86_64  := -mno-red-zone -fcf-protection=none
CFLAGS_virt_aarch64 := -mstack-protector-guard=global
CFLAGS_virt := -O2 $(CFLAGS_ALL) -fPIE -ffreestanding -nostdinc \
               -isystem $(shell $(CC) -print-file-name=include 2>/dev/null) -isystem $(MUSL_INCLUDE) \
               -fstack-protector-strong -ffunction-sections -fdata-sections $(CFLAGS_virt_$(ARCH))
CC_virt := $(CC)
$(eval $(call variant_rules,virt))
$(B)/virt/%.o: %.S $(B)/virt/.flags
	@mkdir -p $(@D)
	@$(if $(V),,echo "  AS virt $<")
	$(Q)$(CC_virt) $(CPPFLAGS_ALL) $(CFLAGS_virt) -MMD -MP -c -o $@ $<

VIRT_C := $(sort $(wildcard target/virt/*.c target/virt/$(ARCH)/*.c))
VIRT_S := $(sort $(wildcard target/virt/$(ARCH)/*.S))

$(call objs,virt,$(DEV_P_C)): EXTRA_CFLAGS += -fno-builtin
# It sets the canary up.
$(B)/virt/target/virt/$(ARCH)/boot.o: EXTRA_CFLAGS += -fno-stack-protector
$(B)/virt/libmirari.a: $(call objs,virt,$(LIB_C) $(LIB_S) $(DEV_P_C))
$(B)/virt/libmirari-virt.a: $(call objs,virt,$(VIRT_C) $(VIRT_S))
LIBS_virt := $(B)/virt/libmirari-virt.a $(B)/virt/libmirari.a

.PHONY: virt
virt: $(LIBS_virt) ## The libraries of target virt
