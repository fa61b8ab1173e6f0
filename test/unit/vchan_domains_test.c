/* SPDX-License-Identifier: ISC */
/* vchan between domains, over a Xen that is played: a table of grants, ports and a store which
 * refuse what the real ones refuse. Streams, the order of the keys, ends, deaths, keys that lie;
 * afterwards nothing is granted, mapped, bound or written any more. */
#include <stdlib.h>
#include <string.h>

#include <mirari/format.h>
#include <mirari/vchan.h>

#include "dev/channel/xen/xen.h"
#include "test/harness/tap.h"

#define GRANTS 600u
#define PORTS  8u
#define KEYS   4u
#define PATH   "/local/domain/1/data/vchan/2/test"

static struct {
    struct {
        uint8_t *at;
        uint16_t domain; /* who may map it; 0 = not granted */
        unsigned mapped;
    } grant[GRANTS];
    struct {
        bool is_open;
        uint16_t domain;
        uint32_t peer; /* 0 = nobody bound */
        unsigned rung;
    } port[PORTS];
    struct {
        char path[MIR_XEN_PATH_MAX + 16], value[MIR_XEN_VALUE_MAX];
    } key[KEYS];
    unsigned mapped_pages;
} xen;

/* Arg is the domain that asks. */
static uint16_t self(void *arg)
{
    return (uint16_t)(uintptr_t)arg;
}

static int do_grant(void *arg, uint16_t domain, uint32_t count, uint32_t *refs, void **at)
{
    (void)arg;
    uint8_t *memory = aligned_alloc(4096, (size_t)count * 4096);
    memset(memory, 0, (size_t)count * 4096);
    for (uint32_t i = 0, ref = 8; i < count; ref++) {
        if (ref == GRANTS)
            return -MIR_ELIMIT;
        if (xen.grant[ref].domain != 0)
            continue;
        xen.grant[ref].domain = domain;
        xen.grant[ref].at = memory + (size_t)i * 4096;
        refs[i++] = ref;
    }
    *at = memory;
    return 0;
}

static void do_ungrant(void *arg, const uint32_t *refs, uint32_t count, void *at)
{
    (void)arg;
    for (uint32_t i = 0; i < count; i++) {
        check(xen.grant[refs[i]].domain != 0);
        xen.grant[refs[i]].domain = 0;
    }
    free(at);
}

/* Only what lies together, as grants of this test do. */
static int do_map(void *arg, uint16_t domain, const uint32_t *refs, uint32_t count, void **at)
{
    (void)domain;
    for (uint32_t i = 0; i < count; i++)
        if (refs[i] >= GRANTS || xen.grant[refs[i]].domain != self(arg) ||
            xen.grant[refs[i]].at != xen.grant[refs[0]].at + (size_t)i * 4096)
            return -MIR_EINVAL;
    *at = xen.grant[refs[0]].at;
    xen.mapped_pages += count;
    return 0;
}

static void do_unmap(void *arg, void *at, uint32_t count)
{
    (void)arg;
    (void)at;
    xen.mapped_pages -= count;
}

static int new_port(uint16_t domain, uint32_t peer, uint32_t *port)
{
    for (uint32_t i = 1; i < PORTS; i++) {
        if (xen.port[i].is_open)
            continue;
        xen.port[i].is_open = true;
        xen.port[i].domain = domain;
        xen.port[i].peer = peer;
        xen.port[i].rung = 0;
        *port = i;
        return 0;
    }
    return -MIR_ELIMIT;
}

static int do_open_port(void *arg, uint16_t domain, uint32_t *port)
{
    (void)arg;
    return new_port(domain, 0, port);
}

static int do_bind_port(void *arg, uint16_t domain, uint32_t theirs, uint32_t *port)
{
    if (theirs == 0 || theirs >= PORTS || !xen.port[theirs].is_open ||
        xen.port[theirs].domain != self(arg) || xen.port[theirs].peer != 0)
        return -MIR_EINVAL;
    int r = new_port(domain, theirs, port);
    if (r == 0)
        xen.port[theirs].peer = *port;
    return r;
}

static void do_notify(void *arg, uint32_t port)
{
    (void)arg;
    xen.port[xen.port[port].peer].rung++;
}

static void do_close_port(void *arg, uint32_t port)
{
    (void)arg;
    check(xen.port[port].is_open);
    xen.port[port].is_open = false;
}

static char *value_at(const char *path, bool make)
{
    for (unsigned i = 0; i < KEYS; i++)
        if (strcmp(xen.key[i].path, path) == 0)
            return xen.key[i].value;
    for (unsigned i = 0; i < KEYS && make; i++)
        if (xen.key[i].path[0] == '\0') {
            strcpy(xen.key[i].path, path);
            return xen.key[i].value;
        }
    return NULL;
}

static int do_write(void *arg, const char *path, const char *value, uint16_t domain)
{
    (void)arg;
    check_int(domain, ==, 2);
    /* Whoever sees the event channel must find the other key. */
    if (strstr(path, "event-channel") != NULL)
        check(value_at(PATH "/ring-ref", false) != NULL);
    strcpy(value_at(path, true), value);
    return 0;
}

static int do_read(void *arg, const char *path, char value[MIR_XEN_VALUE_MAX])
{
    (void)arg;
    const char *found = value_at(path, false);
    if (found == NULL)
        return -MIR_ENOENT;
    memcpy(value, found, MIR_XEN_VALUE_MAX);
    return 0;
}

static void do_remove(void *arg, const char *path)
{
    (void)arg;
    for (unsigned i = 0; i < KEYS; i++)
        if (strcmp(xen.key[i].path, path) == 0)
            xen.key[i].path[0] = '\0';
}

static const struct mir_xen_ops ops = {
    .grant = do_grant,
    .ungrant = do_ungrant,
    .map = do_map,
    .unmap = do_unmap,
    .open_port = do_open_port,
    .bind_port = do_bind_port,
    .notify = do_notify,
    .close_port = do_close_port,
    .write = do_write,
    .read = do_read,
    .remove = do_remove,
};

static const struct mir_xen_config of_server = {
    .ops = &ops, .arg = (void *)1, .domain = 2, .path = PATH};
static const struct mir_xen_config of_client = {
    .ops = &ops, .arg = (void *)2, .domain = 1, .path = PATH};
static const struct mir_vchan_config rings = {.read_bytes = 1 << 16, .write_bytes = 1024};
static struct mir_xen_channel server, client;
static struct mir_vchan a, b;

static void check_clean(void)
{
    unsigned used = xen.mapped_pages;
    for (unsigned i = 0; i < GRANTS; i++)
        used += xen.grant[i].domain != 0;
    for (unsigned i = 0; i < PORTS; i++)
        used += xen.port[i].is_open;
    for (unsigned i = 0; i < KEYS; i++)
        used += xen.key[i].path[0] != '\0';
    check_int(used, ==, 0);
}

static void open_both(void)
{
    check_int(mir_xen_channel_offer(&server, &of_server), ==, 0);
    check_int(mir_vchan_serve(&a, &server.channel, &rings), ==, 0);
    check_int(mir_xen_channel_join(&client, &of_client), ==, 0);
    check_int(mir_vchan_connect(&b, &client.channel, &rings), ==, 0);
}

static void test_stream(void)
{
    static uint8_t data[200000], back[sizeof(data)];
    size_t sent = 0, got = 0, n;
    tap_case("a stream through granted rings, with bells only where asked for");
    check_int(mir_xen_channel_join(&client, &of_client), ==, -MIR_ENOENT);
    open_both();
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    while (got < sizeof(data)) {
        if (sent < sizeof(data) && mir_vchan_write(&b, data + sent, sizeof(data) - sent, &n) == 0)
            sent += n;
        unsigned *rung = &xen.port[mir_xen_channel_port(&server)].rung;
        if (*rung > 0)
            mir_xen_channel_rung(&server);
        *rung = 0;
        if (mir_vchan_read(&a, back + got, 5000, &n) == 0)
            got += n;
    }
    check_mem(data, back, sizeof(data));
    check(mir_vchan_stats(&a)->events > 0);
    mir_vchan_close(&b);
    check_int(mir_vchan_read(&a, back, 1, &n), ==, -MIR_EEOF);
    mir_vchan_close(&a);
    check_clean();
}

static void test_death(void)
{
    char text[8];
    tap_case("the other domain dies: what it wrote, then a reset");
    open_both();
    check_int(mir_vchan_send(&b, "last", 4), ==, 0);
    mir_xen_channel_lost(&server);
    check_int(mir_vchan_recv(&a, text, 4), ==, 0);
    check_int(mir_vchan_recv(&a, text, 1), ==, -MIR_ECONNRESET);
    mir_vchan_close(&a);
    client.channel.ops->close(&client.channel);
    check_clean();
}

static void test_keys(void)
{
    static const struct {
        const char *ring, *port;
        int result;
    } cases[] = {
        {"8", "x", -MIR_EPROTO},    {"-1", "1", -MIR_EPROTO}, {"99999999999", "1", -MIR_EPROTO},
        {"", "1", -MIR_EPROTO},     {"8", "0", -MIR_EINVAL},  {"8", "7", -MIR_EINVAL},
        {"9999", "1", -MIR_EINVAL},
    };
    tap_case("keys that lie");
    for (unsigned i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        check_int(mir_xen_channel_offer(&server, &of_server), ==, 0);
        check_int(mir_vchan_serve(&a, &server.channel, &rings), ==, 0);
        strcpy(value_at(PATH "/ring-ref", false), cases[i].ring);
        strcpy(value_at(PATH "/event-channel", false), cases[i].port);
        int r = mir_xen_channel_join(&client, &of_client);
        if (r == 0)
            r = mir_vchan_connect(&b, &client.channel, &rings);
        check_int(r, ==, cases[i].result);
        client.channel.ops->close(&client.channel);
        mir_vchan_close(&a);
        check_clean();
    }
    const struct mir_xen_config none = {.ops = &ops, .path = ""};
    check_int(mir_xen_channel_offer(&server, &none), ==, -MIR_EINVAL);
}

int main(void)
{
    tap_begin("vchan_domains");
    test_stream();
    test_death();
    test_keys();
    return tap_done();
}
