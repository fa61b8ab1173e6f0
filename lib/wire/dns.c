/* SPDX-License-Identifier: ISC */
/* DNS messages: reading and writing.
 *
 * Reading goes through the message once, from front to back. Every length is compared with what is
 * left before it is used. A compression pointer must lead to a place before the piece of name it
 * ends, so that following pointers always ends; a name of more than 255 octets is refused on the
 * way. Data of a known type must fill its length exactly, else the record is malformed; whoever
 * reads may skip it.
 *
 * Writing is all or nothing for a question or record: what does not fit is taken back, ends of
 * names included. The writer remembers where names and their ends begin in the message and compares
 * with the message itself, so that the table is two octets an entry. When it is full later names
 * are longer, not wrong.
 *
 * Case of letters is kept in both directions.
 *
 * Not done here: DNSSEC's types beyond their octets, and options of EDNS.
 */
#include "lib/wire/dns.h"

#include <mirari/format.h>

enum { POINTER = 0xc0, POINTERS_MAX = 127, OFFSET_MAX = 0x3fff };

/* ---- reading ------------------------------------------------------------------------------- */

int mir__dns_read(struct mir__dns_reader *reader, const uint8_t *msg, size_t len)
{
    if (len < MIR__DNS_HEADER_LEN)
        return -MIR_ETRUNCATED;
    if (len > MIR__DNS_MESSAGE_MAX)
        return -MIR_ETOOBIG;
    *reader = (struct mir__dns_reader){
        .msg = msg,
        .len = (uint32_t)len,
        .id = mir_get_be16(msg),
        .flags = mir_get_be16(msg + 2),
        .at = MIR__DNS_HEADER_LEN,
    };
    for (uint32_t i = 0; i < MIR__DNS_SECTIONS; i++) {
        reader->count[i] = mir_get_be16(msg + 4 + 2 * i);
        reader->left[i] = reader->count[i];
    }
    return 0;
}

int mir__dns_read_name(const uint8_t *msg, uint32_t len, uint32_t *at, struct mir_dns_name *name)
{
    uint32_t here = *at, piece = *at, out = 0;
    uint32_t jumps = 0;
    for (;;) {
        if (here >= len)
            return -MIR_ETRUNCATED;
        uint32_t label = msg[here];
        if (label >= POINTER) {
            if (len - here < 2)
                return -MIR_ETRUNCATED;
            uint32_t target = mir_get_be16(msg + here) & OFFSET_MAX;
            if (target >= piece || target < MIR__DNS_HEADER_LEN || jumps == POINTERS_MAX)
                return -MIR_EMALFORMED;
            if (jumps++ == 0)
                *at = here + 2;
            here = piece = target;
            continue;
        }
        if (label > 63 || out + label + 1 > MIR_DNS_NAME_MAX)
            return -MIR_EMALFORMED;
        if (len - here < label + 1)
            return -MIR_ETRUNCATED;
        mir_memcpy(name->wire + out, msg + here, label + 1);
        out += label + 1;
        here += label + 1;
        if (label == 0)
            break;
    }
    name->len = (uint8_t)out;
    if (jumps == 0)
        *at = here;
    return 0;
}

int mir__dns_read_question(struct mir__dns_reader *reader, struct mir__dns_question *question)
{
    uint32_t at = reader->at;
    if (reader->left[MIR__DNS_QUESTION] == 0)
        return -MIR_EEOF;
    if (reader->seen == MIR__DNS_RECORDS_MAX)
        return -MIR_ELIMIT;
    int r = mir__dns_read_name(reader->msg, reader->len, &at, &question->name);
    if (r < 0)
        return r;
    if (reader->len - at < 4)
        return -MIR_ETRUNCATED;
    question->type = mir_get_be16(reader->msg + at);
    question->class = mir_get_be16(reader->msg + at + 2);
    reader->at = at + 4;
    reader->left[MIR__DNS_QUESTION]--;
    reader->seen++;
    return 0;
}

static int skip_questions(struct mir__dns_reader *reader)
{
    struct mir__dns_question question;
    int r;
    do
        r = mir__dns_read_question(reader, &question);
    while (r == 0);
    return r == -MIR_EEOF ? 0 : r;
}

int mir__dns_read_record(struct mir__dns_reader *reader, struct mir__dns_record *record)
{
    int r = skip_questions(reader);
    if (r < 0)
        return r;
    uint32_t section = MIR__DNS_ANSWER;
    while (section < MIR__DNS_SECTIONS && reader->left[section] == 0)
        section++;
    if (section == MIR__DNS_SECTIONS)
        return -MIR_EEOF;
    if (reader->seen == MIR__DNS_RECORDS_MAX)
        return -MIR_ELIMIT;
    uint32_t at = reader->at;
    r = mir__dns_read_name(reader->msg, reader->len, &at, &record->name);
    if (r < 0)
        return r;
    if (reader->len - at < 10)
        return -MIR_ETRUNCATED;
    const uint8_t *fixed = reader->msg + at;
    record->type = mir_get_be16(fixed);
    record->class = mir_get_be16(fixed + 2);
    record->ttl_s = mir_get_be32(fixed + 4);
    record->data_len = mir_get_be16(fixed + 8);
    record->data_at = at + 10;
    record->section = (enum mir__dns_section)section;
    if (reader->len - record->data_at < record->data_len)
        return -MIR_ETRUNCATED;
    reader->at = record->data_at + record->data_len;
    reader->left[section]--;
    reader->seen++;
    return 0;
}

void mir__dns_edns_of(const struct mir__dns_record *record, struct mir__dns_edns *edns)
{
    edns->udp_bytes = record->class;
    edns->rcode_high = (uint8_t)(record->ttl_s >> 24);
    edns->version = (uint8_t)(record->ttl_s >> 16);
    edns->dnssec_ok = record->ttl_s >> 15 & 1;
}

/* ---- data of records ------------------------------------------------------------------------ */

/* Data being read: [at, end) of a message that names may point into. */
struct data {
    const uint8_t *msg;
    uint32_t at, end;
};

static int take_name(struct data *d, struct mir_dns_name *name)
{
    return mir__dns_read_name(d->msg, d->end, &d->at, name) < 0 ? -MIR_EMALFORMED : 0;
}

static int take_numbers16(struct data *d, uint16_t *const *out, uint32_t count)
{
    if (d->end - d->at < 2 * count)
        return -MIR_EMALFORMED;
    for (uint32_t i = 0; i < count; i++, d->at += 2)
        *out[i] = mir_get_be16(d->msg + d->at);
    return 0;
}

static int take_soa(struct data *d, struct mir_dns_soa *soa)
{
    uint32_t *const out[] = {&soa->serial, &soa->refresh_s, &soa->retry_s, &soa->expire_s,
                             &soa->minimum_s};
    int r = take_name(d, &soa->primary);
    if (r == 0)
        r = take_name(d, &soa->mailbox);
    if (r < 0 || d->end - d->at < 20)
        return -MIR_EMALFORMED;
    for (uint32_t i = 0; i < MIR_ARRAY_LEN(out); i++, d->at += 4)
        *out[i] = mir_get_be32(d->msg + d->at);
    return 0;
}

static int take_caa(struct data *d, struct mir_dns_caa *caa)
{
    uint32_t len = d->end - d->at;
    const uint8_t *from = d->msg + d->at;
    if (len < 2 || from[1] == 0 || from[1] > sizeof caa->tag || len - 2 < from[1])
        return -MIR_EMALFORMED;
    caa->flags = from[0];
    caa->tag_len = from[1];
    mir_memcpy(caa->tag, from + 2, caa->tag_len);
    caa->value = from + 2 + caa->tag_len;
    caa->value_len = (uint16_t)(len - 2 - caa->tag_len);
    d->at = d->end;
    return 0;
}

/* One or more strings, each with its length in front. */
static int take_strings(struct data *d, struct mir_dns_raw *raw)
{
    raw->data = d->msg + d->at;
    raw->len = (uint16_t)(d->end - d->at);
    if (raw->len == 0)
        return -MIR_EMALFORMED;
    while (d->at < d->end) {
        if (d->end - d->at - 1 < d->msg[d->at])
            return -MIR_EMALFORMED;
        d->at += 1u + d->msg[d->at];
    }
    return 0;
}

static int take_address(struct data *d, uint16_t type, struct mir_ip *ip)
{
    uint32_t len = type == MIR_DNS_A ? 4 : 16;
    if (d->end - d->at != len)
        return -MIR_EMALFORMED;
    if (type == MIR_DNS_A)
        *ip = mir_ip_from_v4(mir_get_be32(d->msg + d->at));
    else
        mir_memcpy(ip->bytes, d->msg + d->at, 16);
    d->at = d->end;
    return 0;
}

static int take_srv(struct data *d, struct mir_dns_srv *srv)
{
    int r = take_numbers16(d, (uint16_t *const[]){&srv->priority, &srv->weight, &srv->port}, 3);
    return r < 0 ? r : take_name(d, &srv->target);
}

static int take_mx(struct data *d, struct mir_dns_mx *mx)
{
    int r = take_numbers16(d, (uint16_t *const[]){&mx->preference}, 1);
    return r < 0 ? r : take_name(d, &mx->exchange);
}

static int take(struct data *d, uint16_t type, struct mir_dns_rdata *rdata)
{
    rdata->type = type;
    switch (type) {
    case MIR_DNS_A:
    case MIR_DNS_AAAA:
        return take_address(d, type, &rdata->ip);
    case MIR_DNS_NS:
    case MIR_DNS_CNAME:
    case MIR_DNS_PTR:
        return take_name(d, &rdata->name);
    case MIR_DNS_MX:
        return take_mx(d, &rdata->mx);
    case MIR_DNS_SRV:
        return take_srv(d, &rdata->srv);
    case MIR_DNS_SOA:
        return take_soa(d, &rdata->soa);
    case MIR_DNS_CAA:
        return take_caa(d, &rdata->caa);
    case MIR_DNS_TXT:
        return take_strings(d, &rdata->raw);
    default:
        rdata->raw = (struct mir_dns_raw){d->msg + d->at, (uint16_t)(d->end - d->at)};
        d->at = d->end;
        return 0;
    }
}

static int take_whole(struct data *d, uint16_t type, struct mir_dns_rdata *rdata)
{
    int r = take(d, type, rdata);
    return r < 0 || d->at != d->end ? -MIR_EMALFORMED : 0;
}

int mir__dns_read_rdata(const struct mir__dns_reader *reader, const struct mir__dns_record *record,
                        struct mir_dns_rdata *rdata)
{
    struct data d = {reader->msg, record->data_at, record->data_at + record->data_len};
    return take_whole(&d, record->type, rdata);
}

int mir__dns_get_rdata(const uint8_t *data, uint16_t len, uint16_t type,
                       struct mir_dns_rdata *rdata)
{
    struct data d = {data, 0, len};
    return take_whole(&d, type, rdata);
}

/* ---- writing ------------------------------------------------------------------------------- */

void mir__dns_write(struct mir__dns_writer *writer, uint8_t *out, size_t size, uint16_t id,
                    uint16_t flags)
{
    MIR_ASSERT_OP(size, >=, MIR__DNS_HEADER_LEN);
    *writer = (struct mir__dns_writer){.out = out,
                                       .size = (uint32_t)MIR_MIN(size, MIR__DNS_MESSAGE_MAX),
                                       .at = MIR__DNS_HEADER_LEN};
    mir_put_be16(out, id);
    mir_put_be16(out + 2, flags);
}

void mir__dns_write_flags(struct mir__dns_writer *writer, uint16_t flags)
{
    mir_put_be16(writer->out + 2, flags);
}

static bool put(struct mir__dns_writer *w, const void *bytes, uint32_t len)
{
    if (w->at > w->size || w->size - w->at < len)
        return false;
    if (len > 0)
        mir_memcpy(w->out + w->at, bytes, len);
    w->at += len;
    return true;
}

static bool put16(struct mir__dns_writer *w, uint16_t value)
{
    uint8_t bytes[2];
    mir_put_be16(bytes, value);
    return put(w, bytes, sizeof bytes);
}

static bool put32(struct mir__dns_writer *w, uint32_t value)
{
    uint8_t bytes[4];
    mir_put_be32(bytes, value);
    return put(w, bytes, sizeof bytes);
}

/* Does the name written at @at equal @wire to its end? What we wrote is well formed. */
static bool is_written(const struct mir__dns_writer *w, uint32_t at, const uint8_t *wire)
{
    for (;;) {
        uint32_t label = w->out[at];
        if (label >= POINTER) {
            at = mir_get_be16(w->out + at) & OFFSET_MAX;
            continue;
        }
        if (label != *wire || mir_memcmp(w->out + at, wire, label + 1) != 0)
            return false;
        if (label == 0)
            return true;
        at += label + 1;
        wire += label + 1;
    }
}

static uint32_t find_suffix(const struct mir__dns_writer *w, const uint8_t *wire)
{
    for (uint32_t i = 0; i < w->suffix_count; i++) {
        if (is_written(w, w->suffix[i], wire))
            return w->suffix[i];
    }
    return 0;
}

/* Places are remembered only after the whole name is there: it may not be compared with itself. */
static bool put_name(struct mir__dns_writer *w, const struct mir_dns_name *name, bool compress)
{
    uint16_t fresh[128];
    uint32_t fresh_count = 0, at = 0, known = 0;
    MIR_ASSERT_OP(name->len, >, 0);
    compress = compress && !w->no_compression;
    while (name->wire[at] != 0) {
        known = compress ? find_suffix(w, name->wire + at) : 0;
        if (known != 0)
            break;
        if (w->at <= OFFSET_MAX)
            fresh[fresh_count++] = (uint16_t)w->at;
        if (!put(w, name->wire + at, 1u + name->wire[at]))
            return false;
        at += 1u + name->wire[at];
    }
    if (!(known != 0 ? put16(w, (uint16_t)(POINTER << 8 | known)) : put(w, "", 1)))
        return false;
    for (uint32_t i = 0; i < fresh_count && w->suffix_count < MIR__DNS_SUFFIXES_MAX; i++)
        w->suffix[w->suffix_count++] = fresh[i];
    return true;
}

static bool put_soa(struct mir__dns_writer *w, const struct mir_dns_soa *soa)
{
    return put_name(w, &soa->primary, true) && put_name(w, &soa->mailbox, true) &&
           put32(w, soa->serial) && put32(w, soa->refresh_s) && put32(w, soa->retry_s) &&
           put32(w, soa->expire_s) && put32(w, soa->minimum_s);
}

static bool put_caa(struct mir__dns_writer *w, const struct mir_dns_caa *caa)
{
    return put(w, &caa->flags, 1) && put(w, &caa->tag_len, 1) && put(w, caa->tag, caa->tag_len) &&
           put(w, caa->value, caa->value_len);
}

static bool put_data(struct mir__dns_writer *w, const struct mir_dns_rdata *rdata)
{
    switch (rdata->type) {
    case MIR_DNS_A:
        return put(w, rdata->ip.bytes + 12, 4);
    case MIR_DNS_AAAA:
        return put(w, rdata->ip.bytes, 16);
    case MIR_DNS_NS:
    case MIR_DNS_CNAME:
    case MIR_DNS_PTR:
        return put_name(w, &rdata->name, true);
    case MIR_DNS_MX:
        return put16(w, rdata->mx.preference) && put_name(w, &rdata->mx.exchange, true);
    case MIR_DNS_SRV:
        return put16(w, rdata->srv.priority) && put16(w, rdata->srv.weight) &&
               put16(w, rdata->srv.port) && put_name(w, &rdata->srv.target, w->compress_srv);
    case MIR_DNS_SOA:
        return put_soa(w, &rdata->soa);
    case MIR_DNS_CAA:
        return put_caa(w, &rdata->caa);
    default:
        return put(w, rdata->raw.data, rdata->raw.len);
    }
}

/* What take_back() returns to. */
struct mark {
    uint32_t at;
    uint16_t suffix_count;
};

static int take_back(struct mir__dns_writer *w, struct mark mark)
{
    w->at = mark.at;
    w->suffix_count = mark.suffix_count;
    return -MIR_ETOOBIG;
}

static void count(struct mir__dns_writer *w, enum mir__dns_section section)
{
    MIR_ASSERT_OP(section, >=, w->section);
    w->section = (uint16_t)section;
    w->count[section]++;
}

int mir__dns_write_question(struct mir__dns_writer *writer, const struct mir_dns_name *name,
                            uint16_t type, uint16_t class)
{
    struct mark mark = {writer->at, writer->suffix_count};
    if (!put_name(writer, name, true) || !put16(writer, type) || !put16(writer, class))
        return take_back(writer, mark);
    count(writer, MIR__DNS_QUESTION);
    return 0;
}

int mir__dns_write_record(struct mir__dns_writer *writer, enum mir__dns_section section,
                          const struct mir_dns_name *name, uint16_t class, uint32_t ttl_s,
                          const struct mir_dns_rdata *rdata)
{
    struct mark mark = {writer->at, writer->suffix_count};
    if (!put_name(writer, name, true) || !put16(writer, rdata->type) || !put16(writer, class) ||
        !put32(writer, ttl_s) || !put16(writer, 0))
        return take_back(writer, mark);
    uint32_t data_at = writer->at;
    if (!put_data(writer, rdata))
        return take_back(writer, mark);
    mir_put_be16(writer->out + data_at - 2, (uint16_t)(writer->at - data_at));
    count(writer, section);
    return 0;
}

int mir__dns_write_edns(struct mir__dns_writer *writer, const struct mir__dns_edns *edns)
{
    static const struct mir_dns_name root = {.len = 1};
    const struct mir_dns_rdata none = {.type = MIR_DNS_OPT, .raw = {(const uint8_t *)"", 0}};
    uint32_t ttl = (uint32_t)edns->rcode_high << 24 | (uint32_t)edns->version << 16 |
                   (edns->dnssec_ok ? 0x8000u : 0);
    return mir__dns_write_record(writer, MIR__DNS_ADDITIONAL, &root, edns->udp_bytes, ttl, &none);
}

uint32_t mir__dns_write_end(struct mir__dns_writer *writer)
{
    for (uint32_t i = 0; i < MIR__DNS_SECTIONS; i++)
        mir_put_be16(writer->out + 4 + 2 * i, writer->count[i]);
    return writer->at;
}

int mir__dns_put_rdata(const struct mir_dns_rdata *rdata, uint8_t *out, size_t size, uint16_t *len)
{
    struct mir__dns_writer w = {
        .out = out, .size = (uint32_t)MIR_MIN(size, MIR__DNS_MESSAGE_MAX), .no_compression = true};
    if (!put_data(&w, rdata))
        return -MIR_ETOOBIG;
    *len = (uint16_t)w.at;
    return 0;
}
