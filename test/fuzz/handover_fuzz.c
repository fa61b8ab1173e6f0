/* SPDX-License-Identifier: ISC */
/* Fuzzes the messages between monitor, workers and tool: the first byte says who reads and how many
 * descriptors came, the rest is laid over a good message, so that most inputs get far. What is
 * believed must hold together, and the words of a network that is attached must come to an end. */
#include <stdlib.h>
#include <string.h>

#include "target/unix/workers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const struct mir_manifest mir_manifest = {.name = "fuzz", .version = "1"};

int mir_app_main(struct mir_app *app)
{
    (void)app;
    return 0;
}

static void check_believed(const struct mir__handover *m)
{
    if (strlen(m->name) >= sizeof m->name || strlen(m->ifname) >= sizeof m->ifname ||
        strlen(m->text) >= sizeof m->text || m->status > 0)
        abort();
    if (m->kind == MIR__HANDOVER_DEVICE && (m->mtu < 576 || m->mac[0] & 1))
        abort();
    if (m->lease_len > (m->kind == MIR__HANDOVER_LEASE ? sizeof m->lease : 0))
        abort();
    if (m->kind == MIR__HANDOVER_CHANNEL && m->type > MIR_RPC_FULL)
        abort();
}

static void describe(const struct mir__handover *m)
{
    static struct mir__unix u;
    char error[MIR__ERROR_MAX] = "";
    u.options.net_count = 0;
    int r = mir__worker_describe(&u, m, error);
    const struct mir__app_net *net = &u.options.net[0];
    if (r < 0 ? error[0] == '\0' || u.options.net_count != 0 : r != 0 || u.options.net_count != 1)
        abort();
    if (r == 0 &&
        (net->address_count > MIR__APP_ADDRESSES_MAX || net->route_count > MIR__APP_ROUTES_MAX ||
         strcmp(net->name, m->name) != 0 || (net->has_ip && net->use_dhcp)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_DEVICE);
    if (size < 2)
        return 0;
    enum mir__handover_side side = (enum mir__handover_side)(data[0] & 3);
    unsigned fds = data[0] >> 2 & 3;
    m.type = MIR__HANDOVER_TAP;
    m.mtu = 1500;
    memcpy(m.name, "net0", 5);
    memcpy(m.ifname, "tap7", 5);
    m.kind = (uint16_t)(data[1] % MIR__HANDOVER_KINDS);
    size_t len = size - 2, at = offsetof(struct mir__handover, type);
    if (data[0] & 0x10)
        at = 0;
    else if (data[0] & 0x20)
        at = offsetof(struct mir__handover, text);
    len = MIR_MIN(len, sizeof m - at);
    memcpy((uint8_t *)&m + at, data + 2, len);
    if (mir__handover_check(&m, data[0] & 0x40 ? at + len : sizeof m, fds, side) < 0)
        return 0;
    check_believed(&m);
    if (m.kind == MIR__HANDOVER_DEVICE || m.kind == MIR__HANDOVER_ATTACH)
        describe(&m);
    return 0;
}
