# Target virt: lib/, the portable devices and target/virt, for a machine with nothing under it.
#
#   $(B)/virt/libmirari.a        lib/ and the portable devices
#   $(B)/virt/libmirari-virt.a   target/virt and target/virt/$(ARCH)
#   $(B)/virt-aarch64/...        the same for aarch64, by Debian's cross compiler
#
# The C library is Debian's musl: its headers instead of the host's, and the pure functions of its libc.a. That of
# aarch64 is a package of an architecture that this system need not know: tools/musl-cross takes it apart into
# $(B)/musl-aarch64. Without it images link as well, if their application needs no C library.
#
# Position-independent, because the image moves itself to a random address. Interrupts use the stack
# they find, so nothing may be kept below the stack pointer. Call chains are followed by frame pointers;
# what debuggers unwind by is not loaded. target/virt/README.md has the link line.

MUSL_INCLUDE ?= /usr/include/$(ARCH)-linux-musl
MUSL_LIB     ?= /usr/lib/$(ARCH)-linux-musl
CROSS_aarch64 ?= $(if $(filter aarch64,$(ARCH)),,aarch64-linux-gnu-)
CFLAGS_virt_x86_64  := -mno-red-zone -fcf-protection=none
CFLAGS_virt_aarch64 := -mstack-protector-guard=global -mno-outline-atomics

# Code is made small; some compilers know one more step, which takes off another hundredth.
VIRT_SIZE := $(shell $(CC) -Werror -Oz -x c -c -o /dev/null /dev/null 2>/dev/null && echo -Oz || echo -Os)

# What makes code of gcc smaller and no slower; another compiler goes without.
VIRT_SMALL := -falign-functions=1 -falign-jumps=1 -falign-loops=1 -freorder-blocks-algorithm=simple -fno-tree-vectorize
VIRT_SMALL_x86_64 := $(shell $(CC) -Werror $(VIRT_SMALL) -x c -c -o /dev/null /dev/null 2>/dev/null && echo '$(VIRT_SMALL)')

# An image is made small, but for what runs for every packet or request.
VIRT_HOT := $(wildcard lib/page/*.c lib/ring/*.c lib/run/*.c lib/wire/csum*.c dev/net/vnet/*.c) lib/base/siphash.c \
  $(addprefix lib/wire/,eth.c ip4.c tcp.c udp.c) $(addprefix lib/net/,ip.c ip4.c udp_input.c udp_output.c) \
  $(addprefix lib/net/tcp/,ack.c input.c output.c options.c queues.c recvq.c sendq.c table.c viewq.c window.c) \
  $(addprefix lib/http/,conn.c out.c parse.c ready.c) $(addprefix lib/dns/auth,.c _ask.c _find.c _ready.c) $(addprefix dev/net/virtio/,rx.c tx.c)

# $(1) variant, $(2) architecture, $(3) compiler, $(4) archiver, $(5) headers of the C library
define virt_rules
CFLAGS_$(1) := $(VIRT_SIZE) $(CFLAGS_ALL) -fPIE -ffreestanding -nostdinc \
               -isystem $(shell $(3) -print-file-name=include 2>/dev/null) -isystem $(5) \
               -fno-asynchronous-unwind-tables -fno-unwind-tables \
               -fstack-protector-strong -ffunction-sections -fdata-sections $(CFLAGS_virt_$(2)) $(VIRT_SMALL_$(2))
CC_$(1) := $(3)
$$(eval $$(call variant_rules,$(1)))
$(B)/$(1)/%.o: %.S $(B)/$(1)/.flags
	@mkdir -p $$(@D)
	@$$(if $$(V),,echo "  AS $(1) $$<")
	$$(Q)$$(CC_$(1)) $$(CPPFLAGS_ALL) $$(CFLAGS_$(1)) -MMD -MP -c -o $$@ $$<

$$(call objs,$(1),$(DEV_P_C)): EXTRA_CFLAGS += -fno-builtin
$$(call objs,$(1),$(VIRT_HOT) target/virt/poll.c target/virt/net.c \
  $(filter %/irq.c %/clock.c,$(wildcard target/virt/$(2)/*.c))): EXTRA_CFLAGS += -O2
# It sets the canary up; handlers of interrupts and exceptions do not save vector registers.
$(B)/$(1)/target/virt/$(2)/boot.o: EXTRA_CFLAGS += -fno-stack-protector
$(B)/$(1)/target/virt/$(2)/irq.o $(B)/$(1)/target/virt/$(2)/traps.o: EXTRA_CFLAGS += -mgeneral-regs-only
$(B)/$(1)/libmirari.a $(B)/$(1)/libmirari-virt.a: AR := $(4)
$(B)/$(1)/libmirari.a: $$(call objs,$(1),$(LIB_C) $(filter %_$(2).S,$(wildcard lib/*/*.S)) $(DEV_P_C))
$(B)/$(1)/libmirari-virt.a: $$(call objs,$(1),$(sort $(wildcard target/virt/*.c target/virt/$(2)/*.c target/virt/$(2)/*.S)))
LIBS_$(1) := $(B)/$(1)/libmirari-virt.a $(B)/$(1)/libmirari.a
endef
$(eval $(call virt_rules,virt,$(ARCH),$(CC),$(AR),$(MUSL_INCLUDE)))
$(eval $(call virt_rules,virt-aarch64,aarch64,$(CROSS_aarch64)gcc,$(CROSS_aarch64)ar,$(abspath $(B))/musl-aarch64/include))

.PHONY: virt virt-aarch64 musl-aarch64
virt: $(LIBS_virt) ## The libraries of target virt
virt-aarch64: $(LIBS_virt-aarch64) ## The same for aarch64 (cross compiler)

musl-aarch64: ## musl for aarch64, from Debian's package, into the build folder
	@tools/musl-cross arm64 $(B)/musl-aarch64
