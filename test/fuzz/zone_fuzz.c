/* SPDX-License-Identifier: ISC */
/* Master files: whatever the text, it is a zone or it is reported; a zone answers for all its
 * names, and what it answers reads as a message. */
#include <stdlib.h>
#include <string.h>

#include "test/harness/authbed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static uint32_t errors;
static const char *included;
static size_t included_len;

static void report(void *arg, bool is_error, const char *line)
{
    (void)arg;
    REQUIRE(strlen(line) > 0 && strchr(line, ':') != NULL);
    errors += is_error;
}

static int include(void *arg, const char *name, const char **text, size_t *len)
{
    (void)arg, (void)name;
    *text = included;
    *len = included_len;
    return 0;
}

static void read_answer(const uint8_t *msg, uint32_t len)
{
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    int r;
    REQUIRE(mir__dns_read(&reader, msg, len) == 0);
    while ((r = mir__dns_read_record(&reader, &record)) == 0)
        ;
    REQUIRE(r == -MIR_EEOF || r == -MIR_ELIMIT);
}

/* Every name, every type that it has and one that it has not, as it is and with a label more. */
static void ask_node(struct mir_dns_server *server, const struct mir__zone_node *node)
{
    static uint8_t question[600], answer[65535];
    for (uint32_t i = 0; i < 2; i++) {
        const struct mir__zone_set *set = node->sets;
        uint32_t front = i * 2, len = MIR__DNS_HEADER_LEN + front + node->len + 4u;
        if (front + node->len > MIR_DNS_NAME_MAX)
            return;
        for (bool is_last = false; !is_last; set = set->next) {
            struct mir__auth_reply reply;
            is_last = set == NULL;
            memset(question, 0, MIR__DNS_HEADER_LEN);
            question[5] = 1;
            memcpy(question + MIR__DNS_HEADER_LEN, "\1q", front);
            memcpy(question + MIR__DNS_HEADER_LEN + front, mir__zone_written(node), node->len);
            mir_put_be16(question + len - 4, is_last ? MIR_DNS_ANY : set->type);
            mir_put_be16(question + len - 2, MIR__DNS_IN);
            mir__auth_ask(server, question, len, true, &reply);
            if (reply.verdict != MIR__AUTH_REPLY)
                continue;
            mir__auth_put(server, &reply, question, answer);
            read_answer(answer, mir__auth_reply_len(&reply));
            if (is_last)
                break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct testbed bed;
    static bool is_open;
    struct mir_dns_zone *zone = NULL;
    struct mir_dns_server *server;
    if (!is_open) {
        testbed_init(&bed, 1, 32 << 20, 0);
        testbed_open(&bed, NULL);
        is_open = true;
    }
    /* What is behind the first NUL is what $INCLUDE names. */
    const uint8_t *nul = memchr(data, 0, size);
    size_t len = nul != NULL ? (size_t)(nul - data) : size;
    included = (const char *)data + len;
    included_len = size - len;
    if (included_len > 0) {
        included++;
        included_len--;
    }
    struct mir_dns_zone_config config = {.pages = &bed.pages,
                                         .origin = "example.org",
                                         .file = "zone",
                                         .text = (const char *)data,
                                         .len = len,
                                         .include = include,
                                         .report = report,
                                         .bytes_max = 4 << 20};
    errors = 0;
    int r = mir_dns_zone_open(&config, &zone);
    REQUIRE((r == -MIR_EMALFORMED) == (errors > 0 && r != -MIR_ELIMIT));
    if (r < 0)
        return 0;
    struct mir_dns_server_config serve = {
        .stack = bed.stack, .rng = &bed.rng, .zones = &zone, .zone_count = 1};
    REQUIRE(mir_dns_server_open(&serve, &server) == 0);
    for (const struct mir__zone_node *node = zone->apex; node != NULL; node = node->next)
        ask_node(server, node);
    mir_dns_server_close(server);
    mir_dns_zone_close(zone);
    return 0;
}
