/* SPDX-License-Identifier: ISC */
/* What a response says: which of its records are believed, and what follows.
 *
 * The response comes from the server that was asked, with the right id, port and question (ask.c).
 * Even so only this much of it is believed: the aliases that lead from the question to its end, the
 * records of the asked type there, and, if there are none, the SOA that says for how long. All
 * other records are passed over; a lying or broken server can lie about what it was asked only.
 *
 *   records at the end of the aliases                    an answer
 *   none, with an SOA of a zone above the end            none (RFC 2308): kept for the SOA's time
 *   none, without SOA, aliases were followed             the end is asked next
 *   none, neither SOA nor alias, a referral              the server does not recurse: refused
 *   NXDOMAIN                                             the end of the aliases does not exist
 *   FORMERR, NOTIMP, BADVERS to a question with EDNS     again without
 *   any other code, or records that cannot be read       refused
 */
#include "lib/dns/internal.h"

struct findings {
    struct mir_dns_name end; /* of the aliases */
    uint32_t hops;
    uint32_t count;     /* records of the type at the end */
    uint32_t bytes;     /* they take in an answer */
    uint32_t ttl_s;     /* the least */
    uint32_t soa_ttl_s; /* how long "none" holds */
    bool has_soa, has_referral;
};

/* Times with the highest bit set are zero (RFC 2181 section 8). */
static uint32_t ttl_of(const struct mir__dns_record *record)
{
    return record->ttl_s > INT32_MAX ? 0 : record->ttl_s;
}

/* One alias, if the answer section has one for @f->end. Returns 1: followed, 0: none, or error. */
static int follow(const struct mir__dns_reader *start, struct findings *f)
{
    struct mir__dns_reader reader = *start;
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    int r;
    while ((r = mir__dns_read_record(&reader, &record)) == 0 && record.section == MIR__DNS_ANSWER) {
        if (record.type != MIR_DNS_CNAME || record.class != MIR__DNS_IN ||
            !mir_dns_name_equal(&record.name, &f->end))
            continue;
        if (mir__dns_read_rdata(&reader, &record, &rdata) < 0)
            return -MIR_EMALFORMED;
        f->end = rdata.name;
        f->ttl_s = MIR_MIN(f->ttl_s, ttl_of(&record));
        f->hops++;
        return 1;
    }
    return r == 0 || r == -MIR_EEOF ? 0 : r;
}

static bool is_wanted(const struct mir__dns_record *record, const struct findings *f, uint16_t type)
{
    return record->section == MIR__DNS_ANSWER && record->type == type &&
           record->class == MIR__DNS_IN && mir_dns_name_equal(&record->name, &f->end);
}

static void look_at_authority(const struct mir__dns_reader *reader,
                              const struct mir__dns_record *record, struct findings *f)
{
    struct mir_dns_rdata rdata;
    if (record->type == MIR_DNS_NS)
        f->has_referral = true;
    if (record->type != MIR_DNS_SOA || record->class != MIR__DNS_IN ||
        !mir_dns_name_is_in(&f->end, &record->name) ||
        mir__dns_read_rdata(reader, record, &rdata) < 0)
        return;
    f->has_soa = true;
    f->soa_ttl_s = MIR_MIN(ttl_of(record), rdata.soa.minimum_s);
}

/* Count what is wanted at the end of the aliases. */
static int survey(const struct mir__dns_reader *start, uint16_t type, struct findings *f)
{
    struct mir__dns_reader reader = *start;
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    int r;
    while ((r = mir__dns_read_record(&reader, &record)) == 0) {
        if (record.section == MIR__DNS_AUTHORITY)
            look_at_authority(&reader, &record, f);
        if (!is_wanted(&record, f, type))
            continue;
        if (mir__dns_read_rdata(&reader, &record, &rdata) < 0)
            return -MIR_EMALFORMED;
        f->bytes += mir__dns_answer_bytes(&rdata);
        f->ttl_s = MIR_MIN(f->ttl_s, ttl_of(&record));
        f->count++;
    }
    return r == -MIR_EEOF ? 0 : r;
}

static void collect(const struct mir__dns_reader *start, const struct findings *f,
                    struct mir_dns_answer *answer)
{
    struct mir__dns_reader reader = *start;
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    while (mir__dns_read_record(&reader, &record) == 0) {
        if (is_wanted(&record, f, answer->type) &&
            mir__dns_read_rdata(&reader, &record, &rdata) == 0)
            mir__dns_answer_add(answer, &rdata);
    }
}

static mir_time_us until(struct mir_dns *dns, uint32_t ttl_s, uint32_t max_s)
{
    return mir__dns_now(dns) + MIR_MIN(ttl_s, max_s) * MIR_US_PER_S;
}

static enum mir__dns_verdict say_none(struct mir__dns_ask *ask, const struct findings *f,
                                      bool is_nxdomain, struct mir_dns_answer **out)
{
    struct mir_dns *dns = ask->dns;
    struct mir_dns_answer *answer = mir__dns_answer_new(dns, &ask->name, ask->type, 0);
    if (answer == NULL)
        return MIR__DNS_IS_NO_MEMORY;
    answer->error = -MIR_ENOENT;
    answer->is_nxdomain = is_nxdomain;
    answer->canonical = f->end;
    /* Without an SOA nobody says how long: not at all. */
    uint32_t ttl_s = f->has_soa ? MIR_MIN(f->soa_ttl_s, f->ttl_s) : 0;
    answer->expires_us = until(dns, ttl_s, dns->config.negative_ttl_max_s);
    *out = answer;
    return MIR__DNS_IS_ANSWER;
}

static enum mir__dns_verdict say_found(struct mir__dns_ask *ask,
                                       const struct mir__dns_reader *start,
                                       const struct findings *f, struct mir_dns_answer **out)
{
    struct mir_dns *dns = ask->dns;
    struct mir_dns_answer *answer = mir__dns_answer_new(dns, &ask->name, ask->type, f->bytes);
    if (answer == NULL)
        return MIR__DNS_IS_NO_MEMORY;
    answer->canonical = f->end;
    answer->expires_us = until(dns, f->ttl_s, dns->config.ttl_max_s);
    collect(start, f, answer);
    *out = answer;
    return MIR__DNS_IS_ANSWER;
}

/* The response code with its upper bits (RFC 6891 section 6.1.3). */
static uint32_t code_of(const struct mir__dns_reader *start)
{
    struct mir__dns_reader reader = *start;
    struct mir__dns_record record;
    struct mir__dns_edns edns;
    uint32_t code = start->flags & MIR__DNS_RCODE_MASK;
    while (mir__dns_read_record(&reader, &record) == 0) {
        if (record.section != MIR__DNS_ADDITIONAL || record.type != MIR_DNS_OPT)
            continue;
        mir__dns_edns_of(&record, &edns);
        return code | (uint32_t)edns.rcode_high << 4;
    }
    return code;
}

enum mir__dns_verdict mir__dns_judge(struct mir__dns_ask *ask, struct mir__dns_reader *reader,
                                     struct mir_dns_answer **answer)
{
    uint32_t code = code_of(reader);
    if (ask->has_edns &&
        (code == MIR__DNS_FORMERR || code == MIR__DNS_NOTIMP || code == MIR__DNS_BADVERS))
        return MIR__DNS_IS_NO_EDNS;
    if (code != MIR__DNS_NOERROR && code != MIR__DNS_NXDOMAIN)
        return MIR__DNS_IS_REFUSAL;
    struct findings f = {.end = ask->target, .ttl_s = ask->ttl_s};
    int r = 1;
    while (r > 0 && ask->type != MIR_DNS_CNAME && ask->hops + f.hops <= MIR__DNS_HOPS_MAX)
        r = follow(reader, &f);
    if (r >= 0)
        r = survey(reader, ask->type, &f);
    if (r < 0) {
        ask->dns->stats.refused_form++;
        return MIR__DNS_IS_REFUSAL;
    }
    if (ask->hops + f.hops > MIR__DNS_HOPS_MAX)
        return MIR__DNS_IS_REFUSAL;
    if (code == MIR__DNS_NXDOMAIN)
        return say_none(ask, &f, true, answer);
    if (f.count > 0)
        return f.bytes <= MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE ? say_found(ask, reader, &f, answer)
                                                           : MIR__DNS_IS_REFUSAL;
    if (f.has_soa)
        return say_none(ask, &f, false, answer);
    if (f.hops > 0) {
        ask->target = f.end;
        ask->ttl_s = f.ttl_s;
        ask->hops = (uint8_t)(ask->hops + f.hops);
        return MIR__DNS_IS_ALIAS;
    }
    if (f.has_referral)
        return MIR__DNS_IS_REFUSAL;
    return say_none(ask, &f, false, answer);
}
