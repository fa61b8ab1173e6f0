/* SPDX-License-Identifier: ISC */
/* Which TCP ports are bound, so that bind() fails where it does on a host.
 *
 * The stack knows listeners and connections; a port that is bound and does neither yet is known
 * here alone. Two sockets may hold a port if no address is for both, or if both set SO_REUSEPORT
 * (and belong to one user), or if both set SO_REUSEADDR and neither listens. UDP ports are the
 * stack's business: a UDP socket exists there from bind() on.
 *
 * A port that is asked for with 0 is drawn from the range of RFC 6335 at random (RFC 6056).
 */
#include "cmd/mirari-socketd/socketd.h"

#define BUCKETS    1024u
#define FIRST_PORT 49152u
#define PORTS      16384u

static struct mir_list holders[BUCKETS];

void sd_ports_init(void)
{
    for (uint32_t i = 0; i < BUCKETS; i++)
        mir_list_init(&holders[i]);
}

static bool is_for_v4(const struct sd_socket *s)
{
    if (!mir_ip_is_any(&s->local.ip))
        return mir_ip_is_v4(&s->local.ip);
    return s->domain == AF_INET || !s->options.number[SD_N_V6ONLY];
}

static bool is_for_v6(const struct sd_socket *s)
{
    if (!mir_ip_is_any(&s->local.ip))
        return !mir_ip_is_v4(&s->local.ip);
    return s->domain == AF_INET6;
}

static bool overlap(const struct sd_socket *a, const struct sd_socket *b)
{
    if (!(is_for_v4(a) && is_for_v4(b)) && !(is_for_v6(a) && is_for_v6(b)))
        return false;
    return mir_ip_is_any(&a->local.ip) || mir_ip_is_any(&b->local.ip) ||
           mir_ip_equal(&a->local.ip, &b->local.ip);
}

static bool may_share(const struct sd_socket *a, const struct sd_socket *b)
{
    if (a->options.number[SD_N_REUSEPORT] && b->options.number[SD_N_REUSEPORT] && a->uid == b->uid)
        return true;
    return a->options.number[SD_N_REUSEADDR] && b->options.number[SD_N_REUSEADDR] &&
           a->state != SOCK_S_LISTENING && b->state != SOCK_S_LISTENING;
}

static bool is_free(const struct sd_socket *s, uint16_t port)
{
    mir_list_for_each (link, &holders[port % BUCKETS]) {
        const struct sd_socket *other = MIR_CONTAINER_OF(link, struct sd_socket, on_port);
        if (other != s && other->port == port && overlap(s, other) && !may_share(s, other))
            return false;
    }
    return true;
}

static void hold(struct sd_socket *s, uint16_t port)
{
    s->port = s->local.port = port;
    mir_list_push_back(&holders[port % BUCKETS], &s->on_port);
}

int sd_port_hold(struct sd_socket *s)
{
    uint32_t start = mir_rng_below(sd.app->rng, PORTS);
    if (s->local.port != 0) {
        if (!is_free(s, s->local.port))
            return -EADDRINUSE;
        hold(s, s->local.port);
        return 0;
    }
    for (uint32_t i = 0; i < PORTS; i++) {
        uint16_t port = (uint16_t)(FIRST_PORT + (start + i) % PORTS);
        bool is_alone = true;
        mir_list_for_each (link, &holders[port % BUCKETS])
            is_alone &= MIR_CONTAINER_OF(link, struct sd_socket, on_port)->port != port;
        if (is_alone) {
            hold(s, port);
            return 0;
        }
    }
    return -EADDRINUSE;
}

void sd_port_drop(struct sd_socket *s)
{
    if (s->port == 0)
        return;
    mir_list_remove(&s->on_port);
    s->port = 0;
}

int sd_port_may_listen(const struct sd_socket *s)
{
    mir_list_for_each (link, &holders[s->port % BUCKETS]) {
        const struct sd_socket *other = MIR_CONTAINER_OF(link, struct sd_socket, on_port);
        if (other == s || other->port != s->port || other->state != SOCK_S_LISTENING ||
            !overlap(s, other))
            continue;
        if (!s->options.number[SD_N_REUSEPORT] || !other->options.number[SD_N_REUSEPORT] ||
            s->uid != other->uid)
            return -EADDRINUSE;
    }
    return 0;
}
