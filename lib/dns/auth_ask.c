/* SPDX-License-Identifier: ISC */
/* A message in, and what to answer.
 *
 *   shorter than a header, or a response       nothing: who answers these can be made to talk to
 *                                              itself
 *   another operation than a question          NOTIMP
 *   not one question, answers in it, names
 *   that do not end, options that do not fit   FORMERR (RFC 9619, RFC 6891 section 6.1.1)
 *   EDNS of a later version                    BADVERS
 *   another class, a zone that is not ours     REFUSED
 *   types that are no data but AXFR, ANY       NOTIMP
 *
 * The question is repeated as it came, letters and all: it stays where it is, and the answer is
 * written around it. An answer that is too long for a datagram loses its additional records first;
 * then it is the question alone with TC.
 *
 * Of EDNS the size and the DO bit are heard; options are skipped, as RFC 6891 says of unknown ones.
 * There are no signatures, so DO changes nothing but its own copy (RFC 3225 section 3).
 */
#include "lib/dns/auth.h"

enum { UDP_MIN = 512, OTHERS_MAX = 16, OPT_OWN = 10 };

/* ---- the message ------------------------------------------------------------------------------
 */

struct query {
    const uint8_t *msg;
    uint32_t len, at;
    struct mir__zone_key key;
    uint16_t type, class;
    bool has_opt, dnssec_ok;
    uint8_t version;
    uint16_t udp_bytes;
    uint32_t serial; /* of a SOA in the authority section */
};

static bool read_question(struct query *q)
{
    uint32_t at = MIR__DNS_HEADER_LEN, labels = 0;
    while (at < q->len && q->msg[at] != 0) {
        if (q->msg[at] > 63)
            return false; /* there is nothing before it that a pointer could lead to */
        at += 1u + q->msg[at];
        labels++;
    }
    uint32_t name_len = at + 1 - MIR__DNS_HEADER_LEN;
    if (at >= q->len || q->len - at < 5 || name_len > MIR_DNS_NAME_MAX)
        return false;
    q->key.len = (uint8_t)name_len;
    q->key.labels = (uint8_t)labels;
    q->key.hash = mir__zone_fold(q->msg + MIR__DNS_HEADER_LEN, name_len, q->key.lower);
    q->type = mir_get_be16(q->msg + at + 1);
    q->class = mir_get_be16(q->msg + at + 3);
    q->at = at + 5;
    return true;
}

static bool has_options(const uint8_t *data, uint32_t len)
{
    uint32_t at = 0;
    while (len - at >= 4 && len - at - 4 >= mir_get_be16(data + at + 2))
        at += 4u + mir_get_be16(data + at + 2);
    return at == len;
}

/* One record of the additional section; false: it is wrong. @data_at behind an owner that is the
 * root's. */
static bool read_opt(struct query *q, const uint8_t *fixed, uint16_t data_len)
{
    if (q->has_opt || !has_options(fixed + OPT_OWN, data_len))
        return false;
    q->has_opt = true;
    q->udp_bytes = mir_get_be16(fixed + 2);
    q->version = fixed[5];
    q->dnssec_ok = (fixed[6] & 0x80) != 0;
    return true;
}

static bool skip_name(struct query *q)
{
    struct mir_dns_name name;
    return mir__dns_read_name(q->msg, q->len, &q->at, &name) == 0;
}

static void read_serial(struct query *q, uint32_t data_at, uint32_t data_len)
{
    if (data_len >= 20)
        q->serial = mir_get_be32(q->msg + data_at + data_len - 20);
}

/* Records behind the question: an OPT, a SOA of IXFR; others are stepped over. */
static bool read_others(struct query *q, uint32_t authority, uint32_t additional)
{
    if (authority > 0 && q->type != MIR__ZONE_IXFR)
        return false;
    if (authority + additional > OTHERS_MAX)
        return false;
    for (uint32_t i = 0; i < authority + additional; i++) {
        bool is_root = q->at < q->len && q->msg[q->at] == 0;
        if (is_root)
            q->at++;
        else if (!skip_name(q))
            return false;
        if (q->len - q->at < OPT_OWN)
            return false;
        const uint8_t *fixed = q->msg + q->at;
        uint16_t type = mir_get_be16(fixed), data_len = mir_get_be16(fixed + 8);
        q->at += OPT_OWN;
        if (q->len - q->at < data_len)
            return false;
        if (type == MIR_DNS_OPT && (i < authority || !is_root || !read_opt(q, fixed, data_len)))
            return false;
        if (type == MIR_DNS_SOA && i < authority)
            read_serial(q, q->at, data_len);
        q->at += data_len;
    }
    return q->at == q->len;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void set_rcode(struct mir_dns_server *server, struct mir__auth_reply *reply, uint16_t rcode)
{
    uint64_t *const counter[] = {&server->stats.noerror,  &server->stats.formerr,
                                 &server->stats.servfail, &server->stats.nxdomain,
                                 &server->stats.notimp,   &server->stats.refused};
    reply->flags = (uint16_t)((reply->flags & ~MIR__DNS_RCODE_MASK) | (rcode & 15));
    if (rcode < MIR_ARRAY_LEN(counter))
        (*counter[rcode])++;
}

/* An error: a header, perhaps the question, no records. */
static void refuse(struct mir_dns_server *server, struct mir__auth_reply *reply, uint16_t rcode)
{
    set_rcode(server, reply, rcode);
    reply->tag = 0x10000u + rcode;
    reply->body = NULL;
}

void mir__auth_truncate(struct mir_dns_server *server, struct mir__auth_reply *reply)
{
    server->stats.truncated++;
    reply->flags |= MIR__DNS_TC;
    reply->body = NULL;
    reply->body_len = 0;
    reply->additional = 0;
}

uint32_t mir__auth_reply_len(const struct mir__auth_reply *reply)
{
    return MIR__DNS_HEADER_LEN + reply->question_len + reply->body_len +
           (reply->has_opt ? MIR__AUTH_OPT_LEN : 0);
}

static void take_body(struct mir_dns_server *server, struct mir__auth_reply *reply,
                      const struct mir__auth_body *body, enum mir__auth_kind kind)
{
    reply->body = body;
    reply->tag = body->tag;
    reply->flags |= body->flags & MIR__DNS_AA;
    reply->body_len = body->len;
    reply->additional = body->count[2];
    set_rcode(server, reply, kind == MIR__AUTH_NODATA ? 0 : body->flags & MIR__DNS_RCODE_MASK);
    server->stats.nodata += kind == MIR__AUTH_NODATA;
    server->stats.referrals += kind == MIR__AUTH_REFERRAL;
    if (mir__auth_reply_len(reply) <= reply->limit)
        return;
    reply->body_len = body->min_len;
    reply->additional = body->min_additional;
    if (mir__auth_reply_len(reply) > reply->limit)
        mir__auth_truncate(server, reply);
}

/* AXFR and IXFR. Over UDP the second is answered by the SOA alone: "ask over TCP" (RFC 1995). */
static void ask_transfer(struct mir_dns_server *server, const struct query *q, bool is_tcp,
                         struct mir__auth_reply *reply)
{
    enum mir__auth_kind kind;
    const struct mir_dns_zone *zone = mir__auth_zone_of(server, &q->key, MIR_DNS_SOA);
    bool is_incremental = q->type == MIR__ZONE_IXFR;
    if (!is_tcp && !is_incremental) {
        refuse(server, reply, MIR__DNS_FORMERR);
    } else if (zone == NULL || zone->origin.len != q->key.len) {
        refuse(server, reply, zone == NULL ? MIR__DNS_REFUSED : MIR__DNS_NOTAUTH);
    } else if (!is_tcp) {
        take_body(server, reply, mir__auth_find(server, &q->key, MIR_DNS_SOA, &kind),
                  MIR__AUTH_DATA);
    } else {
        reply->verdict = MIR__AUTH_TRANSFER;
        reply->zone = zone;
        reply->is_incremental = is_incremental;
        reply->serial = q->serial;
    }
}

static void ask(struct mir_dns_server *server, const struct query *q, bool is_tcp,
                struct mir__auth_reply *reply)
{
    enum mir__auth_kind kind;
    if (q->class != MIR__DNS_IN) {
        refuse(server, reply, MIR__DNS_REFUSED);
        return;
    }
    if (MIR_UNLIKELY(q->type >= 128 && q->type < MIR_DNS_ANY)) {
        if (q->type == MIR__ZONE_AXFR || q->type == MIR__ZONE_IXFR)
            ask_transfer(server, q, is_tcp, reply);
        else
            refuse(server, reply, MIR__DNS_NOTIMP);
        return;
    }
    if (MIR_UNLIKELY(q->type == MIR_DNS_OPT)) {
        refuse(server, reply, MIR__DNS_FORMERR);
        return;
    }
    const struct mir__auth_body *body = mir__auth_find(server, &q->key, q->type, &kind);
    if (body == NULL)
        refuse(server, reply, MIR__DNS_REFUSED);
    else
        take_body(server, reply, body, kind);
}

void mir__auth_ask(struct mir_dns_server *server, const uint8_t *msg, uint32_t len, bool is_tcp,
                   struct mir__auth_reply *reply)
{
    struct query q;
    *reply = (struct mir__auth_reply){.verdict = MIR__AUTH_REPLY};
    if (len < MIR__DNS_HEADER_LEN || (msg[2] & 0x80) != 0) {
        server->stats.dropped_form++;
        reply->verdict = MIR__AUTH_DROP;
        return;
    }
    uint16_t flags = mir_get_be16(msg + 2);
    reply->flags = (uint16_t)(MIR__DNS_QR | (flags & (MIR__DNS_OPCODE_MASK | MIR__DNS_RD)));
    q.msg = msg;
    q.len = len;
    q.has_opt = q.dnssec_ok = false;
    q.serial = 0;
    if (MIR_UNLIKELY((flags & MIR__DNS_OPCODE_MASK) != 0)) {
        refuse(server, reply, MIR__DNS_NOTIMP);
        return;
    }
    /* One question, no answer. */
    if (MIR_UNLIKELY(mir_get_be32(msg + 4) != 1u << 16 || !read_question(&q))) {
        refuse(server, reply, MIR__DNS_FORMERR);
        return;
    }
    if (MIR_UNLIKELY(!read_others(&q, mir_get_be16(msg + 8), mir_get_be16(msg + 10)))) {
        refuse(server, reply, MIR__DNS_FORMERR);
        return;
    }
    reply->name_len = q.key.len;
    reply->question_len = (uint16_t)(q.key.len + 4);
    reply->has_opt = q.has_opt;
    reply->dnssec_ok = q.dnssec_ok;
    reply->limit = is_tcp      ? 65535
                   : q.has_opt ? MIR_MIN(MIR_MAX(q.udp_bytes, UDP_MIN), server->limits.udp_bytes)
                               : UDP_MIN;
    if (MIR_UNLIKELY(q.has_opt && q.version != 0)) {
        refuse(server, reply, MIR__DNS_BADVERS);
        reply->rcode_high = MIR__DNS_BADVERS >> 4;
        server->stats.badvers++;
        return;
    }
    ask(server, &q, is_tcp, reply);
}

/* ---- writing -------------------------------------------------------------------------------- */

void mir__auth_put_header(const struct mir__auth_reply *reply, uint8_t *msg)
{
    const struct mir__auth_body *body = reply->body;
    mir_put_be16(msg + 2, reply->flags);
    mir_put_be16(msg + 4, reply->question_len > 0);
    mir_put_be16(msg + 6, body != NULL ? body->count[0] : 0);
    mir_put_be16(msg + 8, body != NULL ? body->count[1] : 0);
    mir_put_be16(msg + 10, (uint16_t)(reply->additional + reply->has_opt));
}

void mir__auth_put_body(const struct mir__auth_reply *reply, uint8_t *out)
{
    const struct mir__auth_body *body = reply->body;
    if (body == NULL)
        return;
    int delta = (int)reply->name_len - (int)body->name_len;
    mir_memcpy(out, body->bytes, reply->body_len);
    if (delta == 0)
        return;
    for (uint32_t i = 0; i < body->move_count && body->moves[i] < reply->body_len; i++) {
        uint8_t *pointer = out + body->moves[i];
        mir_put_be16(pointer, (uint16_t)(mir_get_be16(pointer) + delta));
    }
}

void mir__auth_put_opt(const struct mir_dns_server *server, const struct mir__auth_reply *reply,
                       uint8_t out[MIR__AUTH_OPT_LEN])
{
    mir_memset(out, 0, MIR__AUTH_OPT_LEN);
    mir_put_be16(out + 1, MIR_DNS_OPT);
    mir_put_be16(out + 3, server->limits.udp_bytes);
    out[5] = reply->rcode_high;
    out[7] = reply->dnssec_ok ? 0x80 : 0;
}

void mir__auth_put(const struct mir_dns_server *server, const struct mir__auth_reply *reply,
                   const uint8_t *question, uint8_t *out)
{
    uint32_t at = MIR__DNS_HEADER_LEN + reply->question_len;
    mir_memcpy(out, question, at);
    mir__auth_put_header(reply, out);
    mir__auth_put_body(reply, out + at);
    if (reply->has_opt)
        mir__auth_put_opt(server, reply, out + at + reply->body_len);
}
