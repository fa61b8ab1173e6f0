# The simulator as a program: networks without an appliance, drawn ones, captures.

simtool: $(B)/mirari-sim
$(B)/mirari-sim: $(call objs,host,$(call find_src,cmd/mirari-sim) target/sim/platform.c) $(LIBS_host)
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_host) $(LDFLAGS_host) -o $@ $^ -Wl,--as-needed $(HOST_LIBS)
$(B)/asan/mirari-sim: $(call objs,asan,$(call find_src,cmd/mirari-sim) target/sim/platform.c) $(LIBS_asan)
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_asan) $(LDFLAGS_asan) -o $@ $^ -Wl,--as-needed $(HOST_LIBS)

SEED ?= 1
SEEDS ?= 1000
JOBS ?= 2
.PHONY: sim
sim: simtool ## Drawn networks in the simulator: SEED=first SEEDS=how many (1000) JOBS=processes
	$(Q)$(B)/mirari-sim seeds --seed $(SEED) --count $(SEEDS) --jobs $(JOBS) --out $(B)/failing.topo
