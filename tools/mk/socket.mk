# The socket server: mirari-socketd, an appliance beside the tool.

SOCKETD_C := $(call find_src,cmd/mirari-socketd)

define socketd_rules
$(B)/$(1)/libsocketd.a: $(call objs,$(1),$(filter-out %/main.c,$(SOCKETD_C)))
endef
$(foreach v,host asan replay fuzz,$(eval $(call socketd_rules,$(v))))

tool: $(B)/mirari-socketd
$(B)/mirari-socketd: $(B)/host/cmd/mirari-socketd/main.o $(B)/host/libsocketd.a $(B)/host/libmirari-unix.a $(B)/host/libmirari.a
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_host) $(LDFLAGS_host) -o $@ $^ -Wl,--as-needed $(HOST_LIBS)
$(B)/asan/mirari-socketd: $(B)/asan/cmd/mirari-socketd/main.o $(B)/asan/libsocketd.a $(B)/asan/libmirari-unix.a $(B)/asan/libmirari.a
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_asan) $(LDFLAGS_asan) -o $@ $^ -Wl,--as-needed $(HOST_LIBS)

define socketd_fuzz_rules
$(B)/$(1)/test/fuzz/socket_control_fuzz: $(B)/$(1)/libsocketd.a
$(B)/$(1)/test/fuzz/socket_control_fuzz: PART_LIBS = $(LIBS_$(1))
endef
$(foreach v,replay fuzz,$(eval $(call socketd_fuzz_rules,$(v))))
