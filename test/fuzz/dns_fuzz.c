/* SPDX-License-Identifier: ISC */
/* DNS messages: what is read can be written and reads the same again; text of names parses back. */
#include <stdlib.h>
#include <string.h>

#include "lib/wire/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static uint8_t out[MIR__DNS_MESSAGE_MAX];
static struct mir__dns_writer writer;

static bool same_name(const struct mir_dns_name *a, const struct mir_dns_name *b)
{
    return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

static void check_name(const struct mir_dns_name *name)
{
    char text[MIR_DNS_NAME_TEXT_MAX];
    struct mir_dns_name again;
    mir_dns_name_text(name, text);
    REQUIRE(strlen(text) < sizeof text);
    REQUIRE(mir_dns_name_parse(text, strlen(text), &again) == 0);
    REQUIRE(same_name(name, &again));
    REQUIRE(mir_dns_name_is_in(name, name));
}

static void check_rdata(const struct mir_dns_rdata *rdata)
{
    static uint8_t alone[MIR__DNS_MESSAGE_MAX];
    static char text[300000], again[300000];
    struct mir_dns_rdata copy;
    uint16_t len;
    if (mir__dns_put_rdata(rdata, alone, sizeof alone, &len) < 0)
        return; /* names written whole may be longer than a message */
    REQUIRE(mir__dns_get_rdata(alone, len, rdata->type, &copy) == 0);
    REQUIRE(mir_dns_rdata_text(rdata, text, sizeof text) < sizeof text);
    mir_dns_rdata_text(&copy, again, sizeof again);
    REQUIRE(strcmp(text, again) == 0);
}

/* Read what was written: the same records in the same order. */
static void compare(const uint8_t *data, size_t size, uint32_t len)
{
    struct mir__dns_reader a, b;
    struct mir__dns_record ra, rb;
    struct mir_dns_rdata da, db;
    static uint8_t ba[MIR__DNS_MESSAGE_MAX], bb[MIR__DNS_MESSAGE_MAX];
    uint16_t la = 0, lb = 0;
    REQUIRE(mir__dns_read(&a, data, size) == 0);
    REQUIRE(mir__dns_read(&b, out, len) == 0);
    while (mir__dns_read_record(&b, &rb) == 0) {
        do
            REQUIRE(mir__dns_read_record(&a, &ra) == 0);
        while (mir__dns_read_rdata(&a, &ra, &da) < 0);
        REQUIRE(same_name(&ra.name, &rb.name));
        REQUIRE(ra.type == rb.type && ra.class == rb.class && ra.ttl_s == rb.ttl_s);
        REQUIRE(ra.section == rb.section);
        REQUIRE(mir__dns_read_rdata(&b, &rb, &db) == 0);
        int r = mir__dns_put_rdata(&da, ba, sizeof ba, &la);
        REQUIRE(r == mir__dns_put_rdata(&db, bb, sizeof bb, &lb));
        REQUIRE(r < 0 || (la == lb && memcmp(ba, bb, la) == 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mir__dns_reader reader;
    struct mir__dns_question question;
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    struct mir_dns_name name;
    bool is_full = false;
    if (mir_dns_name_parse((const char *)data, size, &name) == 0)
        check_name(&name);
    if (mir__dns_read(&reader, data, size) < 0)
        return 0;
    mir__dns_write(&writer, out, sizeof out, reader.id, reader.flags);
    writer.compress_srv = reader.id & 1;
    while (!is_full && mir__dns_read_question(&reader, &question) == 0) {
        check_name(&question.name);
        is_full = mir__dns_write_question(&writer, &question.name, question.type, question.class);
    }
    while (!is_full && mir__dns_read_record(&reader, &record) == 0) {
        check_name(&record.name);
        if (mir__dns_read_rdata(&reader, &record, &rdata) < 0)
            continue;
        check_rdata(&rdata);
        is_full = mir__dns_write_record(&writer, record.section, &record.name, record.class,
                                        record.ttl_s, &rdata);
    }
    compare(data, size, mir__dns_write_end(&writer));
    return 0;
}
