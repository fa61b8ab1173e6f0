/* SPDX-License-Identifier: ISC */
/* The host of px.h: memory, loop, virtual clock and stack.
 *
 * The clock is a number. px_run_until() moves it from one deadline of the loop to the next, so each
 * timer fires at its own time, and px_settle() runs what is ready at the present one. A call that
 * blocks has three ways to wait, all behind px_wait():
 *
 *   in a task of the loop     the task waits, others go on                (runner)
 *   a block hook is set       the hook decides: another thread moves time (so.c)
 *   else                      the call itself moves the clock to the next deadline
 *
 * Either way it returns when something changed at a socket, and the call looks again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

#include "target/packetdrill/internal.h"

#define START_US     (1000 * MIR_US_PER_S)
#define MEMORY_BYTES ((size_t)64 << 20)
#define STEPS_MAX    100000

/* ---- configuration ----------------------------------------------------------------------------
 */

static bool parse_number(const char *text, uint32_t *number)
{
    char *end;
    unsigned long value = strtoul(text, &end, 0);
    if (*text == '\0' || *end != '\0' || value > UINT32_MAX)
        return false;
    *number = (uint32_t)value;
    return true;
}

/* Four words in hexadecimal with hyphens; the bytes of a word are those of a little machine. */
static bool parse_key(struct px_config *config, const char *text)
{
    unsigned word[4];
    char more;
    if (sscanf(text, "%8x-%8x-%8x-%8x%c", word, word + 1, word + 2, word + 3, &more) != 4)
        return false;
    for (uint32_t i = 0; i < 4; i++)
        mir_put_le32(config->fastopen_key + 4 * i, word[i]);
    config->has_fastopen_key = true;
    return true;
}

static bool take_pair(struct px_config *config, const char *name, const char *value)
{
    uint32_t number = 0;
    if (strcmp(name, "local") == 0)
        config->local = value;
    else if (strcmp(name, "gateway") == 0)
        config->gateway = value;
    else if (strcmp(name, "local6") == 0)
        config->local6 = value;
    else if (strcmp(name, "gateway6") == 0)
        config->gateway6 = value;
    else if (strcmp(name, "cc") == 0)
        config->congestion = value;
    else if (strcmp(name, "fastopen_key") == 0)
        return parse_key(config, value);
    else if (!parse_number(value, &number))
        return false;
    else if (strcmp(name, "rcvbuf") == 0)
        config->rcvbuf_bytes = number;
    else if (strcmp(name, "sndbuf") == 0)
        config->sndbuf_bytes = number;
    else if (strcmp(name, "mtu") == 0 && number >= 576 && number <= 65535)
        config->mtu = (uint16_t)number;
    else if (strcmp(name, "gso") == 0 && number <= 1)
        config->no_gso = number == 0;
    else if (strcmp(name, "sack") == 0 && number <= 1)
        config->no_sack = number == 0;
    else if (strcmp(name, "timestamps") == 0 && number <= 1)
        config->no_timestamps = number == 0;
    else if (strcmp(name, "ecn") == 0 && number <= 2)
        config->ecn = number == 0 ? MIR_NET_ECN_OFF : number == 1 ? MIR_NET_ECN_ON : 0;
    else if (strcmp(name, "fastopen") == 0)
        config->fastopen = number;
    else if (strcmp(name, "seed") == 0)
        config->seed = number;
    else
        return false;
    return true;
}

const char *px_config_parse(struct px_config *config, char *text)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, ", ", &rest); word != NULL;
         word = strtok_r(NULL, ", ", &rest)) {
        char *equals = strchr(word, '=');
        if (equals == NULL)
            return word;
        *equals = '\0';
        if (!take_pair(config, word, equals + 1))
            return word;
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int add_interface(struct px_host *px, const struct px_config *config)
{
    struct mir_net_if_config interface = {0};
    struct mir_net_prefix prefix6;
    const char *local = config->local != NULL ? config->local : "192.168.0.1/16";
    const char *gateway = config->gateway != NULL ? config->gateway : "192.168.0.2";
    int r = mir_ip_parse_prefix(local, strlen(local), &interface.ip, &interface.prefix_len);
    if (r == 0)
        r = mir_ip_parse(gateway, strlen(gateway), &interface.gateway);
    if (r == 0 && config->local6 != NULL) {
        const char *gateway6 = config->gateway6 != NULL ? config->gateway6 : "fd3d::2";
        interface.ip6 = MIR_IP6_STATIC;
        interface.addresses = &prefix6;
        interface.address_count = 1;
        r = mir_ip_parse_prefix(config->local6, strlen(config->local6), &prefix6.ip,
                                &prefix6.prefix_len);
        if (r == 0)
            r = mir_ip_parse(gateway6, strlen(gateway6), &interface.gateway6);
    }
    if (r == 0)
        r = mir_net_add_interface(px->net, &px->wire.dev, &interface);
    return r;
}

static int open_stack(struct px_host *px, const struct px_config *config)
{
    struct mir_net_config net = {
        .loop = &px->loop,
        .pages = &px->pages,
        .bufs = &px->bufs,
        .rng = &px->rng,
        .tcp_rcvbuf_bytes = config->rcvbuf_bytes != 0 ? config->rcvbuf_bytes : 6u << 20,
        .tcp_sndbuf_bytes = config->sndbuf_bytes != 0 ? config->sndbuf_bytes : 4u << 20,
        .tcp_no_sack = config->no_sack,
        .tcp_no_timestamps = config->no_timestamps,
        .tcp_ecn = config->ecn,
        .congestion = config->congestion,
        .tcp_fastopen_key = config->has_fastopen_key ? config->fastopen_key : NULL,
    };
    int r = mir_net_open(&net, &px->net);
    if (r < 0)
        return r;
    px->stack = mir_net_stack(px->net);
    return add_interface(px, config);
}

int px_open(struct px_host *px, const struct px_config *config)
{
    memset(px, 0, sizeof *px);
    px->arena_size = MEMORY_BYTES;
    px->arena = aligned_alloc(MIR_PAGE_SIZE, px->arena_size);
    if (px->arena == NULL)
        return -MIR_ENOMEM;
    px->now_us = START_US;
    px->fastopen_all = (config->fastopen & 0x402u) == 0x402u;
    int r = mir_page_pool_init(&px->pages, px->arena, px->arena_size);
    if (r == 0)
        r = mir_buf_pool_init(&px->bufs, &px->pages, 16384);
    if (r < 0) {
        free(px->arena);
        return r;
    }
    mir_loop_init(&px->loop, px->now_us);
    mir_rng_init_u64(&px->rng, config->seed + 1);
    mir_wait_init(&px->changed);
    px_wire_init(&px->wire, &px->loop, &px->bufs, config->mtu != 0 ? config->mtu : 1500,
                 !config->no_gso);
    r = open_stack(px, config);
    if (r < 0) {
        (void)px_close(px);
        return r;
    }
    /* Announcements of the new address are over when a script begins. */
    px_run_until(px, px->now_us + 10 * MIR_US_PER_S);
    return 0;
}

size_t px_close(struct px_host *px)
{
    for (int fd = PX_FD_FIRST; fd < (int)PX_FDS_MAX; fd++)
        if (px->fd[fd] != NULL && px->fd[fd]->kind != PX_EPOLL) {
            px__sock_free(px->fd[fd]);
            px->fd[fd] = NULL;
        }
    for (int fd = PX_FD_FIRST; fd < (int)PX_FDS_MAX; fd++)
        if (px->fd[fd] != NULL) {
            px__sock_free(px->fd[fd]);
            px->fd[fd] = NULL;
        }
    if (px->net != NULL)
        mir_net_close(px->net);
    px_wire_fini(&px->wire);
    size_t left = mir_pool_used(&px->bufs.pool) + px->loop.timer_count;
    if (left == 0) {
        mir_buf_pool_fini(&px->bufs);
        left = mir_page_pool_used_bytes(&px->pages);
    }
    free(px->arena);
    memset(px, 0, sizeof *px);
    return left;
}

/* ---- time --------------------------------------------------------------------------------------
 */

/* Run what is ready; returns the next deadline. */
static mir_time_us settle(struct px_host *px)
{
    mir_time_us next = MIR_TIME_NEVER;
    for (int i = 0; i < STEPS_MAX; i++) {
        mir_loop_step(&px->loop, px->now_us, &next);
        if (next > px->now_us)
            break;
    }
    return next;
}

void px_settle(struct px_host *px)
{
    if (mir_task_current(&px->loop) == NULL)
        (void)settle(px);
}

void px_run_until(struct px_host *px, mir_time_us at_us)
{
    for (;;) {
        mir_time_us next = settle(px);
        if (next > at_us)
            break;
        px->now_us = MIR_MAX(px->now_us, next);
    }
    px->now_us = MIR_MAX(px->now_us, at_us);
    (void)settle(px);
}

int px_inject(struct px_host *px, const void *packet, size_t len)
{
    mir_loop_set_now(&px->loop, px->now_us);
    if (!px_wire_inject(&px->wire, packet, len))
        return -EINVAL;
    (void)settle(px);
    return 0;
}

struct px_packet *px_receive(struct px_host *px, mir_time_us deadline_us)
{
    for (;;) {
        struct px_packet *packet = px_wire_take(&px->wire);
        if (packet != NULL)
            return packet;
        mir_time_us next = settle(px);
        if (px->wire.first != NULL)
            continue;
        if (next > deadline_us) {
            px->now_us = MIR_MAX(px->now_us, deadline_us);
            return NULL;
        }
        px->now_us = MIR_MAX(px->now_us, next);
    }
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

void px_changed(struct px_host *px)
{
    px->changes++;
    mir_wait_wake_all(&px->changed);
}

int px_wait(struct px_host *px, mir_time_us deadline_us)
{
    if (mir_task_current(&px->loop) != NULL) {
        int r = mir_wait_on(&px->loop, &px->changed, deadline_us);
        if (r == 0)
            return 0;
        return r == -MIR_ETIMEDOUT ? -EAGAIN : -EINTR;
    }
    if (px->block != NULL)
        return !px->block(px->block_arg, deadline_us) ? -EDEADLK
               : px->now_us >= deadline_us            ? -EAGAIN
                                                      : 0;
    uint64_t before = px->changes;
    while (px->changes == before) {
        mir_time_us next = settle(px);
        if (px->changes != before)
            break;
        if (px->now_us >= deadline_us)
            return -EAGAIN;
        next = MIR_MIN(next, deadline_us);
        if (next == MIR_TIME_NEVER)
            return -EDEADLK;
        px->now_us = MIR_MAX(px->now_us, next);
    }
    return 0;
}
