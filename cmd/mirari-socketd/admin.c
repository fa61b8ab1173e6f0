/* SPDX-License-Identifier: ISC */
/* What the server tells about itself: interfaces, routes, sockets, counters.
 *
 * Lists are answered in pages that fit a message. A page begins where the number of the first entry
 * says; entries that come or go between two pages may be missed or told twice, as in /proc. A
 * socket has one number as long as it lives, so that those which live are all told: supervisors
 * forget the others.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <net/if.h>

#include "lib/net/internal.h"
#include "lib/net/net_state.h"

/** A page that is being filled. */
static struct {
    struct sock_page head;
    uint8_t entries[SOCK_MESSAGE_MAX - sizeof(struct sock_response) - sizeof(struct sock_page)];
} page;
static uint32_t page_at, page_size; /* number of the next entry; bytes of one */

static void page_begin(const struct sd_call *call, size_t size)
{
    memcpy(&page.head, call->body, sizeof page.head);
    page.head.next = page.head.count = 0;
    page_at = 0;
    page_size = (uint32_t)size;
}

static void page_add(const void *entry)
{
    uint32_t number = page_at++;
    if (number < page.head.start || page.head.next != 0)
        return;
    if ((page.head.count + 1) * page_size > sizeof page.entries) {
        page.head.next = number;
        return;
    }
    memcpy(page.entries + page.head.count++ * page_size, entry, page_size);
}

static int page_reply(struct sd_call *call)
{
    sd_reply(call, 0, &page, (uint32_t)sizeof page.head + page.head.count * page_size);
    return 0;
}

/* ---- interfaces, routes -----------------------------------------------------------------------
 */

static struct sock_iface iface;

static void add_address(void *arg, const struct mir_net_address *address)
{
    struct mir_endpoint ep = {.ip = address->ip};
    (void)arg;
    if (address->if_index != iface.index || iface.addr_count == SOCK_IFACE_ADDRS ||
        address->state == MIR_NET_ADDRESS_TENTATIVE || address->state == MIR_NET_ADDRESS_DUPLICATE)
        return;
    struct sock_iface_addr *to = &iface.addr[iface.addr_count++];
    sd_addr(mir_ip_is_v4(&ep.ip) ? AF_INET : AF_INET6, &ep, iface.index, &to->addr);
    to->prefix_len = address->prefix_len;
}

int sd_op_ifaces(struct sd_call *call)
{
    page_begin(call, sizeof iface);
    for (uint32_t i = 0; sd.net != NULL && i < sd.net->iface_count; i++) {
        const struct mir__iface *from = &sd.net->ifaces[i];
        iface = (struct sock_iface){
            .index = i + 1,
            .flags = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST,
            .mtu = from->mtu,
        };
        memcpy(iface.mac, from->mac, sizeof from->mac);
        mir_format(iface.name, sizeof iface.name, "%s",
                   i < sd.app->manifest->net_count ? sd.app->manifest->nets[i].name : "net");
        mir_net_each_address(sd.net, add_address, NULL);
        page_add(&iface);
    }
    return page_reply(call);
}

static void add_route(void *arg, const struct mir_net_route *route)
{
    struct mir_endpoint prefix = {.ip = route->prefix}, gateway = {.ip = route->gateway};
    uint16_t family = mir_ip_is_v4(&route->prefix) ? AF_INET : AF_INET6;
    struct sock_route to = {
        .prefix_len = route->prefix_len, .if_index = route->if_index, .metric = route->metric};
    (void)arg;
    sd_addr(family, &prefix, 0, &to.prefix);
    if (!mir_ip_is_any(&route->gateway))
        sd_addr(family, &gateway, route->if_index, &to.gateway);
    page_add(&to);
}

int sd_op_routes(struct sd_call *call)
{
    page_begin(call, sizeof(struct sock_route));
    if (sd.net != NULL)
        mir_net_each_route(sd.net, add_route, NULL);
    return page_reply(call);
}

/* ---- sockets, counters ------------------------------------------------------------------------
 */

static void add_socket(const struct sd_socket *s)
{
    struct sock_netstat to = {
        .handle_slot = (uint32_t)s->handle,
        .ino = s->ino,
        .domain = s->domain,
        .type = s->kind == SD_TCP ? SOCK_STREAM : SOCK_DGRAM,
        .state = (uint16_t)s->state,
        .pid = s->pid,
        .via = s->via,
        .bytes_in = s->bytes_in,
        .bytes_out = s->bytes_out,
        .dropped = s->dropped,
    };
    sd_names(s, &to.names);
    if (s->tcp != NULL) {
        struct mir_tcp_info info;
        mir_tcp_get_info(s->tcp, &info);
        to.tcp_state = info.state;
        to.send_queue = info.send_queue_bytes;
        to.recv_queue = info.recv_queue_bytes;
    } else if (s->state == SOCK_S_LISTENING) {
        to.tcp_state = MIR_TCP_S_LISTEN;
        to.send_queue = s->backlog;
        to.recv_queue = s->waiting_count;
    }
    page_add(&to);
}

int sd_op_netstat(struct sd_call *call)
{
    page_begin(call, sizeof(struct sock_netstat));
    for (uint32_t slot = page.head.start; slot < SD_SOCKETS_MAX; slot++) {
        const struct sd_socket *s = sd_socket_at(slot);
        page_at = slot;
        if (s != NULL && s->state != SOCK_S_ENDED)
            add_socket(s);
    }
    return page_reply(call);
}

static void add_stat(void *arg, const char *name, uint64_t value)
{
    struct sock_stat stat = {.value = value};
    (void)arg;
    mir_format(stat.name, sizeof stat.name, "%s", name);
    page_add(&stat);
}

void sd_stats(void (*line)(void *arg, const char *name, uint64_t value), void *arg)
{
    const struct sd_counters *c = &sd.count;
    const struct {
        const char *name;
        uint64_t value;
    } lines[] = {
        {"socket_live", sd.live},
        {"socket_ended", sd.ended_count},
        {"socket_adopted", c->adopted},
        {"socket_accepted", c->accepted},
        {"socket_refused", c->refused},
        {"socket_accept_overflow", c->accept_overflow},
        {"socket_connects", c->connects},
        {"socket_connect_failures", c->connect_failures},
        {"socket_resets_told", c->resets_told},
        {"socket_from_program_bytes", c->stream_in_bytes},
        {"socket_from_program_reads", c->stream_in_reads},
        {"socket_to_program_bytes", c->stream_out_bytes},
        {"socket_to_program_writes", c->stream_out_writes},
        {"socket_dgrams_from_program", c->dgrams_in},
        {"socket_dgrams_to_program", c->dgrams_out},
        {"socket_dgrams_dropped", c->dgrams_dropped},
        {"control_live", sd.control_count},
        {"control_connections", c->controls},
        {"control_refused", c->controls_refused},
        {"control_requests", c->requests},
        {"control_malformed", c->malformed},
        {"buffers_used", mir_pool_used(&sd.app->bufs->pool)},
        {"memory_used_bytes", mir_page_pool_used_bytes(sd.app->pages)},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(lines); i++)
        line(arg, lines[i].name, lines[i].value);
}

int sd_op_stats(struct sd_call *call)
{
    page_begin(call, sizeof(struct sock_stat));
    sd_stats(add_stat, NULL);
    sd.stack->ops->stats(sd.stack, add_stat, NULL);
    return page_reply(call);
}
