# libmirari-socket.so: sockets of our stack in a program that nobody rebuilt (LD_PRELOAD).
#
# A test is linked with its objects: functions of a program come before those of the C library just
# as preloaded ones do, also under AddressSanitizer. Not an archive: the C library has all the names.

PRELOAD_C := $(call find_src,cmd/mirari-socket-preload) $(call find_src,cmd/socket)

define preload_rules
$(B)/$(1)/test/unit/socket_preload_test: $(call objs,$(1),$(PRELOAD_C))
endef
$(foreach v,host asan,$(eval $(call preload_rules,$(v))))

.PHONY: socket-preload
socket-preload: $(B)/libmirari-socket.so ## The library of `mirari socket run --via preload`
all: socket-preload
$(B)/libmirari-socket.so: $(call objs,pic,$(PRELOAD_C))
	@$(if $(V),,echo "  LD $@")
	$(Q)$(CC_pic) -shared -Wl,--gc-sections -Wl,-z,defs -Wl,-z,now -Wl,-Bsymbolic-functions \
	  -Wl,-soname,libmirari-socket.so -o $@ $^
