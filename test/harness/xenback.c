/* SPDX-License-Identifier: ISC */
/* A Xen in this process, for tests of the network frontend. */
#include "test/harness/xenback.h"

#include <stdio.h>
#include <string.h>

#define FRONT "device/vif/0"
#define BACK  "/local/domain/0/backend/vif/5/0"
#define SLOTS MIR__NETFRONT_SLOTS

enum { REQ_PROD = 0, REQ_EVENT = 1, RSP_PROD = 2, RSP_EVENT = 3, HEAD_WORDS = 16 };

/* ---- chance -----------------------------------------------------------------------------------
 */

uint32_t xenback_draw(struct xenback *b)
{
    if (b->input != NULL) {
        uint32_t value = 0;
        for (int i = 0; i < 2 && b->input_len > 0; i++, b->input_len--)
            value = value << 8 | *b->input++;
        return value;
    }
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(b->random >> 33);
}

static bool chance(struct xenback *b, uint32_t one_in)
{
    return one_in != 0 && xenback_draw(b) % one_in == 0;
}

static void violate(struct xenback *b, const char *what)
{
    b->violations++;
    b->violation = what;
}

/* ---- what a machine gives ---------------------------------------------------------------------
 */

static struct xenback *of(struct mir_xen *xen)
{
    return (struct xenback *)(void *)xen;
}

static int op_grant(struct mir_xen *xen, uint16_t domain, const void *page, bool is_readonly,
                    uint32_t *ref)
{
    struct xenback *b = of(xen);
    if ((uintptr_t)page % MIR_PAGE_SIZE != 0 || domain != 0)
        violate(b, "a grant of half a page, or to a stranger");
    if (b->grants_used >= b->grants_max)
        return -MIR_ELIMIT;
    uint32_t i = b->grant_hint;
    while (b->grant[i].is_used)
        i = i + 1 < XENBACK_GRANTS ? i + 1 : 8;
    b->grant_hint = i + 1 < XENBACK_GRANTS ? i + 1 : 8;
    b->grant[i].page = page;
    b->grant[i].is_readonly = is_readonly;
    b->grant[i].is_used = true;
    b->grant[i].is_kept = chance(b, b->evil.keep);
    b->grants_used++;
    *ref = i;
    return 0;
}

static int op_grant_end(struct mir_xen *xen, uint32_t ref)
{
    struct xenback *b = of(xen);
    if (ref >= XENBACK_GRANTS || !b->grant[ref].is_used) {
        violate(b, "a grant ended twice");
        return 0;
    }
    if (b->grant[ref].is_kept)
        return -MIR_EBUSY;
    if (b->grant[ref].page == (const uint8_t *)b->tx ||
        b->grant[ref].page == (const uint8_t *)b->rx)
        b->is_connected = false; /* whatever the states say */
    b->grant[ref].is_used = false;
    b->grants_used--;
    return 0;
}

static int op_event_open(struct mir_xen *xen, uint16_t domain, uint32_t *port)
{
    (void)domain;
    of(xen)->ports_open++;
    *port = 7;
    return 0;
}

static void op_event_close(struct mir_xen *xen, uint32_t port)
{
    (void)port;
    of(xen)->ports_open--;
}

static void op_notify(struct mir_xen *xen, uint32_t port)
{
    of(xen)->notifications++;
    if (port != 7)
        violate(of(xen), "a notification of nobody");
}

static int op_read(struct mir_xen *xen, const char *path, char *out, size_t size)
{
    struct xenback *b = of(xen);
    for (uint32_t i = 0; i < b->keys; i++) {
        if (strcmp(b->key[i].path, path) != 0)
            continue;
        if (strlen(b->key[i].value) >= size)
            return -MIR_ERANGE;
        memcpy(out, b->key[i].value, strlen(b->key[i].value) + 1);
        return 0;
    }
    return -MIR_ENOENT;
}

void xenback_set(struct xenback *b, const char *path, const char *value)
{
    uint32_t i = 0;
    while (i < b->keys && strcmp(b->key[i].path, path) != 0)
        i++;
    if (i == XENBACK_KEYS)
        return;
    b->keys = MIR_MAX(b->keys, i + 1);
    snprintf(b->key[i].path, sizeof b->key[i].path, "%s", path);
    snprintf(b->key[i].value, sizeof b->key[i].value, "%s", value);
}

static int op_write(struct mir_xen *xen, const char *path, const char *value)
{
    xenback_set(of(xen), path, value);
    return 0;
}

static void op_pause(struct mir_xen *xen)
{
    (void)xenback_run(of(xen));
}

static const struct mir_xen_ops xen_ops = {
    .grant = op_grant,
    .grant_end = op_grant_end,
    .event_open = op_event_open,
    .event_close = op_event_close,
    .notify = op_notify,
    .read = op_read,
    .write = op_write,
    .pause = op_pause,
};

void xenback_set_back(struct xenback *b, const char *name, uint32_t value)
{
    char path[80], text[16];
    snprintf(path, sizeof path, BACK "/%s", name);
    snprintf(text, sizeof text, "%u", value);
    xenback_set(b, path, text);
}

uint32_t xenback_get_front(struct xenback *b, const char *name)
{
    return mir__xen_get(&b->xen, FRONT, name, UINT32_MAX - 1, UINT32_MAX);
}

void xenback_init(struct xenback *b, uint64_t seed)
{
    static const char *const features[] = {"feature-rx-copy", "feature-sg", "feature-gso-tcpv4",
                                           "feature-gso-tcpv6", "feature-ipv6-csum-offload"};
    memset(b, 0, sizeof *b);
    b->xen.ops = &xen_ops;
    b->random = seed * 2 + 1;
    b->grants_max = XENBACK_GRANTS - 8;
    b->grant_hint = 8;
    xenback_set(b, FRONT "/backend", BACK);
    xenback_set(b, FRONT "/backend-id", "0");
    xenback_set(b, FRONT "/mac", "00:16:3e:00:00:99");
    xenback_set(b, FRONT "/state", "1");
    for (size_t i = 0; i < MIR_ARRAY_LEN(features); i++)
        xenback_set_back(b, features[i], 1);
    xenback_set_back(b, "state", MIR_XENBUS_INIT_WAIT);
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static uint32_t *ring_of(struct xenback *b, const char *name)
{
    uint32_t ref = xenback_get_front(b, name);
    if (ref >= XENBACK_GRANTS || !b->grant[ref].is_used || b->grant[ref].is_readonly)
        return NULL;
    return (uint32_t *)(uintptr_t)b->grant[ref].page;
}

static uint8_t *slot(uint32_t *ring, uint32_t index, uint32_t bytes)
{
    return (uint8_t *)(ring + HEAD_WORDS) + (size_t)(index % SLOTS) * bytes;
}

static void publish(struct xenback *b, uint32_t *ring, uint32_t *prod)
{
    uint32_t shown = *prod;
    if (chance(b, b->evil.index_jump))
        shown += xenback_draw(b) % 2 ? xenback_draw(b) : 0u - 1u - xenback_draw(b) % 4;
    __atomic_store_n(&ring[RSP_PROD], shown, __ATOMIC_RELEASE);
}

static void answer_one(struct xenback *b, const union mir__netif_tx *what)
{
    union mir__netif_tx rsp = *what;
    if (chance(b, b->evil.bad_id))
        rsp.rsp.id = (uint16_t)xenback_draw(b);
    if (chance(b, b->evil.bad_status))
        rsp.rsp.status = (int16_t)(xenback_draw(b) % 5 - 2);
    memcpy(slot(b->tx, b->tx_prod++, 12), &rsp, sizeof rsp.rsp);
    if (chance(b, b->evil.twice))
        memcpy(slot(b->tx, b->tx_prod++, 12), &rsp, sizeof rsp.rsp);
}

void xenback_answer(struct xenback *b, uint32_t count)
{
    count = MIR_MIN(count, b->pending_count);
    if (count == 0 || !b->is_connected)
        return;
    for (uint32_t i = 0; i < count; i++)
        answer_one(b, &b->pending[i]);
    b->pending_count -= count;
    memmove(b->pending, b->pending + count, b->pending_count * sizeof b->pending[0]);
    publish(b, b->tx, &b->tx_prod);
}

static void remember(struct xenback *b, uint16_t id, int16_t status)
{
    if (b->pending_count < XENBACK_PENDING)
        b->pending[b->pending_count++].rsp = (struct mir__netif_tx_rsp){id, status};
    else
        violate(b, "more slots than the ring has");
}

static void copy_slot(struct xenback *b, const struct mir__netif_tx_req *req, uint32_t at,
                      uint32_t len)
{
    bool is_good = req->ref < XENBACK_GRANTS && b->grant[req->ref].is_used &&
                   req->offset + len <= MIR_PAGE_SIZE && at + len <= XENBACK_FRAME && len > 0;
    if (is_good)
        memcpy(b->frame + at, b->grant[req->ref].page + req->offset, len);
    else
        violate(b, "a slot of no grant, or beyond its page");
}

/* One packet from tx_cons on, all of which must be there. */
static void take_packet(struct xenback *b, uint32_t there)
{
    struct mir__netif_tx_req req[SLOTS];
    struct xenback_frame frame = {.data = b->frame};
    union mir__netif_tx now;
    uint32_t used = 0, rest = 0;
    do {
        if (used == there || frame.slots == MIR__NETIF_SLOTS_MAX) {
            violate(b, used == there ? "part of a packet" : "too many slots");
            b->tx_cons += used;
            return;
        }
        memcpy(&now, slot(b->tx, b->tx_cons + used++, 12), sizeof now);
        req[frame.slots++] = now.req;
        remember(b, now.req.id, MIR__NETIF_OKAY);
        if (frame.slots == 1 && now.req.flags & MIR__NETIF_TX_EXTRA && used < there) {
            memcpy(&frame.extra, slot(b->tx, b->tx_cons + used++, 12), sizeof frame.extra);
            remember(b, 0x4242, MIR__NETIF_NULL);
        }
    } while (now.req.flags & MIR__NETIF_TX_MORE);
    b->tx_cons += used;
    for (uint32_t i = 1; i < frame.slots; i++)
        rest += req[i].size;
    frame.len = req[0].size;
    frame.flags = req[0].flags;
    if (rest >= frame.len) {
        violate(b, "pieces larger than their packet");
        return;
    }
    copy_slot(b, &req[0], 0, frame.len - rest);
    for (uint32_t i = 1, at = frame.len - rest; i < frame.slots; at += req[i++].size)
        copy_slot(b, &req[i], at, req[i].size);
    b->frames++;
    if (b->on_frame != NULL)
        b->on_frame(b->arg, &frame);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static void fill_one(struct xenback *b, const struct xenback_frame *frame, uint32_t at,
                     uint32_t piece)
{
    struct mir__netif_rx_req req;
    uint32_t index = b->rx_prod++, offset = at % 64;
    uint32_t len = MIR_MIN(MIR_MIN(piece, frame->len - at), MIR_PAGE_SIZE - offset);
    memcpy(&req, slot(b->rx, b->rx_cons++, 8), sizeof req);
    if (req.ref >= XENBACK_GRANTS || !b->grant[req.ref].is_used || b->grant[req.ref].is_readonly)
        violate(b, "a page that is not granted");
    else
        memcpy((uint8_t *)(uintptr_t)b->grant[req.ref].page + offset, frame->data + at, len);
    uint16_t flags = at == 0 ? frame->flags : 0;
    if (at + len < frame->len)
        flags |= MIR__NETIF_RX_MORE;
    struct mir__netif_rx_rsp rsp = {req.id, (uint16_t)offset, flags, (int16_t)len};
    if (chance(b, b->evil.bad_id))
        rsp.id = (uint16_t)xenback_draw(b);
    if (chance(b, b->evil.bad_len))
        rsp.status = (int16_t)xenback_draw(b);
    if (chance(b, b->evil.bad_len))
        rsp.offset = (uint16_t)xenback_draw(b);
    if (chance(b, b->evil.bad_flags))
        rsp.flags = (uint16_t)xenback_draw(b);
    memcpy(slot(b->rx, index, 8), &rsp, sizeof rsp);
}

bool xenback_send(struct xenback *b, const struct xenback_frame *frame, uint32_t piece)
{
    if (!b->is_connected)
        return false;
    bool has_extra = frame->flags & MIR__NETIF_RX_EXTRA;
    piece = MIR_MIN(piece, MIR_PAGE_SIZE - 63);
    uint32_t need = (frame->len + piece - 1) / piece + has_extra;
    if (__atomic_load_n(&b->rx[REQ_PROD], __ATOMIC_ACQUIRE) - b->rx_cons < need)
        return false;
    for (uint32_t at = 0; at < frame->len; at += MIR_MIN(piece, frame->len - at)) {
        fill_one(b, frame, at, piece);
        if (at == 0 && has_extra) {
            b->rx_cons++;
            memcpy(slot(b->rx, b->rx_prod++, 8), &frame->extra, sizeof frame->extra);
        }
    }
    publish(b, b->rx, &b->rx_prod);
    return true;
}

/* ---- states -----------------------------------------------------------------------------------
 */

static bool follow_state(struct xenback *b)
{
    uint32_t front = xenback_get_front(b, "state");
    uint32_t ours = mir__xen_get(&b->xen, BACK, "state", 6, 0), next = ours;
    if (front == MIR_XENBUS_CONNECTED && ours == MIR_XENBUS_INIT_WAIT) {
        b->tx = ring_of(b, "tx-ring-ref");
        b->rx = ring_of(b, "rx-ring-ref");
        b->tx_cons = b->tx_prod = b->rx_cons = b->rx_prod = b->pending_count = 0;
        b->is_connected = b->tx != NULL && b->rx != NULL;
        if (!b->is_connected)
            violate(b, "rings that are not granted");
        next = MIR_XENBUS_CONNECTED;
    } else if (front >= MIR_XENBUS_CLOSING && front <= MIR_XENBUS_CLOSED && !b->is_stubborn) {
        b->is_connected = false;
        next = front;
    } else if (front == MIR_XENBUS_INITIALISING && ours == MIR_XENBUS_CLOSED) {
        next = MIR_XENBUS_INIT_WAIT;
    }
    if (next != ours)
        xenback_set_back(b, "state", next);
    return next != ours;
}

bool xenback_run(struct xenback *b)
{
    bool found = follow_state(b);
    if (!b->is_connected)
        return found;
    uint32_t prod = __atomic_load_n(&b->tx[REQ_PROD], __ATOMIC_ACQUIRE);
    if (prod - b->tx_cons > SLOTS) {
        violate(b, "more requests than slots");
        return found;
    }
    while (b->tx_cons != prod) {
        take_packet(b, prod - b->tx_cons);
        found = true;
    }
    if (!b->holds && b->pending_count > 0) {
        xenback_answer(b, b->pending_count);
        found = true;
    }
    b->tx[REQ_EVENT] = b->tx_cons + 1;
    b->rx[REQ_EVENT] = b->rx_cons + 1;
    if (chance(b, b->evil.scribble))
        b->tx[xenback_draw(b) % 1024] = xenback_draw(b);
    if (chance(b, b->evil.scribble))
        b->rx[xenback_draw(b) % 1024] = xenback_draw(b);
    return found;
}
