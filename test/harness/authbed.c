/* SPDX-License-Identifier: ISC */
/* A name server on a test bed: see authbed.h. */
#include "test/harness/authbed.h"

#include <stdio.h>
#include <string.h>

#include "test/harness/tap.h"

void authbed_open(struct authbed *bed)
{
    memset(bed, 0, sizeof *bed);
    testbed_init(&bed->bed, 1, 32 << 20, 0);
    testbed_open(&bed->bed, NULL);
}

static void report(void *arg, bool is_error, const char *line)
{
    struct authbed *bed = arg;
    size_t len = strlen(bed->report);
    (void)is_error;
    snprintf(bed->report + len, sizeof bed->report - len, "%s\n", line);
}

static int include(void *arg, const char *name, const char **text, size_t *len)
{
    struct authbed *bed = arg;
    if (bed->include_name == NULL || strcmp(name, bed->include_name) != 0)
        return -MIR_ENOENT;
    *text = bed->include_text;
    *len = strlen(bed->include_text);
    return 0;
}

int authbed_zone(struct authbed *bed, const char *origin, const char *text)
{
    struct mir_dns_zone_config config = {
        .pages = &bed->bed.pages,
        .origin = origin,
        .file = "zone",
        .text = text,
        .len = strlen(text),
        .include = bed->include_name != NULL ? include : NULL,
        .report = report,
        .arg = bed,
    };
    bed->report[0] = '\0';
    int r = mir_dns_zone_open(&config, &bed->zones[bed->zone_count]);
    if (r == 0)
        bed->zone_count++;
    return r;
}

void authbed_serve(struct authbed *bed, const struct mir_dns_server_config *config)
{
    struct mir_dns_server_config c = {.stack = NULL};
    if (config != NULL)
        c = *config;
    c.stack = bed->bed.stack;
    c.rng = &bed->bed.rng;
    c.zones = bed->zones;
    c.zone_count = bed->zone_count;
    check_int(mir_dns_server_open(&c, &bed->server), ==, 0);
}

uint32_t authbed_question(const struct authbed *bed, const char *name, uint16_t type,
                          uint8_t out[512])
{
    struct mir_dns_name parsed;
    struct mir__dns_writer w;
    check_int(mir_dns_name_parse(name, strlen(name), &parsed), ==, 0);
    mir__dns_write(&w, out, 512, 0x1234, bed->flags);
    check_int(
        mir__dns_write_question(&w, &parsed, type, bed->class != 0 ? bed->class : MIR__DNS_IN), ==,
        0);
    struct mir__dns_edns edns = {
        .udp_bytes = bed->udp_bytes, .version = bed->version, .dnssec_ok = bed->dnssec_ok};
    if (bed->has_opt)
        check_int(mir__dns_write_edns(&w, &edns), ==, 0);
    return mir__dns_write_end(&w);
}

void authbed_give(struct authbed *bed, const uint8_t *question, uint32_t len)
{
    struct mir__auth_reply reply;
    mir__auth_ask(bed->server, question, len, bed->is_tcp, &reply);
    bed->msg_len = 0;
    if (reply.verdict == MIR__AUTH_DROP)
        return;
    if (reply.verdict == MIR__AUTH_TRANSFER)
        reply.flags |= MIR__DNS_REFUSED;
    bed->msg_len = mir__auth_reply_len(&reply);
    check_int(bed->msg_len, <=, sizeof bed->msg);
    mir__auth_put(bed->server, &reply, question, bed->msg);
}

/* ---- text ----------------------------------------------------------------------------------- */

static void add(struct authbed *bed, size_t *at, const char *text)
{
    *at += (size_t)snprintf(bed->text + *at, sizeof bed->text - *at, "%s", text);
}

static void add_record(struct authbed *bed, size_t *at, const struct mir__dns_reader *reader,
                       const struct mir__dns_record *record)
{
    static char data[100000];
    char name[MIR_DNS_NAME_TEXT_MAX], type[MIR_DNS_TYPE_TEXT_MAX], line[1200];
    struct mir_dns_rdata rdata;
    mir_dns_name_text(&record->name, name);
    if (record->type == MIR_DNS_OPT) {
        struct mir__dns_edns edns;
        mir__dns_edns_of(record, &edns);
        snprintf(line, sizeof line, " OPT %u %u%s", edns.udp_bytes, edns.rcode_high,
                 edns.dnssec_ok ? " do" : "");
        add(bed, at, line);
        return;
    }
    snprintf(line, sizeof line, " %s %u %s ", name, record->ttl_s,
             mir_dns_type_text(record->type, type));
    add(bed, at, line);
    if (mir__dns_read_rdata(reader, record, &rdata) < 0)
        snprintf(data, sizeof data, "(wrong)");
    else
        mir_dns_rdata_text(&rdata, data, sizeof data);
    add(bed, at, data);
}

const char *authbed_text(struct authbed *bed)
{
    static const char *const codes[16] = {"NOERROR", "FORMERR",  "SERVFAIL", "NXDOMAIN", "NOTIMP",
                                          "REFUSED", "YXDOMAIN", "7",        "8",        "NOTAUTH"};
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    size_t at = 0;
    int section = MIR__DNS_ANSWER, r;
    bool is_first = true;
    if (bed->msg_len == 0)
        return strcpy(bed->text, "nothing");
    if (mir__dns_read(&reader, bed->msg, bed->msg_len) < 0)
        return strcpy(bed->text, "too short");
    add(bed, &at, codes[reader.flags & 15] != NULL ? codes[reader.flags & 15] : "?");
    add(bed, &at, reader.flags & MIR__DNS_AA ? " aa" : "");
    add(bed, &at, reader.flags & MIR__DNS_TC ? " tc" : "");
    add(bed, &at, reader.flags & MIR__DNS_RD ? " rd" : "");
    add(bed, &at, " |");
    while ((r = mir__dns_read_record(&reader, &record)) == 0) {
        for (; section < (int)record.section; section++) {
            add(bed, &at, " |");
            is_first = true;
        }
        add(bed, &at, is_first ? "" : " ;");
        is_first = false;
        add_record(bed, &at, &reader, &record);
    }
    for (; section < MIR__DNS_ADDITIONAL; section++)
        add(bed, &at, " |");
    if (r != -MIR_EEOF)
        add(bed, &at, " malformed");
    return bed->text;
}

const char *authbed_ask(struct authbed *bed, const char *name, uint16_t type)
{
    uint8_t question[512];
    uint32_t len = authbed_question(bed, name, type, question);
    authbed_give(bed, question, len);
    return authbed_text(bed);
}

void authbed_close(struct authbed *bed)
{
    if (bed->server != NULL)
        mir_dns_server_close(bed->server);
    for (uint32_t i = 0; i < bed->zone_count; i++)
        mir_dns_zone_close(bed->zones[i]);
    testbed_close(&bed->bed);
}
