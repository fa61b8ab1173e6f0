/* SPDX-License-Identifier: ISC */
/* Response-rate limiting: a server is no amplifier.
 *
 * Who forges the address of a victim makes us send it the same few answers again and again. So
 * equal answers to one network (the first 24 bits of an IPv4 address, 56 of an IPv6 one) are
 * counted: more than `rate_per_second` of them in a second are not sent, but every `rate_slip`-th
 * of these is sent truncated. A real resolver that was caught by it asks again over TCP, which
 * cannot be forged.
 *
 * Equal are: answers for one name and type, everything that one zone does not have, everything
 * below one delegation or wildcard, all refusals.
 *
 * The counters are a table of fixed size, looked up by a keyed hash of network and answer. A bucket
 * belongs to whom it counted last: somebody else in the same bucket begins anew, so collisions let
 * more through and never less. What one second was too many is carried over, up to fifteen times
 * the rate, so that a flood does not get its share at the beginning of every second.
 *
 * Over TCP nothing is limited: there the address is real.
 */
#include "lib/dns/auth.h"

enum { SEGMENT = MIR_PAGE_SIZE / sizeof(struct mir__auth_rate_bucket), DEBT_SECONDS = 15 };

int mir__auth_rate_open(struct mir_dns_server *server)
{
    struct mir_page_pool *pages = server->stack->pages;
    uint32_t segments = (server->limits.rate_buckets + SEGMENT - 1) / SEGMENT;
    if (server->limits.rate_per_second == 0)
        return 0;
    if (segments * sizeof(void *) > MIR__ZONE_CHUNK_MAX)
        return -MIR_EINVAL;
    int r = mir_page_alloc(pages, segments * sizeof(void *), MIR_PAGE_ZERO, &server->rate_dir);
    if (r < 0)
        return r;
    server->rate_pages = (struct mir_io_page **)(void *)server->rate_dir->base;
    for (uint32_t i = 0; i < segments; i++) {
        r = mir_page_alloc(pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &server->rate_pages[i]);
        if (r < 0)
            return r;
        server->rate_count += SEGMENT;
    }
    mir_rng_bytes(server->rng, server->rate_key, sizeof server->rate_key);
    return 0;
}

void mir__auth_rate_close(struct mir_dns_server *server)
{
    if (server->rate_dir == NULL)
        return;
    for (uint32_t i = 0; i < server->rate_count / SEGMENT; i++)
        mir_page_release(server->rate_pages[i]);
    mir_page_release(server->rate_dir);
}

/* The network of an address: its first bits, 8 octets at most. */
static uint64_t network_of(const struct mir_dns_server *server, const struct mir_ip *ip)
{
    bool is_v4 = mir_ip_is_v4(ip);
    uint32_t bits = is_v4 ? server->limits.rate_prefix4 : server->limits.rate_prefix6;
    uint64_t head = is_v4 ? (uint64_t)mir_ip_to_v4(ip) << 32 : mir_get_be64(ip->bytes);
    return bits == 0 ? is_v4 : (head >> (64 - bits) << (64 - bits)) ^ is_v4;
}

static struct mir__auth_rate_bucket *bucket_of(struct mir_dns_server *server, uint64_t network,
                                               uint32_t tag, uint32_t second)
{
    uint64_t input[2] = {network, tag};
    uint64_t hash = mir_siphash(server->rate_key, input, sizeof input);
    uint32_t index = (uint32_t)((hash >> 32) * server->rate_count >> 32);
    struct mir__auth_rate_bucket *page =
        (struct mir__auth_rate_bucket *)(void *)server->rate_pages[index / SEGMENT]->base;
    struct mir__auth_rate_bucket *bucket = &page[index % SEGMENT];
    int32_t rate = (int32_t)server->limits.rate_per_second;
    if (bucket->tag != (uint32_t)hash || bucket->second == 0) {
        *bucket = (struct mir__auth_rate_bucket){(uint32_t)hash, rate, second};
    } else if (bucket->second != second) {
        int64_t left = bucket->left + (int64_t)(second - bucket->second) * rate;
        bucket->left = (int32_t)MIR_MIN(left, (int64_t)rate);
        bucket->second = second;
    }
    return bucket;
}

enum mir__auth_verdict mir__auth_rate(struct mir_dns_server *server, const struct mir_ip *to,
                                      const struct mir__auth_reply *reply)
{
    if (server->rate_count == 0)
        return MIR__AUTH_PASS;
    uint32_t second = (uint32_t)(mir__auth_now(server) / MIR_US_PER_S) + 1;
    int32_t rate = (int32_t)server->limits.rate_per_second;
    struct mir__auth_rate_bucket *bucket =
        bucket_of(server, network_of(server, to), reply->tag, second);
    if (bucket->left > -DEBT_SECONDS * rate)
        bucket->left--;
    if (bucket->left >= 0)
        return MIR__AUTH_PASS;
    if (server->limits.rate_slip != 0 && ++server->slip_turn % server->limits.rate_slip == 0) {
        server->stats.slipped++;
        return MIR__AUTH_SLIP;
    }
    server->stats.dropped_rate++;
    return MIR__AUTH_LIMITED;
}
