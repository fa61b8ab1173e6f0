/* SPDX-License-Identifier: ISC */
/* Datagrams: a relay with a socket towards the target for each asker, and a client of echo. */
#include "peer.h"

enum { FLOWS_MAX = 64, DATAGRAM_MAX = 3000, AGAIN_US = 60 * 1000, TRIES_MAX = 300 };

/* ---- the relay ------------------------------------------------------------------------------ */

struct flow {
    struct peer_port *port; /* NULL: free */
    struct mir_udp *udp;    /* towards the target */
    struct mir_endpoint asker;
    struct mir_ip asked; /* our address, as the asker knows it */
};

static struct flow flows[FLOWS_MAX];
static uint32_t next_victim;

/* A buffer that headers fit in front of; consumes the old one. */
static struct mir_buf *with_headroom(struct mir_app *app, struct mir_buf *buf_given)
{
    if (mir_buf_headroom(buf_given) >= MIR_BUF_HEADROOM)
        return buf_given;
    struct mir_buf *copy = mir_buf_linearize(app->bufs, buf_given, MIR_BUF_HEADROOM);
    mir_buf_release(buf_given);
    return copy;
}

static void on_answer(struct mir_udp *udp, const struct mir_udp_meta *meta,
                      struct mir_buf *buf_given, void *arg)
{
    struct flow *flow = arg;
    struct mir_udp_msg msg = {.to = flow->asker, .from = flow->asked};
    struct mir_buf *buf = with_headroom(flow->port->app, buf_given);
    (void)udp;
    (void)meta;
    if (buf != NULL)
        (void)mir_udp_send_msg(flow->port->udp, &msg, buf);
}

/* The flow of an asker; when all are in use, the oldest one gives way. */
static struct flow *flow_of(struct peer_port *port, const struct mir_udp_meta *meta)
{
    struct mir_endpoint any = {.port = 0};
    for (uint32_t i = 0; i < FLOWS_MAX; i++) {
        struct flow *flow = &flows[i];
        if (flow->port == port && flow->asker.port == meta->from.port &&
            mir_ip_equal(&flow->asker.ip, &meta->from.ip))
            return flow;
    }
    struct flow *flow = &flows[next_victim++ % FLOWS_MAX];
    if (flow->port != NULL)
        mir_udp_close(flow->udp);
    *flow = (struct flow){.port = port, .asker = meta->from, .asked = meta->to.ip};
    if (mir_udp_open(port->app->stack, &any, on_answer, flow, &flow->udp) < 0) {
        flow->port = NULL;
        return NULL;
    }
    if (mir_udp_connect(flow->udp, &port->target) < 0) {
        mir_udp_close(flow->udp);
        flow->port = NULL;
        return NULL;
    }
    return flow;
}

static void on_asked(struct mir_udp *udp, const struct mir_udp_meta *meta,
                     struct mir_buf *buf_given, void *arg)
{
    struct peer_port *port = arg;
    struct flow *flow = flow_of(port, meta);
    struct mir_buf *buf = with_headroom(port->app, buf_given);
    (void)udp;
    if (buf == NULL)
        return;
    if (flow == NULL)
        mir_buf_release(buf);
    else
        (void)mir_udp_send_buf(flow->udp, NULL, buf);
}

int peer_relay_udp(struct peer_port *port)
{
    return mir_udp_open(port->app->stack, &port->local, on_asked, port, &port->udp);
}

/* ---- the client ----------------------------------------------------------------------------- */

static uint8_t datagram[DATAGRAM_MAX];

/* Contents and length follow from the number. */
static uint32_t make_datagram(uint32_t number)
{
    uint32_t len = 8 + number * 331 % (DATAGRAM_MAX - 8);
    uint32_t x = number * 2654435761u + 1;
    for (uint32_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        datagram[i] = (uint8_t)x;
    }
    datagram[0] = (uint8_t)(number >> 8);
    datagram[1] = (uint8_t)number;
    return len;
}

/* An answer to an earlier try is neither right nor wrong. */
enum { RIGHT, WRONG, EARLIER };
static int judge(struct mir_app *app, struct mir_buf *buf_given, uint32_t len)
{
    struct mir_buf *buf = mir_buf_linearize(app->bufs, buf_given, 0);
    int verdict = WRONG;
    mir_buf_release(buf_given);
    if (buf == NULL)
        return EARLIER;
    if (buf->len >= 2 && mir_memcmp(buf->data, datagram, 2) != 0)
        verdict = EARLIER;
    else if (buf->len == len && mir_memcmp(buf->data, datagram, len) == 0)
        verdict = RIGHT;
    mir_buf_release(buf);
    return verdict;
}

int peer_udp_client(struct mir_app *app, const struct mir_endpoint *to, uint32_t count)
{
    struct mir_endpoint any = {.port = 0};
    struct mir_udp_slot slots[16];
    struct mir_udp_task task;
    struct mir_udp *udp;
    uint32_t answered = 0, tries = 0, wrong = 0;
    if (mir_udp_open(app->stack, &any, NULL, NULL, &udp) < 0)
        return 1;
    mir_udp_task_init(&task, udp, slots, MIR_ARRAY_LEN(slots));
    for (uint32_t i = 0; i < count && wrong == 0; i++) {
        uint32_t len = make_datagram(i);
        bool is_answered = false;
        for (uint32_t try = 0; try < TRIES_MAX && !is_answered && wrong == 0; try++) {
            mir_time_us until_us = mir_loop_now(app->loop) + AGAIN_US;
            struct mir_buf *buf;
            tries++;
            (void)mir_udp_send(udp, to, datagram, len);
            while (!is_answered && mir_udp_recv_wait(&task, until_us, NULL, &buf) == 0) {
                int verdict = judge(app, buf, len);
                is_answered = verdict == RIGHT;
                wrong += verdict == WRONG;
            }
        }
        answered += is_answered;
    }
    mir_udp_task_close(&task);
    mir_app_print(app, "udp: %u of %u answered, %u wrong, %u sent\n", answered, count, wrong,
                  tries);
    return answered == count && wrong == 0 ? 0 : 1;
}
