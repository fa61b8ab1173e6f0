# Mirari: a library operating system in C. `make help` lists what can be made.
.DEFAULT_GOAL := all
include tools/mk/variants.mk
include tools/mk/lib.mk
include tools/mk/virt.mk
include tools/mk/tool.mk
include tools/mk/sim.mk
include tools/mk/packetdrill.mk
include tools/mk/socket.mk
include tools/mk/preload.mk
include tools/mk/proof.mk
include tools/mk/test.mk
include tools/mk/check.mk
include tools/mk/install.mk
