/* SPDX-License-Identifier: ISC */
/* A named port of a virtio console device: messages about ports, bytes both ways, devices that lie.
 */
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

#include "dev/console/virtio/port.h"
#include "test/harness/tap.h"
#include "test/harness/virtdev.h"

#define ARENA       ((size_t)1 << 20)
#define F_MULTIPORT 2u
#define NAME        "mirari.control"

static uint8_t *arena;
static struct mir_page_pool pages;
static struct mir_virtio *virtio;
static struct virtdev d;
static struct mir_virtio_port port;
static mir_time_us now_us;

/* ---- the device ------------------------------------------------------------------------------ */

static uint32_t port_id;      /* of the port that has the name */
static const char *port_name; /* NULL: none is told */
static unsigned ready, opened;
static char sent[1 << 16];
static size_t sent_len;
static bool is_slow; /* takes no bytes */

static void tell(uint32_t id, uint16_t event, uint16_t value, const char *text)
{
    struct virtdev_chain chain;
    uint8_t head[8];
    mir_put_le32(head, id);
    mir_put_le16(head + 4, event);
    mir_put_le16(head + 6, value);
    if (!virtdev_pop(&d, 2, &chain))
        return; /* as QEMU: it is lost */
    virtdev_write(&chain, 0, head, sizeof head);
    uint32_t len = text != NULL ? virtdev_write(&chain, 8, text, (uint32_t)strlen(text)) : 0;
    virtdev_push(&d, 2, chain.head, 8 + len);
    virtdev_publish(&d, 2);
}

static void hear(const uint8_t word[8])
{
    uint32_t id = mir_get_le32(word);
    uint16_t event = mir_get_le16(word + 4);
    if (event == 0)
        tell(port_id, 1, 1, NULL);
    ready += event == 3 && id == port_id;
    if (event == 3 && id == port_id && port_name != NULL)
        tell(id, 7, 1, port_name);
    opened += event == 6 && id == port_id && mir_get_le16(word + 6) == 1;
}

static void serve(struct virtdev *dev, unsigned queue)
{
    struct virtdev_chain chain;
    uint8_t word[8] = {0};
    while (queue == 3 && virtdev_pop(dev, queue, &chain)) {
        virtdev_read(&chain, 0, word, sizeof word);
        virtdev_push(dev, queue, chain.head, 0);
        hear(word);
    }
    while (queue == 5 && !is_slow && virtdev_pop(dev, queue, &chain)) {
        sent_len += virtdev_read(&chain, 0, sent + sent_len % 8192, chain.out_bytes);
        virtdev_push(dev, queue, chain.head, 0);
    }
    if (queue == 3 || queue == 5)
        virtdev_publish(dev, queue);
}

/* Bytes for the driver, as many as it lent room for. */
static size_t type(const char *text, size_t len)
{
    struct virtdev_chain chain;
    size_t at = 0;
    while (at < len && virtdev_pop(&d, 4, &chain)) {
        uint32_t piece = virtdev_write(&chain, 0, text + at, (uint32_t)(len - at));
        virtdev_push(&d, 4, chain.head, piece);
        at += piece;
    }
    virtdev_publish(&d, 4);
    return at;
}

/* ---- the user -------------------------------------------------------------------------------- */

static size_t came_len, to_send;
static uint8_t came_sum;
static unsigned opens, closes;

static void on_input(void *arg, const void *data, size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len; i++)
        came_sum = (uint8_t)(came_sum + ((const uint8_t *)data)[i]);
    came_len += len;
}

static size_t next_output(void *arg, uint8_t *out, size_t size)
{
    (void)arg;
    size_t len = MIR_MIN(to_send, size);
    memset(out, 'o', len);
    to_send -= len;
    return len;
}

static void on_change(void *arg, bool is_open)
{
    (void)arg;
    opens += is_open;
    closes += !is_open;
}

/* The device works while the driver waits. */
static mir_time_us read_clock(struct mir_clock *clock)
{
    (void)clock;
    virtdev_run(&d);
    return now_us += 100;
}
static struct mir_clock the_clock = {.monotonic = read_clock, .wall = read_clock};

static int open_port(enum virtdev_transport transport, uint64_t features)
{
    int r;
    free(arena);
    arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    if (arena == NULL || mir_page_pool_init(&pages, arena, ARENA) < 0)
        abort();
    virtdev_init(&d, transport, MIR_VIRTIO_CONSOLE, features, 6, 64);
    d.serve = serve;
    d.config_bytes = 8;
    mir_put_le32(d.config + 4, 2);
    ready = opened = opens = closes = 0;
    came_len = sent_len = to_send = 0;
    is_slow = false;
    virtio = virtdev_attach(&d, &the_clock, &pages, &r);
    struct mir_virtio_port_config config = {.virtio = virtio,
                                            .name = NAME,
                                            .input = on_input,
                                            .output = next_output,
                                            .changed = on_change};
    return mir_virtio_port_open(&port, &config);
}

static void run(void)
{
    bool is_any = true;
    while (is_any) {
        is_any = virtdev_run(&d);
        is_any |= mir_virtio_driver_poll(&port.driver, virtdev_events(&d, virtio));
    }
}

static void close_port(void)
{
    mir_virtio_port_close(&port);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
    check_int(d.violations, ==, 0);
    check_int(opens, ==, closes);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void test_transport(enum virtdev_transport transport)
{
    static char text[20000];
    size_t at = 0;
    tap_case("%s: found by its name, opened by the host", virtdev_transport_name[transport]);
    port_id = 1;
    port_name = NAME;
    if (!check_int(open_port(transport, F_MULTIPORT | MIR_VIRTIO_F_VERSION_1), ==, 0))
        return;
    run();
    check_int(ready, ==, 1);
    check_int(opened, ==, 1);
    check_int(opens, ==, 0);
    to_send = 100;
    mir_virtio_port_push(&port);
    check_int(to_send, ==, 100); /* nobody is there */
    tell(1, 6, 1, NULL);
    run();
    check_int(opens, ==, 1);
    tap_case("%s: bytes both ways", virtdev_transport_name[transport]);
    memset(text, 1, sizeof text);
    came_sum = 0;
    while (at < sizeof text) {
        size_t before = at;
        at += type(text + at, sizeof text - at);
        run();
        if (!check_int(at, >, before))
            break;
    }
    check_int(came_len, ==, sizeof text);
    check_int(came_sum, ==, sizeof text % 256);
    to_send = 50000;
    mir_virtio_port_push(&port);
    run();
    check_int(sent_len, ==, 50000);
    tap_case("%s: a host that does not read: what was asked for is bounded",
             virtdev_transport_name[transport]);
    is_slow = true;
    to_send = 50000;
    mir_virtio_port_push(&port);
    run();
    check_int(to_send, ==, 50000 - MIR_VIRTIO_PORT_PAGES * MIR_PAGE_SIZE);
    is_slow = false;
    d.queue[5].is_notified = true;
    run();
    check_int(to_send, ==, 0);
    tap_case("%s: the host closes and opens, the port goes", virtdev_transport_name[transport]);
    tell(1, 6, 0, NULL);
    tell(1, 6, 1, NULL);
    run();
    check_int(opens, ==, 2);
    tell(1, 2, 0, NULL);
    run();
    check_int(closes, ==, 2);
    close_port();
}

static void test_others(void)
{
    const uint64_t features = F_MULTIPORT | MIR_VIRTIO_F_VERSION_1;
    tap_case("a device without ports, of another kind, without our port: left as it was");
    check_int(open_port(VIRTDEV_PCI, MIR_VIRTIO_F_VERSION_1), ==, -MIR_ENOTSUP);
    check_int(d.status, ==, 0);
    port_name = "mirari.controls";
    check_int(open_port(VIRTDEV_PCI, features), ==, -MIR_ENOENT);
    port_name = "mirari.contro";
    check_int(open_port(VIRTDEV_PCI, features), ==, -MIR_ENOENT);
    port_name = NULL;
    check_int(open_port(VIRTDEV_PCI, features), ==, -MIR_ENOENT);
    check_int(d.status, ==, 0);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
    tap_case("a port with a number beyond ours has our name: not used");
    port_name = NAME;
    port_id = 2;
    check_int(open_port(VIRTDEV_PCI, features), ==, -MIR_ENOENT);
    port_id = 0;
    check_int(open_port(VIRTDEV_PCI, features), ==, -MIR_ENOENT);
    port_id = UINT32_MAX;
    check_int(open_port(VIRTDEV_PCI, features), ==, -MIR_ENOENT);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
    port_id = 1;
    check_int(open_port(VIRTDEV_PCI, features), ==, 0);
    close_port();
}

static void test_messages(void)
{
    struct virtdev_chain chain;
    tap_case("messages that are none, of others, without end");
    check_int(open_port(VIRTDEV_PCI, F_MULTIPORT | MIR_VIRTIO_F_VERSION_1), ==, 0);
    for (unsigned i = 0; i < 2000; i++) {
        if (i % 3 == 0 && virtdev_pop(&d, 2, &chain)) {
            virtdev_push(&d, 2, chain.head, i % 8); /* short */
            virtdev_publish(&d, 2);
        }
        tell(i % 5, (uint16_t)(i % 9), (uint16_t)(i & 1), i % 2 ? NAME : NULL);
        if (i % 40 == 0)
            run();
    }
    run();
    check(!port.is_dead);
    tell(1, 6, 1, NULL);
    run();
    came_len = 0;
    check_int(type("hello", 5), ==, 5);
    run();
    check_int(came_len, ==, 5);
    close_port();
}

static void test_hostile(uint64_t seed)
{
    tap_case("devices that break the rules of rings: reset, nothing lost or used again");
    for (unsigned turn = 0; turn < 60; turn++) {
        if (open_port(VIRTDEV_PCI, F_MULTIPORT | MIR_VIRTIO_F_VERSION_1) < 0)
            abort();
        tell(1, 6, 1, NULL);
        run();
        d.random = seed + turn;
        d.evil = (struct virtdev_evil){.bad_id = turn % 2 ? 20 : 0,
                                       .idle_id = turn % 3 ? 20 : 0,
                                       .twice = turn % 5 ? 20 : 0,
                                       .long_len = turn % 7 ? 20 : 0,
                                       .index_jump = turn % 11 ? 40 : 0,
                                       .random_len = 20};
        for (unsigned i = 0; i < 100; i++) {
            to_send = 3000;
            mir_virtio_port_push(&port);
            (void)type("0123456789", 10);
            tell(1, 6, 1, NULL);
            run();
        }
        mir_virtio_port_close(&port);
        check_int(mir_page_pool_used_bytes(&pages), ==, 0);
        check_int(opens, ==, closes);
    }
}

int main(int argc, char **argv)
{
    tap_begin("virtio_port");
    uint64_t seed = tap_seed(argc, argv, 20261122);
    for (enum virtdev_transport t = 0; t < VIRTDEV_TRANSPORTS; t++)
        test_transport(t);
    test_others();
    test_messages();
    test_hostile(seed);
    free(arena);
    return tap_done();
}
