/* SPDX-License-Identifier: ISC */
/* Telling secondaries that a zone is there (RFC 1996).
 *
 * When the server opens, each secondary is sent NOTIFY for each zone, with the SOA as a hint, until
 * it answers: after 1, 2, 4 ... seconds, `notify_tries` times in all. An answer counts if it comes
 * from the address that was told, has the id, and is a response to NOTIFY; whatever its code, the
 * secondary has heard it. Notices begin 20 ms after each other, so that a server with many zones
 * does not flood them.
 */
#include "lib/dns/auth.h"

enum { PORT = 53, NOTIFY = 4 << 11, SPREAD_MS = 20, NOTICES_MAX = 512 };

static void send(struct mir__auth_notice *notice)
{
    struct mir_dns_server *server = notice->server;
    const struct mir__zone_node *apex = notice->zone->apex;
    struct mir__auth_writer *w = &server->writer;
    const struct mir__zone_set *soa = mir__zone_set_of(apex, MIR_DNS_SOA);
    uint8_t *msg = server->scratch->base;
    mir__auth_write(w, msg, 1232, apex->len);
    mir__auth_write_question(w, mir__zone_written(apex), apex->len, 0);
    mir_memset(msg, 0, MIR__DNS_HEADER_LEN);
    mir_put_be16(msg, notice->id);
    mir_put_be16(msg + 2, NOTIFY | MIR__DNS_AA);
    mir_memcpy(msg + MIR__DNS_HEADER_LEN, mir__zone_written(apex), apex->len);
    mir_put_be16(msg + MIR__DNS_HEADER_LEN + apex->len, MIR_DNS_SOA);
    mir_put_be16(msg + MIR__DNS_HEADER_LEN + apex->len + 2, MIR__DNS_IN);
    (void)mir__auth_write_set(w, 0, (struct mir__auth_owner){.wire = NULL}, soa, soa->ttl_s);
    mir_put_be16(msg + 4, 1);
    mir_put_be16(msg + 6, w->count[0]);
    if (mir_udp_send(server->notify_udp, &notice->to, msg, w->at) == 0)
        server->stats.notify_sent++;
}

static void on_timer(void *arg)
{
    struct mir__auth_notice *notice = arg;
    struct mir_dns_server *server = notice->server;
    if (notice->tries == server->limits.notify_tries) {
        notice->is_done = true;
        server->stats.notify_failed++;
        return;
    }
    notice->tries++;
    send(notice);
    mir_timer_set(server->stack->loop, &notice->timer,
                  mir__auth_now(server) + (MIR_US_PER_S << (notice->tries - 1)));
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    struct mir_dns_server *server = arg;
    uint8_t head[MIR__DNS_HEADER_LEN];
    (void)udp;
    int r = mir_buf_copy_out(buf_given, 0, head, sizeof head);
    mir_buf_release(buf_given);
    if (r < 0 ||
        (mir_get_be16(head + 2) & (MIR__DNS_QR | MIR__DNS_OPCODE_MASK)) != (MIR__DNS_QR | NOTIFY))
        return;
    for (uint32_t i = 0; i < server->notice_count; i++) {
        struct mir__auth_notice *notice = &server->notices[i];
        if (notice->is_done || notice->tries == 0 || notice->id != mir_get_be16(head) ||
            notice->to.port != meta->from.port || !mir_ip_equal(&notice->to.ip, &meta->from.ip))
            continue;
        notice->is_done = true;
        mir_timer_cancel(&notice->timer);
        server->stats.notify_answered++;
        return;
    }
}

static void begin(struct mir_dns_server *server, const struct mir_dns_zone *zone,
                  const struct mir_endpoint *to)
{
    struct mir__auth_notice *notice = &server->notices[server->notice_count++];
    *notice = (struct mir__auth_notice){
        .server = server, .zone = zone, .to = *to, .id = (uint16_t)mir_rng_u32(server->rng)};
    if (notice->to.port == 0)
        notice->to.port = PORT;
    mir_timer_init(&notice->timer, on_timer, notice);
    mir_timer_set(server->stack->loop, &notice->timer,
                  mir__auth_now(server) + server->notice_count * SPREAD_MS * MIR_US_PER_MS);
}

int mir__auth_notify_open(struct mir_dns_server *server, const struct mir_dns_server_config *config)
{
    uint32_t count = config->notify_count * server->zone_count;
    const struct mir_endpoint any = {.port = 0};
    _Static_assert(NOTICES_MAX * sizeof(struct mir__auth_notice) <= MIR__ZONE_CHUNK_MAX, "one run");
    if (count == 0)
        return 0;
    if (count > NOTICES_MAX)
        return -MIR_EINVAL;
    int r = mir_page_alloc(server->stack->pages, count * sizeof(struct mir__auth_notice),
                           MIR_PAGE_ZERO, &server->notify_page);
    if (r < 0)
        return r;
    server->notices = (struct mir__auth_notice *)(void *)server->notify_page->base;
    r = mir_udp_open(server->stack, &any, on_datagram, server, &server->notify_udp);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < server->zone_count; i++) {
        for (uint32_t j = 0; j < config->notify_count; j++)
            begin(server, server->zones[i], &config->notify[j]);
    }
    return 0;
}

void mir__auth_notify_close(struct mir_dns_server *server)
{
    for (uint32_t i = 0; i < server->notice_count; i++)
        mir_timer_cancel(&server->notices[i].timer);
    if (server->notify_udp != NULL)
        mir_udp_close(server->notify_udp);
    if (server->notify_page != NULL)
        mir_page_release(server->notify_page);
}
