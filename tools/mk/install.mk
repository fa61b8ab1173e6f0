# Installation: the tool, man pages, headers, libraries, pkg-config file.

PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell cat VERSION)
I := $(DESTDIR)$(PREFIX)

.PHONY: install
install: all ## Install to PREFIX (/usr/local)
	install -d $(I)/bin $(I)/include/mirari $(I)/lib/mirari $(I)/lib/pkgconfig $(I)/share/mirari $(I)/share/man/man1 $(I)/share/man/man5 \
	  $(I)/share/bash-completion/completions
	install -m 755 $(B)/mirari $(I)/bin/mirari
	install -m 755 $(B)/mirari-socketd $(I)/bin/mirari-socketd
	install -m 644 $(B)/libmirari-socket.so $(I)/lib/mirari/libmirari-socket.so
	install -m 644 include/mirari/*.h $(I)/include/mirari
	install -m 644 $(LIBS_host) $(I)/lib/mirari
	if [ -e $(B)/virt/libmirari-virt.a ]; then install -d $(I)/lib/mirari/virt && \
	  install -m 644 $(LIBS_virt) target/virt/$(ARCH)/image.lds $(I)/lib/mirari/virt; fi
	if [ -e $(B)/virt-aarch64/libmirari-virt.a ]; then install -d $(I)/lib/mirari/virt-aarch64 && \
	  install -m 644 $(LIBS_virt-aarch64) target/virt/aarch64/image.lds $(I)/lib/mirari/virt-aarch64; fi
	if [ -e $(B)/musl-aarch64/lib/libc.a ]; then install -d $(I)/lib/mirari/musl-aarch64/lib && \
	  install -m 644 $(B)/musl-aarch64/lib/libc.a $(I)/lib/mirari/musl-aarch64/lib && \
	  cp -r $(B)/musl-aarch64/include $(I)/lib/mirari/musl-aarch64/; fi
	cp -r tools/templates $(I)/share/mirari/
	install -m 644 docs/man/*.1 $(I)/share/man/man1
	install -m 644 docs/man/*.5 $(I)/share/man/man5
	install -m 644 tools/completion/mirari $(I)/share/bash-completion/completions/mirari
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(HOST_LIBS)|' tools/mirari.pc.in > $(I)/lib/pkgconfig/mirari.pc
