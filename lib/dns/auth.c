/* SPDX-License-Identifier: ISC */
/* An authoritative name server: opening, closing, datagrams.
 *
 * A datagram is answered in the buffer it came in: header and question stay where they are, the
 * header's flags and counts are written over, the body is copied behind the question if there is
 * room and else referred to, the OPT record follows. So the usual answer takes no memory at all.
 * The source of the answer is the address that was asked, as the asker may know us by several.
 *
 * What a handler does is bounded: one question is at most one answer, and nothing is kept of it but
 * counters. There is no state of a client but its TCP connection.
 *
 * Not done: DNSSEC, updates, being a secondary, TSIG, cookies, reloading.
 */
#include "lib/dns/auth.h"

enum { PORT = 53, ZONES_MAX = 4096, QUESTION_MAX = 4096 };

/* ---- datagrams ------------------------------------------------------------------------------ */

/* Views of the body, and of an OPT record that two pages of ours hold. */
static bool add_views(struct mir_dns_server *server, const struct mir__auth_reply *reply,
                      struct mir_buf *buf)
{
    const struct mir__auth_body *body = reply->body;
    uint32_t offset = (uint32_t)(body->bytes - body->page->base);
    int r = mir_buf_add_view(buf, mir_view_of_page(body->page, offset, reply->body_len));
    if (r == 0 && reply->has_opt)
        r = mir_buf_add_view(buf, mir_view_of_page(server->opt_page,
                                                   reply->dnssec_ok ? MIR__AUTH_OPT_LEN : 0,
                                                   MIR__AUTH_OPT_LEN));
    return r == 0;
}

/* A buffer of its own for what has no room in that of the question, and cannot be referred to. */
static struct mir_buf *write_elsewhere(struct mir_dns_server *server,
                                       const struct mir__auth_reply *reply,
                                       struct mir_buf *buf_given)
{
    uint32_t len = mir__auth_reply_len(reply);
    struct mir_buf *buf =
        mir_buf_alloc_page(server->stack->bufs, MIR_BUF_HEADROOM + len, MIR_BUF_HEADROOM);
    if (buf != NULL)
        mir__auth_put(server, reply, buf_given->data, mir_buf_append(buf, len));
    mir_buf_release(buf_given);
    return buf;
}

/* The answer, in the buffer of the question where that goes. NULL: no memory. */
static struct mir_buf *write_answer(struct mir_dns_server *server,
                                    const struct mir__auth_reply *reply, struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    uint32_t tail = reply->body_len + (reply->has_opt ? MIR__AUTH_OPT_LEN : 0);
    mir_buf_trim(buf, MIR__DNS_HEADER_LEN + reply->question_len);
    if (MIR_LIKELY(tail <= mir_buf_tailroom(buf))) {
        mir__auth_put_header(reply, buf->data);
        uint8_t *out = mir_buf_append(buf, tail);
        mir__auth_put_body(reply, out);
        if (reply->has_opt)
            mir__auth_put_opt(server, reply, out + reply->body_len);
        return buf;
    }
    const struct mir__auth_body *body = reply->body;
    if (body == NULL || body->page == NULL || body->name_len != reply->name_len ||
        reply->rcode_high != 0)
        return write_elsewhere(server, reply, buf);
    mir__auth_put_header(reply, buf->data);
    if (add_views(server, reply, buf))
        return buf;
    mir_buf_release(buf);
    return NULL;
}

/* The question in one piece, and with room before it for the headers of the answer. */
static struct mir_buf *make_plain(struct mir_dns_server *server, struct mir_buf *buf_given)
{
    struct mir_buf *copy = NULL;
    if (mir_buf_total(buf_given) <= QUESTION_MAX)
        copy = mir_buf_linearize(server->stack->bufs, buf_given, MIR_BUF_HEADROOM);
    mir_buf_release(buf_given);
    return copy;
}

static void send(struct mir_dns_server *server, const struct mir_udp_meta *meta,
                 const struct mir__auth_reply *reply, struct mir_buf *buf_given)
{
    struct mir_udp_msg msg = {.to = meta->from};
    struct mir_buf *buf = write_answer(server, reply, buf_given);
    if (!meta->is_group)
        msg.from = meta->to.ip;
    if (buf == NULL || mir_udp_send_msg(server->udp, &msg, buf) != 0)
        server->stats.dropped_memory++;
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    struct mir_dns_server *server = arg;
    struct mir_buf *buf = buf_given;
    struct mir__auth_reply reply;
    (void)udp;
    server->stats.queries_udp++;
    if (MIR_UNLIKELY(buf->frag_count > 0 || mir_buf_headroom(buf) < MIR_BUF_HEADROOM)) {
        buf = make_plain(server, buf);
        if (buf == NULL) {
            server->stats.dropped_memory++;
            return;
        }
    }
    mir__auth_ask(server, buf->data, buf->len, false, &reply);
    if (MIR_LIKELY(reply.verdict == MIR__AUTH_REPLY)) {
        enum mir__auth_verdict verdict = mir__auth_rate(server, &meta->from.ip, &reply);
        if (verdict == MIR__AUTH_SLIP)
            mir__auth_truncate(server, &reply);
        if (verdict != MIR__AUTH_LIMITED) {
            send(server, meta, &reply, buf);
            return;
        }
    }
    mir_buf_release(buf);
}

/* ---- open and close ------------------------------------------------------------------------- */

static void set_default(uint32_t *value, uint32_t fallback)
{
    if (*value == 0)
        *value = fallback;
}

static int fill_limits(struct mir_dns_server *server)
{
    struct mir_dns_server_limits *l = &server->limits;
    l->udp_bytes = l->udp_bytes != 0 ? l->udp_bytes : 1232;
    l->rate_prefix4 = l->rate_prefix4 != 0 ? l->rate_prefix4 : 24;
    l->rate_prefix6 = l->rate_prefix6 != 0 ? l->rate_prefix6 : 56;
    if (l->ready_bytes == 0)
        l->ready_bytes = mir_page_pool_free_bytes(server->stack->pages) / 4;
    set_default(&l->tcp_connections, 256);
    set_default(&l->tcp_idle_ms, 10000);
    set_default(&l->tcp_query_bytes, 4096);
    set_default(&l->transfers, 16);
    set_default(&l->rate_slip, 2);
    set_default(&l->rate_buckets, 16384);
    set_default(&l->notify_tries, 5);
    bool is_good = l->udp_bytes >= 512 && l->rate_prefix4 <= 32 && l->rate_prefix6 <= 64 &&
                   l->rate_per_second <= 1000000 && l->tcp_query_bytes <= 65535 &&
                   l->notify_tries <= 16;
    return is_good ? 0 : -MIR_EINVAL;
}

/* Sorted by name, as they are looked for. */
static int take_zones(struct mir_dns_server *server, const struct mir_dns_server_config *config)
{
    if (config->zone_count > ZONES_MAX || config->transfer_count > MIR_DNS_PEERS_MAX ||
        config->notify_count > MIR_DNS_PEERS_MAX)
        return -MIR_EINVAL;
    int r = mir_page_alloc(server->stack->pages,
                           MIR_MAX(config->zone_count, 1u) * sizeof(struct mir_dns_zone *),
                           MIR_PAGE_ZERO, &server->zone_page);
    if (r < 0)
        return r;
    server->zones = (struct mir_dns_zone **)(void *)server->zone_page->base;
    for (uint32_t i = 0; i < config->zone_count; i++) {
        struct mir_dns_zone *zone = config->zones[i];
        uint32_t at = i;
        for (; at > 0; at--) {
            struct mir_dns_zone *other = server->zones[at - 1];
            uint32_t least = MIR_MIN(zone->origin.len, other->origin.len);
            int order = mir_memcmp(other->origin.lower, zone->origin.lower, least);
            if (order == 0)
                order = (int)other->origin.len - (int)zone->origin.len;
            if (order == 0)
                return -MIR_EEXIST;
            if (order < 0)
                break;
            server->zones[at] = other;
        }
        server->zones[at] = zone;
        server->zone_count++;
        server->labels_max = MIR_MAX(server->labels_max, zone->origin.labels);
    }
    return 0;
}

static int make_pages(struct mir_dns_server *server)
{
    struct mir_page_pool *pages = server->stack->pages;
    struct mir__auth_reply opt = {.has_opt = true};
    int r = mir_page_alloc(pages, 65536, MIR_PAGE_OVERWRITE, &server->scratch);
    if (r == 0)
        r = mir_page_alloc(pages, 2 + 65535, MIR_PAGE_OVERWRITE, &server->out);
    if (r == 0)
        r = mir_page_alloc(pages, 2 * MIR__AUTH_OPT_LEN, MIR_PAGE_ZERO, &server->opt_page);
    if (r < 0)
        return r;
    mir__auth_put_opt(server, &opt, server->opt_page->base);
    opt.dnssec_ok = true;
    mir__auth_put_opt(server, &opt, server->opt_page->base + MIR__AUTH_OPT_LEN);
    return 0;
}

static int open_ports(struct mir_dns_server *server, const struct mir_dns_server_config *config)
{
    const struct mir_udp_config udp = {
        .local = server->local, .handler = on_datagram, .arg = server};
    int r = mir_udp_open_config(server->stack, &udp, &server->udp);
    if (r == 0)
        r = mir__auth_tcp_open(server);
    if (r == 0)
        r = mir__auth_notify_open(server, config);
    return r;
}

int mir_dns_server_open(const struct mir_dns_server_config *config, struct mir_dns_server **out)
{
    struct mir_io_page *page;
    int r =
        mir_page_alloc(config->stack->pages, sizeof(struct mir_dns_server), MIR_PAGE_ZERO, &page);
    if (r < 0)
        return r;
    struct mir_dns_server *server = (struct mir_dns_server *)(void *)page->base;
    server->page = page;
    server->stack = config->stack;
    server->rng = config->rng;
    server->limits = config->limits;
    server->local = config->local;
    if (server->local.port == 0)
        server->local.port = PORT;
    mir_list_init(&server->conns);
    r = fill_limits(server);
    if (r == 0)
        r = take_zones(server, config);
    if (r == 0 && config->transfer_count > 0)
        mir_memcpy(server->transfer, config->transfer,
                   config->transfer_count * sizeof *config->transfer);
    server->transfer_count = r == 0 ? config->transfer_count : 0;
    if (r == 0)
        r = make_pages(server);
    if (r == 0)
        r = mir__auth_ready_open(server);
    if (r == 0)
        r = mir__auth_rate_open(server);
    if (r == 0)
        r = open_ports(server, config);
    if (r < 0) {
        mir_dns_server_close(server);
        return r;
    }
    *out = server;
    return 0;
}

static void release(struct mir_io_page *page)
{
    if (page != NULL)
        mir_page_release(page);
}

void mir_dns_server_close(struct mir_dns_server *server)
{
    mir__auth_notify_close(server);
    mir__auth_tcp_close(server);
    if (server->udp != NULL)
        mir_udp_close(server->udp);
    mir__auth_rate_close(server);
    mir__auth_ready_close(server);
    release(server->opt_page);
    release(server->out);
    release(server->scratch);
    release(server->zone_page);
    mir_page_release(server->page);
}

void mir_dns_server_get_stats(const struct mir_dns_server *server,
                              struct mir_dns_server_stats *stats)
{
    *stats = server->stats;
}

void mir_dns_server_local(const struct mir_dns_server *server, struct mir_endpoint *local)
{
    *local = server->local;
}
