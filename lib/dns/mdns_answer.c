/* SPDX-License-Identifier: ISC */
/* Multicast DNS responder: messages (RFC 6762 sections 6, 7, 8; RFC 6763 sections 4 to 6, 12).
 *
 * A question is answered with those of our records that it asks for, less those that the asker
 * says it knows (7.1), with the records it will ask for next beside them (RFC 6763 section 12).
 * Records that only we can have go at once, shared ones after 20 to 120 ms, later if more known
 * answers follow. No record is multicast twice in a second, so that a flood of questions makes no
 * flood of answers; only a name that somebody probes for is defended after a quarter of one. A
 * question with the unicast bit, or from another port than 5353, is answered to its sender, twenty
 * times a second at most: the sender's address may be a lie.
 *
 * What was sent to the group comes from this link. What was sent to us alone may come from anywhere
 * and is ignored unless its TTL says that no router has seen it (section 5.5 and 11).
 *
 * Probes carry the data we want to have; who probes for the same name at the same time compares it
 * (8.2): types, then octets; the greater data wins.
 */
#include "lib/dns/mdns.h"

#define LEGACY_TTL_S    10u
#define TYPES_MAX       8u
#define UNICASTS_MAX    20u /* answers to single askers in a second */
#define INTERVAL_US     MIR_US_PER_S
#define DEFENSE_US      (250 * MIR_US_PER_MS) /* RFC 6762 section 6: who probes cannot wait */
#define TTL_OF_THE_LINK 255u

/* ---- our records -------------------------------------------------------------------------------
 */

bool mir__mdns_has(const struct mir_mdns *m, enum mir__mdns_record record)
{
    switch (record) {
    case MIR__MDNS_A:
        return !mir_ip_is_any(&m->ip4);
    case MIR__MDNS_AAAA:
        return !mir_ip_is_any(&m->ip6);
    case MIR__MDNS_NSEC:
        return true;
    default:
        return m->has_service;
    }
}

static bool is_shared(uint32_t record)
{
    return record == MIR__MDNS_PTR || record == MIR__MDNS_META;
}

/* Which address types the host has: RFC 6762 section 6.1 (one block, of the first types). */
static void build_nsec(struct mir_mdns *m, struct mir_dns_rdata *rdata)
{
    uint32_t at = m->host.len;
    mir_memset(m->nsec, 0, sizeof m->nsec);
    mir_memcpy(m->nsec, m->host.wire, m->host.len);
    m->nsec[at + 1] = 4; /* block 0, four octets of bits */
    if (mir__mdns_has(m, MIR__MDNS_A))
        m->nsec[at + 2] |= 0x80 >> MIR_DNS_A;
    if (mir__mdns_has(m, MIR__MDNS_AAAA))
        m->nsec[at + 2 + MIR_DNS_AAAA / 8] |= 0x80 >> MIR_DNS_AAAA % 8;
    rdata->raw = (struct mir_dns_raw){m->nsec, (uint16_t)(at + 6)};
}

void mir__mdns_build(struct mir_mdns *m, enum mir__mdns_record record,
                     const struct mir_dns_name **name, struct mir_dns_rdata *rdata, uint32_t *ttl_s)
{
    static const uint16_t types[MIR__MDNS_RECORDS] = {
        MIR_DNS_A, MIR_DNS_AAAA, MIR_DNS_SRV, MIR_DNS_TXT, MIR_DNS_PTR, MIR_DNS_PTR, MIR_DNS_NSEC};
    bool is_hosts = record <= MIR__MDNS_SRV || record == MIR__MDNS_NSEC;
    *ttl_s = is_hosts ? MIR__MDNS_TTL_HOST_S : MIR__MDNS_TTL_S;
    *name = record == MIR__MDNS_SRV || record == MIR__MDNS_TXT ? &m->instance : &m->host;
    rdata->type = types[record];
    switch (record) {
    case MIR__MDNS_A:
        rdata->ip = m->ip4;
        break;
    case MIR__MDNS_AAAA:
        rdata->ip = m->ip6;
        break;
    case MIR__MDNS_SRV:
        rdata->srv = (struct mir_dns_srv){.port = m->port, .target = m->host};
        break;
    case MIR__MDNS_TXT:
        rdata->raw = (struct mir_dns_raw){m->txt, m->txt_len};
        break;
    case MIR__MDNS_PTR:
        *name = &m->type;
        rdata->name = m->instance;
        break;
    case MIR__MDNS_META:
        *name = &m->meta;
        rdata->name = m->type;
        break;
    default:
        build_nsec(m, rdata);
        break;
    }
}

/* ---- sending -----------------------------------------------------------------------------------
 */

/* To the groups of the families that we have. */
static void multicast(struct mir_mdns *m, uint32_t len)
{
    const struct mir_endpoint to4 = {.ip = {{[10] = 0xff, [11] = 0xff, [12] = 224, [15] = 251}},
                                     .port = MIR__MDNS_PORT};
    const struct mir_endpoint to6 = {.ip = {{0xff, 0x02, [15] = 0xfb}}, .port = MIR__MDNS_PORT};
    if (!mir_ip_is_any(&m->ip4))
        (void)mir_udp_send(m->udp, &to4, m->out, len);
    if (!mir_ip_is_any(&m->ip6))
        (void)mir_udp_send(m->udp, &to6, m->out, len);
}

/* How the records of one message are written. */
struct style {
    bool is_legacy; /* for a plain resolver: no flush bit, short times */
    bool is_goodbye;
};

static void add(struct mir_mdns *m, struct mir__dns_writer *w, enum mir__dns_section section,
                uint32_t mask, const struct style *style)
{
    for (uint32_t i = 0; i < MIR__MDNS_RECORDS; i++) {
        const struct mir_dns_name *name;
        struct mir_dns_rdata rdata;
        uint32_t ttl_s;
        if ((mask >> i & 1) == 0 || !mir__mdns_has(m, (enum mir__mdns_record)i))
            continue;
        mir__mdns_build(m, (enum mir__mdns_record)i, &name, &rdata, &ttl_s);
        bool has_flush = !is_shared(i) && !style->is_legacy && section != MIR__DNS_AUTHORITY;
        uint16_t class = has_flush ? MIR__DNS_IN | MIR__MDNS_FLUSH : MIR__DNS_IN;
        if (style->is_legacy)
            ttl_s = MIR_MIN(ttl_s, LEGACY_TTL_S);
        int r =
            mir__dns_write_record(w, section, name, class, style->is_goodbye ? 0 : ttl_s, &rdata);
        (void)r; /* what does not fit is asked for again */
    }
}

/* What the asker will want next. */
static uint32_t also(uint32_t mask)
{
    const uint32_t addresses = 1u << MIR__MDNS_A | 1u << MIR__MDNS_AAAA;
    uint32_t more = 0;
    if (mask >> MIR__MDNS_PTR & 1)
        more |= 1u << MIR__MDNS_SRV | 1u << MIR__MDNS_TXT | addresses;
    if (mask >> MIR__MDNS_SRV & 1)
        more |= addresses;
    if (mask & addresses)
        more |= addresses | 1u << MIR__MDNS_NSEC;
    return more & ~mask;
}

void mir__mdns_announce(struct mir_mdns *m, uint32_t mask, bool is_goodbye)
{
    const struct style style = {.is_goodbye = is_goodbye};
    struct mir__dns_writer w;
    mir__dns_write(&w, m->out, sizeof m->out, 0, MIR__DNS_QR | MIR__DNS_AA);
    w.compress_srv = true;
    add(m, &w, MIR__DNS_ANSWER, mask, &style);
    for (uint32_t i = 0; i < MIR__MDNS_RECORDS; i++) {
        if (mask >> i & 1)
            m->sent_us[i] = mir__mdns_now(m);
    }
    m->stats.announcements++;
    multicast(m, mir__dns_write_end(&w));
}

void mir__mdns_send_probe(struct mir_mdns *m)
{
    const struct style style = {.is_legacy = false};
    struct mir__dns_writer w;
    uint32_t mine =
        1u << MIR__MDNS_A | 1u << MIR__MDNS_AAAA | 1u << MIR__MDNS_SRV | 1u << MIR__MDNS_TXT;
    uint16_t class = MIR__DNS_IN | MIR__MDNS_FLUSH; /* an answer to us is enough */
    mir__dns_write(&w, m->out, sizeof m->out, 0, 0);
    w.compress_srv = true;
    int r = mir__dns_write_question(&w, &m->host, MIR_DNS_ANY, class);
    if (r == 0 && m->has_service)
        r = mir__dns_write_question(&w, &m->instance, MIR_DNS_ANY, class);
    MIR_ASSERT_OP(r, ==, 0);
    add(m, &w, MIR__DNS_AUTHORITY, mine, &style);
    m->stats.probes++;
    multicast(m, mir__dns_write_end(&w));
}

/* Multicast the records of @mask that were not multicast within @interval_us. */
static void send_answers(struct mir_mdns *m, uint32_t mask, mir_time_us interval_us)
{
    const struct style style = {.is_legacy = false};
    mir_time_us now_us = mir__mdns_now(m);
    struct mir__dns_writer w;
    for (uint32_t i = 0; i < MIR__MDNS_RECORDS; i++) {
        bool is_recent = m->sent_us[i] != 0 && now_us - m->sent_us[i] < interval_us;
        if ((mask >> i & 1) != 0 && is_recent) {
            mask &= ~(1u << i);
            m->stats.suppressed++;
        } else if (mask >> i & 1) {
            m->sent_us[i] = now_us;
        }
    }
    if (mask == 0)
        return;
    mir__dns_write(&w, m->out, sizeof m->out, 0, MIR__DNS_QR | MIR__DNS_AA);
    w.compress_srv = true;
    add(m, &w, MIR__DNS_ANSWER, mask, &style);
    add(m, &w, MIR__DNS_ADDITIONAL, also(mask), &style);
    m->stats.answers++;
    multicast(m, mir__dns_write_end(&w));
}

void mir__mdns_on_reply_timer(void *arg)
{
    struct mir_mdns *m = arg;
    uint32_t mask = m->pending;
    m->pending = 0;
    send_answers(m, mask, INTERVAL_US);
}

/* ---- questions ---------------------------------------------------------------------------------
 */

static uint32_t matches(struct mir_mdns *m, const struct mir__dns_question *q)
{
    const struct mir_dns_name *name;
    struct mir_dns_rdata rdata;
    uint32_t mask = 0, ttl_s;
    uint16_t class = q->class & (uint16_t)~MIR__MDNS_FLUSH;
    if (class != MIR__DNS_IN && class != MIR__DNS_CLASS_ANY)
        return 0;
    for (uint32_t i = 0; i < MIR__MDNS_NSEC; i++) {
        if (!mir__mdns_has(m, (enum mir__mdns_record)i))
            continue;
        mir__mdns_build(m, (enum mir__mdns_record)i, &name, &rdata, &ttl_s);
        if ((q->type == rdata.type || q->type == MIR_DNS_ANY) && mir_dns_name_equal(name, &q->name))
            mask |= 1u << i;
    }
    /* Our name, but nothing of that type: say so. */
    if (mask == 0 && mir_dns_name_equal(&q->name, &m->host))
        mask = 1u << MIR__MDNS_NSEC;
    return mask;
}

static bool same_data(const struct mir_dns_rdata *a, const struct mir_dns_rdata *b)
{
    uint8_t bytes_a[600], bytes_b[600];
    uint16_t len_a = 0, len_b = 0;
    return a->type == b->type && mir__dns_put_rdata(a, bytes_a, sizeof bytes_a, &len_a) == 0 &&
           mir__dns_put_rdata(b, bytes_b, sizeof bytes_b, &len_b) == 0 && len_a == len_b &&
           mir_memcmp(bytes_a, bytes_b, len_a) == 0;
}

/* Our records among those the asker knows, fresh enough. */
static uint32_t known_of(struct mir_mdns *m, const struct mir__dns_reader *start)
{
    struct mir__dns_reader reader = *start;
    struct mir__dns_record record;
    uint32_t mask = 0;
    while (mir__dns_read_record(&reader, &record) == 0 && record.section == MIR__DNS_ANSWER) {
        struct mir_dns_rdata theirs, ours;
        const struct mir_dns_name *name;
        uint32_t ttl_s;
        if (mir__dns_read_rdata(&reader, &record, &theirs) < 0)
            continue;
        for (uint32_t i = 0; i < MIR__MDNS_NSEC; i++) {
            if (!mir__mdns_has(m, (enum mir__mdns_record)i))
                continue;
            mir__mdns_build(m, (enum mir__mdns_record)i, &name, &ours, &ttl_s);
            if (mir_dns_name_equal(name, &record.name) && record.ttl_s >= ttl_s / 2 &&
                same_data(&ours, &theirs))
                mask |= 1u << i;
        }
    }
    return mask;
}

static bool may_answer_one(struct mir_mdns *m)
{
    mir_time_us now_us = mir__mdns_now(m);
    if (now_us - m->unicasts_since_us >= MIR_US_PER_S) {
        m->unicasts_since_us = now_us;
        m->unicasts = 0;
    }
    bool may_answer = m->unicasts < UNICASTS_MAX;
    if (may_answer)
        m->unicasts++;
    else
        m->stats.suppressed++;
    return may_answer;
}

/* To one asker: at once, with what comes beside. @question is repeated for a plain resolver. */
static void answer_one(struct mir_mdns *m, const struct mir_endpoint *to, uint32_t mask,
                       const struct mir__dns_question *question, uint16_t id)
{
    const struct style style = {.is_legacy = question != NULL};
    struct mir__dns_writer w;
    int r = 0;
    if (!may_answer_one(m))
        return;
    mir__dns_write(&w, m->out, sizeof m->out, id, MIR__DNS_QR | MIR__DNS_AA);
    w.compress_srv = question == NULL;
    if (question != NULL)
        r = mir__dns_write_question(&w, &question->name, question->type,
                                    question->class & (uint16_t)~MIR__MDNS_FLUSH);
    if (r < 0)
        return;
    add(m, &w, MIR__DNS_ANSWER, mask, &style);
    add(m, &w, MIR__DNS_ADDITIONAL, also(mask), &style);
    m->stats.answers++;
    (void)mir_udp_send(m->udp, to, m->out, mir__dns_write_end(&w));
}

static void answer_all(struct mir_mdns *m, const struct mir_udp_meta *meta, uint32_t mask,
                       const struct mir__dns_reader *reader)
{
    uint32_t shared = mask & (1u << MIR__MDNS_PTR | 1u << MIR__MDNS_META);
    bool has_more = (reader->flags & MIR__DNS_TC) != 0;
    bool is_probe = reader->count[MIR__DNS_AUTHORITY] > 0;
    if (shared == 0 && (is_probe || !has_more)) {
        send_answers(m, mask, is_probe ? DEFENSE_US : INTERVAL_US);
        return;
    }
    uint32_t delay_ms =
        has_more ? 400 + mir_rng_below(m->rng, 101) : 20 + mir_rng_below(m->rng, 101);
    if (m->pending == 0) {
        m->pending_for = meta->from.ip;
        mir_timer_set(m->stack->loop, &m->reply_timer, mir__mdns_now(m) + delay_ms * MIR_US_PER_MS);
    }
    m->pending |= mask;
}

/* ---- others that want our names
 * ------------------------------------------------------------------ */

/* The data of one name, as it is compared in a tie: sorted by type, then octets. */
struct claim {
    uint32_t count;
    struct {
        uint16_t type, len;
        uint8_t data[300];
    } item[TYPES_MAX];
};

static int compare_items(const struct claim *a, uint32_t i, const struct claim *b, uint32_t j)
{
    if (a->item[i].type != b->item[j].type)
        return a->item[i].type < b->item[j].type ? -1 : 1;
    uint16_t len = MIR_MIN(a->item[i].len, b->item[j].len);
    int order = mir_memcmp(a->item[i].data, b->item[j].data, len);
    return order != 0 ? order : (int)a->item[i].len - (int)b->item[j].len;
}

static void claim_add(struct claim *claim, const struct mir_dns_rdata *rdata)
{
    uint32_t at = claim->count;
    if (at == TYPES_MAX ||
        mir__dns_put_rdata(rdata, claim->item[at].data, sizeof claim->item[at].data,
                           &claim->item[at].len) < 0)
        return;
    claim->item[at].type = rdata->type;
    claim->count++;
    for (; at > 0 && compare_items(claim, at, claim, at - 1) < 0; at--) {
        __typeof__(claim->item[0]) moved = claim->item[at];
        claim->item[at] = claim->item[at - 1];
        claim->item[at - 1] = moved;
    }
}

static int compare_claims(const struct claim *a, const struct claim *b)
{
    for (uint32_t i = 0; i < a->count && i < b->count; i++) {
        int order = compare_items(a, i, b, i);
        if (order != 0)
            return order;
    }
    return (int)a->count - (int)b->count;
}

/* Somebody probes for @name while we do. Returns true if their data is greater. */
static bool loses(struct mir_mdns *m, const struct mir__dns_reader *start,
                  const struct mir_dns_name *name)
{
    struct claim ours = {.count = 0}, theirs = {.count = 0};
    struct mir__dns_reader reader = *start;
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    while (mir__dns_read_record(&reader, &record) == 0) {
        if (record.section == MIR__DNS_AUTHORITY && mir_dns_name_equal(&record.name, name) &&
            mir__dns_read_rdata(&reader, &record, &rdata) == 0)
            claim_add(&theirs, &rdata);
    }
    for (uint32_t i = 0; i <= MIR__MDNS_TXT; i++) {
        const struct mir_dns_name *own;
        uint32_t ttl_s;
        if (!mir__mdns_has(m, (enum mir__mdns_record)i))
            continue;
        mir__mdns_build(m, (enum mir__mdns_record)i, &own, &rdata, &ttl_s);
        if (mir_dns_name_equal(own, name))
            claim_add(&ours, &rdata);
    }
    return theirs.count > 0 && compare_claims(&ours, &theirs) < 0;
}

/* A response with a name that is to be ours alone, and other data than ours. Who still probes
 * gives way to whatever the name has already. */
static bool contradicts(struct mir_mdns *m, const struct mir__dns_record *record,
                        const struct mir_dns_rdata *theirs)
{
    bool is_ours = false, has_type = false;
    for (uint32_t i = 0; i <= MIR__MDNS_TXT; i++) {
        const struct mir_dns_name *name;
        struct mir_dns_rdata ours;
        uint32_t ttl_s;
        if (!mir__mdns_has(m, (enum mir__mdns_record)i))
            continue;
        mir__mdns_build(m, (enum mir__mdns_record)i, &name, &ours, &ttl_s);
        if (ours.type != record->type || !mir_dns_name_equal(name, &record->name))
            continue;
        has_type = true;
        is_ours = is_ours || same_data(&ours, theirs);
    }
    has_type |= m->state == MIR__MDNS_PROBING && record->type != MIR_DNS_NSEC;
    return has_type && !is_ours;
}

static void take_response(struct mir_mdns *m, struct mir__dns_reader *reader)
{
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    while (mir__dns_read_record(reader, &record) == 0) {
        bool is_host = mir_dns_name_equal(&record.name, &m->host);
        bool is_instance = m->has_service && mir_dns_name_equal(&record.name, &m->instance);
        if ((!is_host && !is_instance) || record.ttl_s == 0 ||
            mir__dns_read_rdata(reader, &record, &rdata) < 0 || !contradicts(m, &record, &rdata))
            continue;
        mir__mdns_conflict(m, is_host);
        return;
    }
}

static void take_query(struct mir_mdns *m, const struct mir_udp_meta *meta,
                       struct mir__dns_reader *reader)
{
    struct mir__dns_question question, first = {.type = 0};
    uint32_t mask = 0;
    bool wants_unicast = true, has_question = false;
    while (mir__dns_read_question(reader, &question) == 0) {
        uint32_t more = matches(m, &question);
        if (more != 0 && mask == 0)
            first = question;
        mask |= more;
        has_question = true;
        wants_unicast = wants_unicast && (question.class & MIR__MDNS_FLUSH) != 0;
    }
    m->stats.queries++;
    if (m->state == MIR__MDNS_PROBING) {
        if (loses(m, reader, &m->host) || (m->has_service && loses(m, reader, &m->instance)))
            mir__mdns_defer(m);
        return;
    }
    uint32_t known = known_of(m, reader);
    if (mir_ip_equal(&meta->from.ip, &m->pending_for))
        m->pending &= ~known; /* the rest of a list that came in pieces */
    mask &= ~known;
    if (mask == 0 || !has_question)
        return;
    if (meta->from.port != MIR__MDNS_PORT)
        answer_one(m, &meta->from, mask, &first, reader->id);
    else if (wants_unicast)
        answer_one(m, &meta->from, mask, NULL, 0);
    else
        answer_all(m, meta, mask, reader);
}

static bool is_from_link(const struct mir_udp_meta *meta)
{
    const struct mir_ip group4 = {{[10] = 0xff, [11] = 0xff, [12] = 224, [15] = 251}};
    const struct mir_ip group6 = {{0xff, 0x02, [15] = 0xfb}};
    return mir_ip_equal(&meta->to.ip, &group4) || mir_ip_equal(&meta->to.ip, &group6) ||
           meta->ttl == TTL_OF_THE_LINK;
}

void mir__mdns_take(struct mir_mdns *m, const struct mir_udp_meta *meta, const uint8_t *msg,
                    uint32_t len)
{
    struct mir__dns_reader reader;
    if (!is_from_link(meta)) {
        m->stats.foreign++;
        return;
    }
    if (mir__dns_read(&reader, msg, len) < 0) {
        m->stats.malformed++;
        return;
    }
    if (m->state == MIR__MDNS_NO_ADDRESS ||
        (reader.flags & (MIR__DNS_OPCODE_MASK | MIR__DNS_RCODE_MASK)) != 0)
        return;
    if ((reader.flags & MIR__DNS_QR) == 0)
        take_query(m, meta, &reader);
    else if (meta->from.port == MIR__MDNS_PORT)
        take_response(m, &reader);
}
