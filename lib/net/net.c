/* SPDX-License-Identifier: ISC */
/* The stack object: open, close, interfaces, statistics, and the mir_stack operations.
 *
 * The object lives in a page run of its own; tables and pools take theirs from the same page pool
 * as they grow, each with a limit. mir_net_close() gives everything back: connections are aborted
 * first, while frames can still leave, then leases are released, devices stopped, tables emptied.
 */
#include "lib/net/net_state.h"

#include <mirari/format.h>

bool mir__net_may_choose(const struct mir_net *net, uint16_t port)
{
    return net->port_shares <= 1 || port % net->port_shares == net->port_share;
}

struct mir__tcp_state *mir__net_tcp(struct mir_net *net)
{
    return net->tcp;
}

void mir__net_set_tcp(struct mir_net *net, struct mir__tcp_state *state)
{
    net->tcp = state;
}

struct mir_rng *mir__net_rng(struct mir_net *net)
{
    return net->rng;
}

struct mir_net *mir__net_of_stack(struct mir_stack *stack)
{
    return MIR_CONTAINER_OF(stack, struct mir_net, stack);
}

struct mir__net_counters *mir__net_counters(struct mir_net *net)
{
    return &net->counters;
}

struct mir_stack *mir_net_stack(struct mir_net *net)
{
    return &net->stack;
}

/* ---- operations of the stack ---------------------------------------------------------------- */

typedef void (*line_fn)(void *arg, const char *name, uint64_t value);

static void put_device_stats(const struct mir__iface *iface, line_fn line, void *arg)
{
    struct mir_net_dev_stats stats = {0};
    char name[40];
    if (iface->dev->ops->stats != NULL)
        mir_net_dev_stats(iface->dev, &stats);
    const struct {
        const char *name;
        uint64_t value;
    } lines[] = {
        {"rx_frames", stats.rx_frames},   {"rx_bytes", stats.rx_bytes},
        {"rx_dropped", stats.rx_dropped}, {"rx_errors", stats.rx_errors},
        {"tx_frames", stats.tx_frames},   {"tx_bytes", stats.tx_bytes},
        {"tx_dropped", stats.tx_dropped}, {"tx_errors", stats.tx_errors},
        {"tx_full", stats.tx_full},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(lines); i++) {
        mir_format(name, sizeof name, "dev%u_%s", iface->index, lines[i].name);
        line(arg, name, lines[i].value);
    }
}

void mir__net_put_counters(const char *names, const uint64_t *values, size_t count, line_fn line,
                           void *arg)
{
    for (size_t i = 0; i < count; i++) {
        line(arg, names, values[i]);
        names += mir_str_len(names) + 1;
    }
}

static void put_stats(struct mir_stack *stack, line_fn line, void *arg)
{
    struct mir_net *net = mir__net_of_stack(stack);
    static const char names[] =
#define MIR__X(name) #name "\0"
        MIR__NET_COUNTERS(MIR__X);
#undef MIR__X
    mir__net_put_counters(names, (const uint64_t *)&net->counters,
                          sizeof net->counters / sizeof(uint64_t), line, arg);
    line(arg, "arp_entries", mir_pool_used(&net->neigh.pool) - net->neigh.v6_count);
    line(arg, "nd_entries", net->neigh.v6_count);
    line(arg, "addresses", mir_pool_used(&net->ifaddr.pool));
    line(arg, "groups", mir_pool_used(&net->group.pool));
    line(arg, "routes", mir_pool_used(&net->route.pool));
    line(arg, "path_mtus", net->pmtu.count);
    line(arg, "reassembly_datagrams", net->reass.count);
    line(arg, "reassembly_bytes", net->reass.bytes);
    line(arg, "udp_sockets", mir_pool_used(&net->udp.sockets));
    line(arg, "buffers_used", mir_pool_used(&net->bufs->pool));
    line(arg, "page_bytes_used", mir_page_pool_used_bytes(net->pages));
    for (uint32_t i = 0; i < net->iface_count; i++)
        put_device_stats(&net->ifaces[i], line, arg);
    mir__tcp_stats(net, line, arg);
}

/* How good is it to tell as the address of the stack? IPv4 before IPv6, link-local last, and not at
 * all where DHCP is still to tell a better one. */
static int rank_of(const struct mir__ifaddr *addr)
{
    if (addr->is_v4 || !mir__ip6_is_link_local(&addr->ip))
        return addr->is_v4 ? 3 : 2;
    return addr->iface->dhcp.state == MIR__DHCP_OFF ? 1 : 0;
}

/* The best that is usable; of equals the first. */
static void get_address(struct mir_stack *stack, struct mir_ip *ip)
{
    const struct mir_net *net = mir__net_of_stack(stack);
    int best = 0;
    *ip = mir_ip_from_v4(0);
    for (uint32_t i = 0; i < net->iface_count; i++) {
        mir_list_for_each (node, &net->ifaces[i].addresses) {
            const struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
            int rank = rank_of(addr);
            if (rank <= best || !mir__ifaddr_is_usable(addr))
                continue;
            best = rank;
            *ip = addr->ip;
        }
    }
}

static bool is_group(const struct mir_net *net, const struct mir_ip *ip)
{
    if (!mir_ip_is_v4(ip))
        return mir__ip6_is_multicast(ip);
    uint32_t addr = mir_ip_to_v4(ip);
    bool is_group = mir__ip4_is_multicast(addr) || addr == UINT32_MAX;
    for (uint32_t i = 0; i < net->iface_count; i++)
        is_group |= mir__ifaddr_is_broadcast(&net->ifaces[i], addr);
    return is_group;
}

static uint32_t get_dns_servers(struct mir_stack *stack, struct mir_ip *out, uint32_t max)
{
    return (uint32_t)mir_net_dns_servers(mir__net_of_stack(stack), out, max);
}

static uint32_t get_dns_domains(struct mir_stack *stack, const char **out, uint32_t max)
{
    return mir__dnsinfo_domains(mir__net_of_stack(stack), out, max);
}

/* DHCP goes on asking; a router that did not answer the first question is hardly there, and one
 * that is has said what it knows, unless it sends us on to DHCPv6. */
static bool dns_may_come(struct mir_stack *stack)
{
    struct mir_net *net = mir__net_of_stack(stack);
    for (uint32_t i = 0; i < net->iface_count; i++) {
        const struct mir__iface *iface = &net->ifaces[i];
        bool is_auto = iface->ip6_mode == MIR_IP6_AUTO;
        if (iface->dhcp.state != MIR__DHCP_OFF || (is_auto && iface->dhcp6.is_asking) ||
            (is_auto && !iface->nd6.has_router && iface->nd6.rs_sent < 2))
            return true;
    }
    return false;
}

/* One connection has one other end: groups are refused (RFC 9293 section 3.9.2.3, MUST-46). */
static int tcp_connect(struct mir_stack *stack, const struct mir_endpoint *remote,
                       mir_tcp_handler_fn handler, void *arg, struct mir_tcp **tcp)
{
    if (is_group(mir__net_of_stack(stack), &remote->ip))
        return -MIR_ENETUNREACH;
    return mir__tcp_connect(stack, remote, handler, arg, tcp);
}

static const struct mir_stack_ops stack_ops = {
    .kind = "direct",
    .tcp_listen = mir__tcp_listen,
    .tcp_unlisten = mir__tcp_unlisten,
    .tcp_connect = tcp_connect,
    .tcp_connect_data = mir__tcp_connect_data,
    .udp_open = mir__udp_open,
    .stats = put_stats,
    .address = get_address,
    .dns_servers = get_dns_servers,
    .dns_domains = get_dns_domains,
    .dns_may_come = dns_may_come,
    .next_flows = mir__net_next_flows,
};

/* ---- open and close ------------------------------------------------------------------------- */

static void on_step_end(void *arg)
{
    mir__iface_flush_all(arg);
}

/* Posted only so that a step with its hooks takes place. */
static void on_flush_work(void *arg)
{
    (void)arg;
}

static void init_fields(struct mir_net *net, const struct mir_net_config *config,
                        struct mir_io_page *page)
{
    mir_memset(net, 0, sizeof *net);
    net->stack.ops = &stack_ops;
    net->stack.loop = config->loop;
    net->stack.pages = config->pages;
    net->stack.bufs = config->bufs;
    net->loop = config->loop;
    net->pages = config->pages;
    net->bufs = config->bufs;
    net->rng = config->rng;
    net->port_share = config->port_share;
    net->port_shares = config->port_shares;
    net->page = page;
    net->route_generation = 1;
    net->ip_id = (uint16_t)mir_rng_u32(config->rng);
    net->ip6_id = mir_rng_u32(config->rng);
    net->ip_id_key = mir_rng_u32(config->rng);
    net->icmp.tokens = MIR__ICMP_BURST;
    net->icmp.filled_us = mir_loop_now(config->loop);
    net->flush_hook.run = on_step_end;
    net->flush_hook.arg = net;
    mir_list_init(&net->taps);
    mir_wait_init(&net->stack.address_ready);
    mir_wait_init(&net->stack.tx_ready);
    mir_work_init(&net->flush_work, on_flush_work, net);
    mir__self_init(net);
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

/* Addresses, groups, routes and path MTUs. What fails leaves nothing behind. */
static int open_tables(struct mir_net *net, const struct mir_net_config *config)
{
    int r = mir__ifaddr_init(net, or_default(config->addresses_max, 128));
    if (r < 0)
        return r;
    r = mir__group_init(net, or_default(config->groups_max, 256));
    if (r < 0)
        return r;
    r = mir__route_init(net, or_default(config->routes_max, 256));
    if (r < 0)
        return r;
    r = mir__pmtu_init(net, or_default(config->path_mtu_entries_max, 1024));
    if (r < 0)
        mir__route_fini(net);
    return r;
}

static void close_tables(struct mir_net *net)
{
    mir__ifaddr_fini(net);
    mir__group_fini(net);
    mir__pmtu_fini(net);
    mir__route_fini(net);
}

int mir_net_open(const struct mir_net_config *config, struct mir_net **out)
{
    struct mir_io_page *page;
    if (config->loop == NULL || config->pages == NULL || config->bufs == NULL ||
        config->rng == NULL)
        return -MIR_EINVAL;
    int r = mir_page_alloc(config->pages, sizeof(struct mir_net), MIR_PAGE_OVERWRITE, &page);
    if (r < 0)
        return r;
    struct mir_net *net = (struct mir_net *)(void *)page->base;
    init_fields(net, config, page);
    r = open_tables(net, config);
    if (r < 0)
        goto err_page;
    r = mir__neigh_init(net, or_default(config->arp_entries_max, 1024));
    if (r < 0)
        goto err_tables;
    r = mir__reass_init(net, or_default(config->reassembly_max_bytes, 1u << 20));
    if (r < 0)
        goto err_neigh;
    r = mir__udp_init(net, config);
    if (r < 0)
        goto err_reass;
    r = mir__tcp_init(net, config);
    if (r < 0)
        goto err_udp;
    /* Behind TCP's hook: what TCP sends at the end of a step leaves in the same step. */
    mir_loop_add_step_hook(net->loop, &net->flush_hook);
    *out = net;
    return 0;
err_udp:
    mir__udp_fini(net);
err_reass:
    mir__reass_fini(net);
err_neigh:
    mir__neigh_fini(net);
err_tables:
    close_tables(net);
err_page:
    mir_page_release(page);
    return r;
}

void mir_net_close(struct mir_net *net)
{
    mir__tcp_fini(net);
    for (uint32_t i = 0; i < net->iface_count; i++) {
        mir__dhcp_stop(&net->ifaces[i]);
        mir__linklocal4_stop(&net->ifaces[i]);
    }
    mir__udp_fini(net);
    /* Groups are left and routers told while frames can still go. */
    for (uint32_t i = 0; i < net->iface_count; i++) {
        if (net->ifaces[i].ip6_mode != MIR_IP6_OFF)
            mir__nd6_iface_stop(&net->ifaces[i]);
    }
    mir__ifaddr_fini(net);
    mir__group_fini(net);
    mir__iface_flush_all(net);
    for (uint32_t i = 0; i < net->iface_count; i++)
        mir__iface_stop(&net->ifaces[i]);
    mir__self_fini(net);
    mir__reass_fini(net);
    mir__neigh_fini(net);
    mir__pmtu_fini(net);
    mir__route_fini(net);
    mir_loop_remove_step_hook(&net->flush_hook);
    mir_work_cancel(&net->flush_work);
    mir_wait_wake_all(&net->stack.address_ready);
    mir_wait_end_all(&net->stack.tx_ready, -MIR_ECLOSED);
    mir_page_release(net->page);
}

/* ---- interfaces ----------------------------------------------------------------------------- */

static bool ip4_ok(const struct mir_net_if_config *config)
{
    if (config->use_dhcp)
        return true;
    if (mir_ip_is_any(&config->ip)) /* IPv6 alone, or what we give ourselves */
        return config->link_local4 || config->ip6 != MIR_IP6_OFF || config->address_count > 0;
    if (!mir_ip_is_v4(&config->ip) || config->prefix_len == 0 || config->prefix_len > 32)
        return false;
    uint32_t ip = mir_ip_to_v4(&config->ip);
    uint32_t host_mask = config->prefix_len == 32 ? 0 : UINT32_MAX >> config->prefix_len;
    bool is_end = config->prefix_len < 31 && ((ip & host_mask) == 0 || (~ip & host_mask) == 0);
    return mir__ip4_is_host(ip) && !is_end;
}

static bool config_ok(const struct mir_net_if_config *config, const struct mir_net_dev_info *info)
{
    if (info->mtu < 576 || mir__mac_is_group(info->mac) || !ip4_ok(config))
        return false;
    if (!mir_ip_is_any(&config->gateway) && !mir_ip_is_v4(&config->gateway))
        return false;
    if (config->ip6 == MIR_IP6_OFF)
        return mir_ip_is_any(&config->gateway6);
    /* Every link carries 1280 bytes of IPv6 (RFC 8200 section 5). */
    return info->mtu >= MIR__IP6_MTU_MIN &&
           (mir_ip_is_any(&config->gateway6) || mir__ip6_is_host(&config->gateway6));
}

/* IPv6 as configured: link-local address first, because all others need it. */
static int start_ip6(struct mir__iface *iface, const struct mir_net_if_config *config)
{
    struct mir_net *net = iface->net;
    struct mir_ip all_nodes = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    if (config->ip6 == MIR_IP6_OFF)
        return 0;
    int r = mir__group_join(iface, &all_nodes);
    if (r < 0)
        return r;
    mir__nd6_iface_start(iface);
    if (mir_ip_is_any(&config->gateway6))
        return 0;
    struct mir__route_spec spec = {
        .gateway = config->gateway6, .iface = iface, .origin = MIR__ROUTE_MANUAL};
    return mir__route_add(net, &spec, NULL);
}

static int add_addresses(struct mir__iface *iface, const struct mir_net_if_config *config)
{
    int r = start_ip6(iface, config);
    if (config->use_dhcp)
        mir__dhcp_start(iface, config);
    else if (mir_ip_is_any(&config->ip))
        mir__linklocal4_start(iface);
    else
        mir__iface_take_address(iface, mir_ip_to_v4(&config->ip), config->prefix_len,
                                mir_ip_is_any(&config->gateway) ? 0
                                                                : mir_ip_to_v4(&config->gateway));
    for (uint32_t i = 0; i < config->address_count && r == 0; i++)
        r = mir_net_add_address(iface->net, iface->index + 1, &config->addresses[i]);
    return r;
}

/* Back to what it was before: an interface with an impossible address is none. */
static void close_iface(struct mir__iface *iface)
{
    struct mir_net *net = iface->net;
    mir__dhcp_stop(iface);
    mir__linklocal4_stop(iface);
    if (iface->ip6_mode != MIR_IP6_OFF)
        mir__nd6_iface_stop(iface);
    mir_list_for_each (node, &iface->addresses)
        mir__ifaddr_remove(MIR_CONTAINER_OF(node, struct mir__ifaddr, link));
    mir__group_forget(iface);
    mir__neigh_forget(net, iface, &mir__neigh_arp);
    mir_list_for_each (node, &net->route.all) {
        struct mir__route_entry *entry = MIR_CONTAINER_OF(node, struct mir__route_entry, link);
        if (entry->iface == iface)
            mir__route_remove_entry(net, entry);
    }
    mir__iface_stop(iface);
}

int mir_net_add_interface(struct mir_net *net, struct mir_net_dev *dev,
                          const struct mir_net_if_config *config)
{
    if (net->iface_count == MIR__IFACES_MAX)
        return -MIR_ELIMIT;
    if (!config_ok(config, &dev->info))
        return -MIR_EINVAL;
    struct mir__iface *iface = &net->ifaces[net->iface_count];
    *iface = (struct mir__iface){
        .net = net,
        .dev = dev,
        .mtu = dev->info.mtu,
        .index = net->iface_count,
        .ip6_mode = (uint8_t)config->ip6,
        .ip6_no_dad = config->ip6_no_dad,
        .slaac = {.has_secret = config->ip6_secret != NULL,
                  .wants_temporary = config->ip6_temporary},
        .hops6 = 64,
        .has_flush = dev->ops->flush != NULL,
        .to_all = {.fresh_until_us = MIR_TIME_NEVER, .state = MIR__NEIGH_REACHABLE},
    };
    if (config->ip6_secret != NULL)
        mir_memcpy(iface->slaac.secret, config->ip6_secret, sizeof iface->slaac.secret);
    mir_list_init(&iface->addresses);
    mir_list_init(&iface->groups);
    mir__igmp_init(iface);
    mir__iface_init_watches(iface, config);
    mir_memcpy(iface->mac, dev->info.mac, 6);
    mir_memset(iface->to_all.header, 0xff, 6);
    mir_memcpy(iface->to_all.header + 6, iface->mac, 6);
    mir_put_be16(iface->to_all.header + 12, MIR__ETH_TYPE_IP4);
    net->iface_count++;
    int r = mir__iface_start(iface);
    if (r < 0) {
        net->iface_count--;
        return r;
    }
    /* The device may know its final capabilities only now. */
    iface->mtu = iface->mtu6 = dev->info.mtu;
    mir__net_routes_changed(net);
    r = add_addresses(iface, config);
    if (r < 0) {
        close_iface(iface);
        net->iface_count--;
    }
    return r;
}
