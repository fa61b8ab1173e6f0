/* SPDX-License-Identifier: ISC */
/* One DHCP lease for several workers: worker 0 has the client, the others follow it.
 *
 *   server <── worker 0 ── LEASE ──> monitor ── LEASE ──> workers 1 .. N-1
 *                                       └ keeps it ── LEASE ──> whoever is started next
 *
 * A lease is of a network card, and the card is one; two clients with one identity would each throw
 * away the answers to the other. So one asks, renews, probes and defends, and tells what it has got
 * as bytes (mir_net_copy_lease()): every time they change, and with nothing in them when the
 * address is lost. The others take address, routes, MTU and name servers from them and give all up
 * at the end of the lease by themselves, should nothing come any more.
 *
 * The monitor passes the bytes on without looking into them, and keeps the last ones. A worker that
 * is started has them before its first frame. Worker 0 goes on with the lease then and asks whether
 * it still holds (INIT-REBOOT), so its end costs nobody the address. One that replaces it follows
 * until the taps are its own, and leads from then on; the old one follows from when it leaves.
 *
 * The host gives a frame to any worker. Answers of servers are passed to worker 0 (dev/net/share),
 * as are ARP requests of somebody else who says to have our address, for which it is told the
 * address here.
 *
 * With several workers the lease is not released at the end: the others may have connections when
 * worker 0 ends.
 */
#include <string.h>

#include <mirari/log.h>

#include "dev/net/share/share.h"
#include "target/unix/workers.h"

#define RETRY_US (50 * MIR_US_PER_MS)

static bool has_dhcp(const struct mir__unix_net *net)
{
    return net->config.use_dhcp && net->dev != NULL && !net->is_detached;
}

static struct mir__handover *find_lease(struct mir__worker *w, const char *name)
{
    for (uint32_t i = 0; i < w->lease_count; i++) {
        if (strcmp(w->leases[i].name, name) == 0)
            return &w->leases[i];
    }
    return NULL;
}

/* ---- the start --------------------------------------------------------------------------------
 */

void mir__follow_begin(struct mir__worker *w)
{
    w->is_leading = w->index == 0 && !w->is_second;
}

int mir__follow_keep(struct mir__worker *w, const struct mir__handover *m)
{
    if (w->lease_count == MIR_APP_NETS_MAX || find_lease(w, m->name) != NULL)
        return -MIR_EPROTO;
    w->leases[w->lease_count++] = *m;
    return 0;
}

void mir__follow_configure(struct mir__unix *u, struct mir__unix_net *net)
{
    struct mir__worker *w = u->worker;
    if (w == NULL || !net->config.use_dhcp)
        return;
    const struct mir__handover *lease = find_lease(w, net->options->name);
    net->config.dhcp_follows = !w->is_leading;
    net->config.dhcp_keep = net->config.dhcp_keep || w->count > 1;
    net->config.dhcp_lease = lease != NULL ? lease->lease : NULL;
    net->config.dhcp_lease_len = lease != NULL ? lease->lease_len : 0;
}

/* ---- running ----------------------------------------------------------------------------------
 */

void mir__follow_take(struct mir__unix *u, const struct mir__handover *m)
{
    for (uint32_t i = 0; i < u->options.net_count && !u->worker->is_leading; i++) {
        if (strcmp(u->options.net[i].name, m->name) != 0 || !has_dhcp(&u->nets[i]))
            continue;
        int r = mir_net_follow_lease(u->net, i + 1, m->lease, m->lease_len);
        if (r < 0)
            MIR_LOG(TARGET, WARN, "the lease of %s is not used: %s", m->name, mir_strerror(r));
    }
}

void mir__follow_lead(struct mir__unix *u, bool leads)
{
    struct mir__worker *w = u->worker;
    w->is_leading = leads && w->index == 0;
    for (uint32_t i = 0; i < u->options.net_count && u->net != NULL; i++) {
        if (has_dhcp(&u->nets[i]) && mir_net_lead_lease(u->net, i + 1, w->is_leading) < 0)
            MIR_LOG(TARGET, ERROR, "the lease of %s has no client", u->options.net[i].name);
    }
    mir__lease_lock(u);
    if (u->app.stack != NULL)
        mir_wait_wake_all(&u->app.stack->address_ready); /* what we have is told again */
}

void mir__follow_detach(struct mir__unix *u, uint32_t index)
{
    if (!u->nets[index].config.use_dhcp || mir_net_lead_lease(u->net, index + 1, false) < 0 ||
        mir_net_follow_lease(u->net, index + 1, NULL, 0) < 0)
        return;
    u->worker->told[index].lease_len = 0;
}

void mir__follow_attach(struct mir__unix *u, uint32_t index)
{
    if (u->nets[index].config.use_dhcp &&
        mir_net_lead_lease(u->net, index + 1, u->worker->is_leading) < 0)
        MIR_LOG(TARGET, ERROR, "the lease of %s has no client", u->options.net[index].name);
}

/* Whose address is watched for others who say to have it. */
static void claim(const struct mir__unix *u, uint32_t index)
{
    struct mir_net_lease lease;
    bool has_one = mir_net_get_lease(u->net, index + 1, &lease) == 0;
    if (u->nets[index].share != NULL)
        mir_share_claim(u->nets[index].share, has_one ? mir_ip_to_v4(&lease.ip) : 0);
}

/* False: the monitor's socket is full. */
static bool tell(struct mir__unix *u, uint32_t index)
{
    struct mir__handover *told = &u->worker->told[index];
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_LEASE);
    size_t len = 0;
    if (mir_net_copy_lease(u->net, index + 1, m.lease, &len) < 0)
        memset(m.lease, 0, sizeof m.lease);
    m.lease_len = (uint16_t)len;
    strncpy(m.name, u->options.net[index].name, sizeof m.name - 1);
    if (m.lease_len == told->lease_len && memcmp(m.lease, told->lease, len) == 0)
        return true;
    int r = mir__handover_send(MIR__WORKER_FD, &m, -1);
    if (r == -MIR_EAGAIN)
        return false;
    *told = m; /* a monitor that is gone need not be told */
    return true;
}

void mir__follow_task(void *arg)
{
    struct mir__unix *u = arg;
    int r;
    do {
        bool is_late = false;
        for (uint32_t i = 0; i < u->options.net_count; i++) {
            if (!has_dhcp(&u->nets[i]))
                continue;
            claim(u, i);
            is_late |= u->worker->is_leading && !tell(u, i);
        }
        mir_time_us until_us = is_late ? mir_loop_now(&u->loop) + RETRY_US : MIR_TIME_NEVER;
        r = mir_wait_on(&u->loop, &u->app.stack->address_ready, until_us);
    } while (r == 0 || r == -MIR_ETIMEDOUT);
}
