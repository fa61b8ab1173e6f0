# The `mirari` tool and the examples it builds.

TOOL_C := $(call find_src,cmd/mirari) $(call find_src,cmd/socket)
TOOL_LIBS := -lz -lbrotlienc -lcrypto

# How sources of an appliance are compiled and linked for target virt; target/virt/README.md.
VIRT_APP_CFLAGS  := -fPIE -ffreestanding -nostdinc -fstack-protector-strong -fno-asynchronous-unwind-tables \
                    -fno-unwind-tables $(CFLAGS_virt_$(ARCH))
VIRT_APP_LDFLAGS := -static-pie -nostdlib -Wl,--no-dynamic-linker -Wl,-z,text -Wl,-z,pack-relative-relocs \
                    -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack
# The same with the cross compiler; its linker does not pack relocations.
VIRT_APP_CFLAGS_aarch64  := $(filter-out $(CFLAGS_virt_$(ARCH)),$(VIRT_APP_CFLAGS)) $(CFLAGS_virt_aarch64)
VIRT_APP_LDFLAGS_aarch64 := $(filter-out %pack-relative-relocs,$(VIRT_APP_LDFLAGS))

.PHONY: all tool simtool examples demo clean doctor deps help
# The libraries of target virt only where there is a C library for it.
all: lib tool simtool $(if $(wildcard $(MUSL_INCLUDE)/string.h),virt) ## Libraries and the tool (default)

# The parts of the tool are a library too, for its tests. sdk-root tells a tool that is not installed
# where headers and templates are.
TOOL_TESTS := unit/conf_test unit/pack_test unit/test_parse_test unit/vm_control_test unit/confine_test fuzz/manifest_fuzz \
  fuzz/test_file_fuzz fuzz/vm_control_fuzz
define tool_rules
$(B)/$(1)/libtool.a: $(call objs,$(1),$(filter-out %/main.c,$(TOOL_C)))
$(B)/$(1)/cmd/mirari/build.o: EXTRA_CFLAGS = -DMIR_HOST_LIBS='"$$(HOST_LIBS)"' \
  -DMIR_VIRT_CFLAGS='"$$(VIRT_APP_CFLAGS)"' -DMIR_VIRT_LDFLAGS='"$$(VIRT_APP_LDFLAGS)"' \
  -DMIR_VIRT_CFLAGS_AARCH64='"$$(VIRT_APP_CFLAGS_aarch64)"' -DMIR_VIRT_LDFLAGS_AARCH64='"$$(VIRT_APP_LDFLAGS_aarch64)"' \
  -DMIR_MUSL_INCLUDE='"$$(MUSL_INCLUDE)"' -DMIR_MUSL_LIB='"$$(MUSL_LIB)"'
$(B)/$(1)/cmd/mirari/dash_page.o: $(wildcard cmd/mirari/dash/*)
$(B)/$(1)/cmd/mirari/main.o: EXTRA_CFLAGS = -DMIR_VERSION='"$$(VERSION)"'
$(addprefix $(B)/$(1)/test/,$(TOOL_TESTS)): $(B)/$(1)/libtool.a
$(addprefix $(B)/$(1)/test/,$(TOOL_TESTS)): PART_LIBS = $(LIBS_$(1)) $(TOOL_LIBS)
endef
$(foreach v,host asan replay fuzz,$(eval $(call tool_rules,$(v))))
$(B)/host/cmd/mirari/main.o: VERSION

tool: $(if $(TOOL_C),$(B)/mirari $(B)/sdk-root)
$(B)/mirari: $(B)/host/cmd/mirari/main.o $(B)/host/libtool.a $(B)/host/libmirari-unix.a $(B)/host/libmirari.a
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_host) $(LDFLAGS_host) -o $@.new $^ $(TOOL_LIBS) && mv -f $@.new $@
$(B)/sdk-root: FORCE
	@mkdir -p $(@D)
	@echo '$(CURDIR)' | cmp -s - $@ || echo '$(CURDIR)' > $@

EXAMPLES := $(patsubst examples/%/app.conf,%,$(wildcard examples/*/app.conf))
HAS_VIRT := $(wildcard $(MUSL_INCLUDE)/string.h)
TARGETS  := unix sim $(if $(HAS_VIRT),virt)
EXAMPLE_BUILDS := $(foreach t,$(TARGETS),$(foreach e,$(EXAMPLES),$(B)/examples/$(e)/$(t)/$(e)))

# The website example serves this project's own site, made from its documents. A page is rewritten only if
# it changed, so the first one, which stands for all, is touched.
SITE := examples/website/site/index.html
SITE_FROM := tools/make-site README.md CONTRIBUTING.md LICENSE $(wildcard docs/*.md docs/*/*.md docs/*.svg docs/site/*)
$(SITE): $(SITE_FROM)
	@$(if $(V),,echo "  SITE $(@D)")
	$(Q)tools/make-site $(@D) && touch $@

.PHONY: site
site: $(SITE) ## The project's site, into examples/website/site
$(filter $(B)/examples/website/%,$(EXAMPLE_BUILDS)): $(SITE)

examples: $(EXAMPLE_BUILDS) ## Build every example for every target
# The tool rebuilds only what changed, so it is always asked.
$(EXAMPLE_BUILDS): lib tool $(if $(HAS_VIRT),virt) FORCE
	$(Q)$(B)/mirari build -q -C examples/$(word 1,$(subst /, ,$(patsubst $(B)/examples/%,%,$@))) \
	  -t $(word 2,$(subst /, ,$(patsubst $(B)/examples/%,%,$@))) \
	  -o $(B)/examples/$(word 1,$(subst /, ,$(patsubst $(B)/examples/%,%,$@)))

deps: ## Install what building and running need (asks for root only if something is missing)
	@tools/deps build

demo: ## Install what is missing, build, run the website appliance
	@tools/deps build
	@$(MAKE) -j$(shell nproc) all site
	@# On a terminal Ctrl-C must reach the appliance only, else make complains of an interrupt: a job of its own.
	@if [ -t 0 ]; then set -m; fi; $(B)/mirari run -C examples/website -o $(B)/examples/website -p 8080:80

doctor: ## Say what this machine has and lacks
	@tools/deps status
	@if [ -x $(B)/mirari ]; then $(B)/mirari doctor; fi

clean: ## Remove everything that was made
	rm -rf $(B)

help: ## This list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort | \
	  awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'
