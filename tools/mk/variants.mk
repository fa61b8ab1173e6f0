# Variants: the same sources compiled for different purposes. Objects go to build/<variant>/<path>.o
#
#   host      libraries, tool, tests: gcc (or CC=clang-14), -O2
#   asan      the same under AddressSanitizer and UndefinedBehaviorSanitizer
#   fuzz      clang with libFuzzer; checksums are not verified (MIR_FUZZING)
#   free      lib/ only: -ffreestanding -nostdinc, compiled, not linked
#   freebsd   lib/ only: clang with FreeBSD kernel flags, compiled, not linked

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:

CC      := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
CLANG   ?= clang-14
AR      := $(if $(filter default undefined,$(origin AR)),ar,$(AR))
B       ?= build
ARCH    ?= $(shell uname -m)
CPPFLAGS_ALL := -Iinclude -I. -D_GNU_SOURCE
WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wcast-qual -Wundef -Wvla -Wpointer-arith \
        -Wwrite-strings -Wstrict-prototypes
# Set by .ci/run: warnings end the build there.
WERROR ?= $(if $(CI),-Werror)
CFLAGS_ALL := -std=gnu11 -g -fno-omit-frame-pointer -fno-strict-aliasing -fno-common \
              -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(CURDIR)/= $(WARN) $(WERROR)

CFLAGS_host    := -O2 $(CFLAGS_ALL) -fstack-protector-strong -fstack-clash-protection -ffunction-sections -fdata-sections
CFLAGS_asan    := -O1 $(CFLAGS_ALL) -fsanitize=address,undefined -fno-sanitize-recover=all -DMIR_DEBUG_BUILD=1
CFLAGS_fuzz    := -O1 $(CFLAGS_ALL) -fsanitize=fuzzer-no-link,address,undefined \
                  -fno-sanitize-recover=all -DMIR_DEBUG_BUILD=1 -DMIR_FUZZING=1
CFLAGS_replay  := $(CFLAGS_asan) -DMIR_FUZZING=1
CFLAGS_free    := -O2 $(CFLAGS_ALL) -ffreestanding -nostdinc \
                  -isystem $(shell $(CC) -print-file-name=include 2>/dev/null)
CFLAGS_freebsd := -O2 $(CFLAGS_ALL) --target=x86_64-unknown-freebsd14 -mcmodel=kernel -mno-red-zone \
                  -mno-mmx -mno-sse -msoft-float -ffreestanding -nostdinc \
                  -isystem $(shell $(CLANG) -print-resource-dir 2>/dev/null)/include
CC_host := $(CC)
CC_asan := $(CC)
CC_replay := $(CC)
CC_fuzz := $(CLANG)
CC_free := $(CC)
CC_freebsd := $(CLANG)
CPPFLAGS_free := -Iinclude -I.
CPPFLAGS_freebsd := -Iinclude -I.
LDFLAGS_host := -Wl,--gc-sections
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_replay := $(LDFLAGS_asan)
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined
# lib/ is held to a stricter set: silent truncation is where protocol bugs hide.
# Without -fno-builtin the compiler sees a strlen in a loop and calls one that lib/ does not have.
CFLAGS_LIB := -Wconversion -Wno-sign-conversion -fno-builtin

VARIANTS := host asan replay fuzz free freebsd

# One stamp per variant: objects are made again when compiler or flags change.
define variant_rules
$(B)/$(1)/.flags: FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$$(CC_$(1)) $$(CPPFLAGS_ALL) $$(CFLAGS_$(1)) $$(CFLAGS_LIB)' | cmp -s - $$@ || \
	  printf '%s\n' '$$(CC_$(1)) $$(CPPFLAGS_ALL) $$(CFLAGS_$(1)) $$(CFLAGS_LIB)' > $$@
$(B)/$(1)/lib/%.o: lib/%.c $(B)/$(1)/.flags
	@mkdir -p $$(@D)
	@$$(if $$(V),,echo "  CC $(1) $$<")
	$$(Q)$$(CC_$(1)) $$(or $$(CPPFLAGS_$(1)),$$(CPPFLAGS_ALL)) $$(CFLAGS_$(1)) $$(CFLAGS_LIB) $$(EXTRA_CFLAGS) -MMD -MP -c -o $$@ $$<
$(B)/$(1)/lib/%.o: lib/%.S $(B)/$(1)/.flags
	@mkdir -p $$(@D)
	@$$(if $$(V),,echo "  AS $(1) $$<")
	$$(Q)$$(CC_$(1)) $$(or $$(CPPFLAGS_$(1)),$$(CPPFLAGS_ALL)) $$(CFLAGS_$(1)) -MMD -MP -c -o $$@ $$<
$(B)/$(1)/%.o: %.c $(B)/$(1)/.flags
	@mkdir -p $$(@D)
	@$$(if $$(V),,echo "  CC $(1) $$<")
	$$(Q)$$(CC_$(1)) $$(CPPFLAGS_ALL) $$(CFLAGS_$(1)) $$(EXTRA_CFLAGS) -MMD -MP -c -o $$@ $$<
endef
Q := $(if $(V),,@)
$(foreach v,$(VARIANTS),$(eval $(call variant_rules,$(v))))

.PHONY: FORCE
FORCE:
