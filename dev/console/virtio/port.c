/* SPDX-License-Identifier: ISC */
/* One named port of a virtio console device with several (VIRTIO 1.2 section 5.3, feature
 * MULTIPORT).
 *
 *   queue 2, 3           messages about ports, from and to the device
 *   queue 2p+2, 2p+3     bytes of port p > 0, in and out
 *
 *   we say DEVICE_READY -> the device: DEVICE_ADD for each port -> PORT_READY -> PORT_NAME
 *     -> ours: PORT_OPEN; the host's end: PORT_OPEN 1 and 0 as it comes and goes
 *
 * Queues must be there before the device starts, so those of the first few ports are made, and only
 * ours gets buffers. Bytes come into pages that are lent again at once; bytes for the host are
 * asked of the user page by page, when a page is free, so nothing is copied twice and a host that
 * does not read stops nobody.
 *
 * Bytes and messages come by different queues: before bytes are handed on messages are looked for
 * once more, so that what a host said before its first byte is known when that byte is. What it
 * said after them may be known too early; who speaks over a port must live with that.
 *
 * Messages are checked as anything from outside: short ones and those about other ports are not
 * looked at; ours are lost and counted when the device does not return them. What one call of
 * poll() does is bounded. A device that breaks the rules of its rings is reset; one that does not
 * confirm it keeps its pages for good (MirageOS advisory MSA02).
 */
#include "dev/console/virtio/port.h"

#include <mirari/bytes.h>

#define F_MULTIPORT   2u
#define CONFIG_PORTS  4u /* offset of max_nr_ports */
#define CONTROL_QUEUE 2u
#define WORD_BYTES    8u
#define HEAD_BYTES    112u /* of a message from the device: with a name */
#define POLL_MAX      64u  /* completions of each queue in one call */
#define FIND_US       (2 * MIR_US_PER_S)
#define CLOSE_US      (50 * MIR_US_PER_MS)

_Static_assert(MIR_VIRTIO_PORT_WORDS *(WORD_BYTES + HEAD_BYTES) <= MIR_PAGE_SIZE, "one page");

enum event {
    DEVICE_READY = 0,
    DEVICE_ADD = 1,
    DEVICE_REMOVE = 2,
    PORT_READY = 3,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};

enum { IN, OUT };

/* ---- the end --------------------------------------------------------------------------------- */

static void set_open(struct mir_virtio_port *port, bool is_open)
{
    if (port->is_open == is_open)
        return;
    port->is_open = is_open;
    port->config.changed(port->config.arg, is_open);
}

static void give_up(struct mir_virtio_port *port)
{
    port->is_dead = true;
    set_open(port, false);
    if (mir__virtio_reset(port->driver.virtio) < 0)
        return;
    for (uint32_t way = IN; way <= OUT; way++) {
        mir__virtio_queue_close(&port->control[way]);
        for (uint32_t i = 0; i < MIR_VIRTIO_PORTS_MAX; i++)
            mir__virtio_queue_close(&port->data[i][way]);
    }
    for (uint32_t i = 0; i < MIR_VIRTIO_PORT_PAGES; i++) {
        if (port->in[i] != NULL)
            mir_page_release(port->in[i]);
        if (port->out[i] != NULL)
            mir_page_release(port->out[i]);
    }
    if (port->words != NULL)
        mir_page_release(port->words);
}

/* ---- messages -------------------------------------------------------------------------------- */

static uint8_t *word_at(const struct mir_virtio_port *port, uint32_t i)
{
    return port->words->base + MIR_VIRTIO_PORT_WORDS * HEAD_BYTES + i * WORD_BYTES;
}

static void say(struct mir_virtio_port *port, uint32_t id, enum event event, uint16_t value)
{
    struct mir_virtio_queue *queue = &port->control[OUT];
    uint32_t i = 0;
    while (i < MIR_VIRTIO_PORT_WORDS && (port->free_words >> i & 1) == 0)
        i++;
    if (i == MIR_VIRTIO_PORT_WORDS) {
        port->lost++;
        return;
    }
    uint8_t *word = word_at(port, i);
    mir_put_le32(word, id);
    mir_put_le16(word + 4, (uint16_t)event);
    mir_put_le16(word + 6, value);
    struct mir__virtq_seg seg = {mir__virtio_address(port->driver.virtio, word), WORD_BYTES};
    if (mir__virtq_add(&queue->ring, &seg, 1, 0, word) < 0) {
        port->lost++;
        return;
    }
    port->free_words &= ~(1u << i);
    mir__virtio_kick(queue);
}

/* Is [len] bytes the name, with a NUL behind it or without? */
static bool is_name(const struct mir_virtio_port *port, const uint8_t *text, uint32_t len)
{
    const char *name = port->config.name;
    uint32_t i = 0;
    while (i < len && name[i] != '\0' && (char)text[i] == name[i])
        i++;
    return name[i] == '\0' && (i == len || text[i] == '\0');
}

static void lend(struct mir_virtio_port *port, struct mir_virtio_queue *queue, uint8_t *base,
                 uint32_t len, void *token)
{
    struct mir__virtq_seg seg = {mir__virtio_address(port->driver.virtio, base), len};
    if (mir__virtq_add(&queue->ring, &seg, 0, 1, token) < 0)
        port->is_faulty = true; /* there are as many places as buffers */
}

static void find(struct mir_virtio_port *port, uint32_t id)
{
    struct mir_virtio_queue *queue = &port->data[id][IN];
    port->id = id;
    for (uint32_t i = 0; i < MIR_VIRTIO_PORT_PAGES; i++)
        lend(port, queue, port->in[i]->base, MIR_PAGE_SIZE, port->in[i]);
    mir__virtio_kick(queue);
    say(port, id, PORT_OPEN, 1);
}

static void take_message(struct mir_virtio_port *port, const uint8_t *message, uint32_t len)
{
    uint32_t id = len >= WORD_BYTES ? mir_get_le32(message) : 0;
    uint16_t event = len >= WORD_BYTES ? mir_get_le16(message + 4) : UINT16_MAX;
    bool value = len >= WORD_BYTES && mir_get_le16(message + 6) != 0;
    bool is_ours = port->id != 0 && id == port->id;
    if (event == DEVICE_ADD)
        say(port, id, PORT_READY, 1);
    else if (event == PORT_NAME && port->id == 0 && id > 0 && id < port->ports &&
             is_name(port, message + WORD_BYTES, len - WORD_BYTES))
        find(port, id);
    else if (event == PORT_OPEN && is_ours)
        set_open(port, value);
    else if (event == DEVICE_REMOVE && is_ours)
        set_open(port, false);
}

static bool poll_messages(struct mir_virtio_port *port)
{
    struct mir_virtio_queue *in = &port->control[IN], *out = &port->control[OUT];
    void *token;
    uint32_t len, count = 0;
    int r;
    while ((r = mir__virtq_take(&out->ring, &token, &len)) == 0)
        port->free_words |= 1u << ((size_t)((uint8_t *)token - word_at(port, 0)) / WORD_BYTES);
    port->is_faulty |= r == -MIR_EPROTO;
    while (count < POLL_MAX && !port->is_faulty &&
           (r = mir__virtq_take(&in->ring, &token, &len)) == 0) {
        take_message(port, token, len);
        lend(port, in, token, HEAD_BYTES, token);
        count++;
    }
    port->is_faulty |= r == -MIR_EPROTO;
    if (count > 0)
        mir__virtio_kick(in);
    return count > 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool poll_input(struct mir_virtio_port *port)
{
    struct mir_virtio_queue *queue = &port->data[port->id][IN];
    void *token;
    uint32_t len, count = 0;
    int r = 0;
    while (count < POLL_MAX && !port->is_faulty &&
           (r = mir__virtq_take(&queue->ring, &token, &len)) == 0) {
        struct mir_io_page *page = token;
        (void)poll_messages(port);
        port->config.input(port->config.arg, page->base, len);
        lend(port, queue, page->base, MIR_PAGE_SIZE, page);
        count++;
    }
    port->is_faulty |= r == -MIR_EPROTO;
    if (count > 0)
        mir__virtio_kick(queue);
    return count > 0;
}

static bool collect(struct mir_virtio_port *port)
{
    struct mir_virtio_queue *queue = &port->data[port->id][OUT];
    void *token;
    uint32_t len, count = 0;
    int r;
    while ((r = mir__virtq_take(&queue->ring, &token, &len)) == 0) {
        port->free[port->free_count++] = token;
        count++;
    }
    port->is_faulty |= r == -MIR_EPROTO;
    return count > 0;
}

void mir_virtio_port_push(struct mir_virtio_port *port)
{
    bool is_any = false;
    if (port->is_dead || port->is_faulty || !port->is_open)
        return;
    struct mir_virtio_queue *queue = &port->data[port->id][OUT];
    while (port->free_count > 0) {
        struct mir_io_page *page = port->free[port->free_count - 1];
        size_t len = port->config.output(port->config.arg, page->base, MIR_PAGE_SIZE);
        if (len == 0)
            break;
        struct mir__virtq_seg seg = {mir__virtio_address(port->driver.virtio, page->base),
                                     (uint32_t)len};
        if (mir__virtq_add(&queue->ring, &seg, 1, 0, page) < 0) {
            port->is_faulty = true; /* found by the next poll */
            break;
        }
        port->free_count--;
        is_any = true;
    }
    if (is_any)
        mir__virtio_kick(queue);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static bool poll(struct mir_virtio_driver *driver, unsigned events)
{
    struct mir_virtio_port *port = (struct mir_virtio_port *)(void *)driver;
    bool is_any = false;
    (void)events;
    if (port->is_dead)
        return false;
    is_any = poll_messages(port);
    if (port->id != 0 && !port->is_faulty) {
        is_any |= poll_input(port);
        if (collect(port)) {
            is_any = true;
            mir_virtio_port_push(port);
        }
    }
    if (port->is_faulty)
        give_up(port);
    return is_any;
}

static bool arm(struct mir_virtio_driver *driver)
{
    struct mir_virtio_port *port = (struct mir_virtio_port *)(void *)driver;
    if (port->is_dead)
        return false;
    bool is_any = mir__virtq_arm(&port->control[IN].ring, 1);
    if (port->id == 0)
        return is_any;
    is_any |= mir__virtq_arm(&port->data[port->id][IN].ring, 1);
    /* Only who waits for room needs to hear of it. */
    if (port->free_count == 0)
        is_any |= mir__virtq_arm(&port->data[port->id][OUT].ring, 1);
    else
        mir__virtq_disarm(&port->data[port->id][OUT].ring);
    return is_any;
}

static uint64_t choose(void *arg, uint64_t offered)
{
    (void)arg;
    (void)offered;
    return F_MULTIPORT;
}

static int take_pages(struct mir_virtio_port *port)
{
    struct mir_page_pool *pages = port->driver.virtio->pages;
    int r = mir_page_alloc(pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &port->words);
    for (uint32_t i = 0; i < MIR_VIRTIO_PORT_PAGES && r == 0; i++) {
        r = mir_page_alloc(pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &port->in[i]);
        if (r == 0)
            r = mir_page_alloc(pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &port->out[i]);
        if (r == 0)
            port->free[port->free_count++] = port->out[i];
    }
    return r;
}

/* A pair of queues for the port whose first queue is @index. */
static int open_pair(struct mir_virtio_port *port, struct mir_virtio_queue pair[2], uint16_t index,
                     uint32_t size)
{
    struct mir_virtio *v = port->driver.virtio;
    int r = mir__virtio_queue_open(v, &pair[IN], index, size, 0);
    if (r == 0)
        r = mir__virtio_queue_open(v, &pair[OUT], (uint16_t)(index + 1), size, 0);
    if (r < 0)
        return r;
    mir__virtq_disarm(&pair[IN].ring);
    mir__virtq_disarm(&pair[OUT].ring);
    return 0;
}

static int start(struct mir_virtio_port *port)
{
    struct mir_virtio *v = port->driver.virtio;
    uint32_t most = 0;
    int r = mir__virtio_reset(v) < 0 ? -MIR_EIO : 0;
    if (r == 0)
        r = mir__virtio_negotiate(v, choose, NULL);
    if (r == 0 && !mir__virtio_has(v, F_MULTIPORT))
        r = -MIR_ENOTSUP;
    if (r == 0)
        r = mir__virtio_config(v, CONFIG_PORTS, &most, 4, 1);
    port->ports = MIR_MIN(most, MIR_VIRTIO_PORTS_MAX);
    if (r == 0)
        r = take_pages(port);
    if (r == 0)
        r = open_pair(port, port->control, CONTROL_QUEUE, MIR_VIRTIO_PORT_WORDS);
    for (uint32_t id = 1; id < port->ports && r == 0; id++)
        r = open_pair(port, port->data[id], (uint16_t)(2 * id + 2), MIR_VIRTIO_PORT_PAGES);
    if (r < 0)
        return r;
    port->free_words = UINT32_MAX;
    for (uint32_t i = 0; i < port->control[IN].size && i < MIR_VIRTIO_PORT_WORDS; i++) {
        uint8_t *message = port->words->base + i * HEAD_BYTES;
        lend(port, &port->control[IN], message, HEAD_BYTES, message);
    }
    mir__virtio_ready(v);
    mir__virtio_kick(&port->control[IN]);
    say(port, 0, DEVICE_READY, 1);
    return 0;
}

int mir_virtio_port_open(struct mir_virtio_port *port, const struct mir_virtio_port_config *config)
{
    struct mir_virtio *v = config->virtio;
    if (v->device != MIR_VIRTIO_CONSOLE)
        return -MIR_EINVAL;
    mir_memset(port, 0, sizeof *port);
    port->config = *config;
    port->driver = (struct mir_virtio_driver){.poll = poll, .arm = arm, .virtio = v};
    int r = start(port);
    mir_time_us end_us = v->clock->monotonic(v->clock) + FIND_US;
    while (r == 0 && port->id == 0) {
        (void)poll_messages(port); /* bytes come later, when somebody takes them */
        if (port->is_faulty)
            r = -MIR_EIO;
        else if (port->id == 0 && v->clock->monotonic(v->clock) > end_us)
            r = -MIR_ENOENT;
    }
    if (r == 0)
        return 0;
    if (r != -MIR_ENOENT && r != -MIR_ENOTSUP)
        mir__virtio_fail(v);
    give_up(port);
    return r;
}

void mir_virtio_port_close(struct mir_virtio_port *port)
{
    struct mir_clock *clock = port->driver.virtio->clock;
    mir_time_us end_us = clock->monotonic(clock) + CLOSE_US;
    mir_virtio_port_push(port);
    while (!port->is_dead && !port->is_faulty && port->free_count < MIR_VIRTIO_PORT_PAGES &&
           clock->monotonic(clock) <= end_us)
        if (collect(port))
            mir_virtio_port_push(port);
    if (!port->is_dead)
        give_up(port);
}
