/* SPDX-License-Identifier: ISC */
/* A whole zone over TCP: AXFR (RFC 5936), and IXFR answered by it (RFC 1995 section 4).
 *
 *   SOA, every other record in the order of the file, SOA
 *
 * in as many messages of up to 16 KiB as it takes, each with the id and the flags of an answer, the
 * first with the question. Names are compressed within a message. A place in the zone is all that
 * is kept between two of them, so a transfer to a slow secondary costs a connection and no copy;
 * the zone does not change, so all of them fit together.
 *
 * Who may ask is a list of networks. Without one nobody may. IXFR from somebody who has our serial
 * number, or a later one (RFC 1982), gets the SOA alone.
 */
#include "lib/dns/auth.h"

enum { MESSAGE_MAX = 16384 };

bool mir__auth_may_transfer(const struct mir_dns_server *server, const struct mir_ip *ip)
{
    for (uint32_t i = 0; i < server->transfer_count; i++) {
        const struct mir_net_prefix *allowed = &server->transfer[i];
        bool is_v4 = mir_ip_is_v4(&allowed->ip);
        uint32_t bits = allowed->prefix_len + (is_v4 ? 96u : 0);
        uint32_t octets = bits / 8, rest = bits % 8;
        uint8_t mask = (uint8_t)(0xff00u >> rest);
        if (mir_memcmp(ip->bytes, allowed->ip.bytes, octets) == 0 &&
            (rest == 0 || ((ip->bytes[octets] ^ allowed->ip.bytes[octets]) & mask) == 0))
            return true;
    }
    return false;
}

/* Serial numbers go round (RFC 1982 section 3.2). */
static bool is_newer(uint32_t ours, uint32_t theirs)
{
    return ours != theirs && ours - theirs < 0x80000000u;
}

void mir__auth_transfer_begin(struct mir__auth_conn *conn, const struct mir__auth_reply *reply,
                              const uint8_t *msg)
{
    struct mir__auth_transfer *t = &conn->transfer;
    *t = (struct mir__auth_transfer){
        .zone = reply->zone,
        .node = reply->zone->apex,
        .is_single = reply->is_incremental && !is_newer(reply->zone->info.serial, reply->serial),
        .question_len = reply->question_len,
        .id = mir_get_be16(msg),
        .flags = reply->flags,
        .has_opt = reply->has_opt,
        .dnssec_ok = reply->dnssec_ok,
    };
    t->set = t->node->sets;
    t->record = t->set->first;
    mir_memcpy(t->question, msg + MIR__DNS_HEADER_LEN, reply->question_len);
}

/* Step over sets that are done, and the SOA, which is the frame. False: the zone is over. */
static bool settle(struct mir__auth_transfer *t)
{
    for (;;) {
        bool is_soa = t->set != NULL && t->set->type == MIR_DNS_SOA;
        if (t->record != NULL && !is_soa)
            return true;
        if (t->set != NULL) {
            t->set = t->set->next;
        } else {
            t->node = t->node->next;
            if (t->node == NULL)
                return false;
            t->set = t->node->sets;
        }
        t->record = t->set != NULL ? t->set->first : NULL;
    }
}

/* As many records as fit. True: the zone is over and its last SOA written. */
static bool put_records(struct mir__auth_transfer *t, struct mir__auth_writer *w)
{
    const struct mir__zone_node *apex = t->zone->apex;
    const struct mir__zone_set *soa = mir__zone_set_of(apex, MIR_DNS_SOA);
    struct mir__auth_owner owner = {mir__zone_written(apex), apex->len};
    if (!t->has_begun) {
        (void)mir__auth_write_set(w, 0, owner, soa, soa->ttl_s);
        t->has_begun = true;
        if (t->is_single)
            return true;
    }
    while (!t->is_at_end && settle(t)) {
        struct mir__auth_owner own = {mir__zone_written(t->node), t->node->len};
        if (!mir__auth_write_record(w, 0, own, t->set, t->record, t->set->ttl_s)) {
            if (w->count[0] > 0)
                return false;
            w->size = MIR__AUTH_MESSAGE_MAX; /* one that is larger than a message of ours */
            continue;
        }
        t->record = t->record->next;
    }
    t->is_at_end = true;
    return mir__auth_write_set(w, 0, owner, soa, soa->ttl_s);
}

uint32_t mir__auth_transfer_next(struct mir__auth_conn *conn, uint8_t *out)
{
    struct mir_dns_server *server = conn->server;
    struct mir__auth_transfer *t = &conn->transfer;
    struct mir__auth_writer *w = &server->writer;
    uint8_t *msg = out + 2;
    uint32_t name_len = t->question_len - 4u;
    bool has_question = !t->has_begun;
    mir__auth_write(w, msg, MESSAGE_MAX, name_len);
    if (has_question) {
        mir_memcpy(msg + MIR__DNS_HEADER_LEN, t->question, t->question_len);
        mir__auth_write_question(w, t->question, name_len, 0);
    } else {
        w->at = MIR__DNS_HEADER_LEN;
    }
    bool is_done = put_records(t, w);
    struct mir__auth_reply reply = {.has_opt = t->has_opt, .dnssec_ok = t->dnssec_ok};
    mir_put_be16(msg, t->id);
    mir_put_be16(msg + 2, (uint16_t)(t->flags | MIR__DNS_AA));
    mir_put_be16(msg + 4, has_question);
    mir_put_be16(msg + 6, w->count[0]);
    mir_put_be16(msg + 8, 0);
    mir_put_be16(msg + 10, t->has_opt);
    uint32_t len = w->at;
    if (t->has_opt) {
        mir__auth_put_opt(server, &reply, msg + len);
        len += MIR__AUTH_OPT_LEN;
    }
    mir_put_be16(out, (uint16_t)len);
    if (is_done)
        t->zone = NULL;
    return 2 + len;
}
