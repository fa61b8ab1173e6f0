/* SPDX-License-Identifier: ISC */
/* Which destination is tried first: RFC 6724 section 6.
 *
 * The source address of each destination is asked of the stack as a program would: a UDP socket is
 * connected there (which sends nothing) and its local address read. So this works over every stack
 * and follows its routes and its own source selection. No source: the destination cannot be reached
 * and goes last.
 *
 * Rules 3, 4 and 7 (deprecated and home addresses, encapsulation) need facts that sockets do not
 * tell. Rule 9 (longest matching prefix) is for IPv6 only: for IPv4 it would defeat servers that
 * shuffle their addresses to share load.
 */
#include "lib/dns/internal.h"

struct policy {
    struct mir_ip prefix;
    uint8_t len, precedence, label;
};

/* RFC 6724 section 2.1, the longest prefixes first. */
static const struct policy policies[] = {
    {{.bytes = {[15] = 1}}, 128, 50, 0},  {{.bytes = {[10] = 0xff, [11] = 0xff}}, 96, 35, 4},
    {{.bytes = {0}}, 96, 1, 3},           {{.bytes = {0x20, 0x01}}, 32, 5, 5},
    {{.bytes = {0x20, 0x02}}, 16, 30, 2}, {{.bytes = {0x3f, 0xfe}}, 16, 1, 12},
    {{.bytes = {0xfe, 0xc0}}, 10, 1, 11}, {{.bytes = {0xfc}}, 7, 3, 13},
    {{.bytes = {0}}, 0, 40, 1},
};

enum { SCOPE_LINK = 2, SCOPE_SITE = 5, SCOPE_GLOBAL = 14 };

struct candidate {
    struct mir_ip dst, src;
    bool is_usable;
    uint8_t scope, src_scope, label, src_label, precedence, common;
};

static uint32_t common_bits(const struct mir_ip *a, const struct mir_ip *b)
{
    for (uint32_t i = 0; i < 128; i++) {
        if ((a->bytes[i / 8] ^ b->bytes[i / 8]) >> (7 - i % 8) & 1)
            return i;
    }
    return 128;
}

static const struct policy *policy_of(const struct mir_ip *ip)
{
    const struct policy *p = policies;
    while (common_bits(ip, &p->prefix) < p->len)
        p++; /* the last fits everything */
    return p;
}

static uint8_t scope_of(const struct mir_ip *ip)
{
    const uint8_t *b = ip->bytes;
    if (mir_ip_is_v4(ip)) {
        bool is_link = b[12] == 127 || (b[12] == 169 && b[13] == 254);
        return is_link ? SCOPE_LINK : SCOPE_GLOBAL;
    }
    if (b[0] == 0xff)
        return b[1] & 15;
    if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
        return SCOPE_LINK;
    if (b[0] == 0xfe && (b[1] & 0xc0) == 0xc0)
        return SCOPE_SITE;
    return common_bits(ip, &policies[0].prefix) == 128 ? SCOPE_LINK : SCOPE_GLOBAL;
}

bool mir__dns_source(struct mir_stack *stack, const struct mir_ip *dst, struct mir_ip *src)
{
    const struct mir_endpoint peer = {.ip = *dst, .port = 9};
    const struct mir_udp_config config = {.handler = NULL};
    struct mir_endpoint local = {.port = 0};
    struct mir_udp *udp;
    if (mir_udp_open_config(stack, &config, &udp) < 0)
        return false;
    int r = mir_udp_connect(udp, &peer);
    if (r == 0)
        mir_udp_get_local(udp, &local);
    mir_udp_close(udp);
    *src = local.ip;
    return r == 0;
}

static void weigh(struct mir_stack *stack, const struct mir_ip *dst, struct candidate *c)
{
    const struct policy *policy = policy_of(dst);
    *c = (struct candidate){.dst = *dst,
                            .scope = scope_of(dst),
                            .label = policy->label,
                            .precedence = policy->precedence};
    c->is_usable = mir__dns_source(stack, dst, &c->src);
    if (!c->is_usable)
        return;
    if (mir_ip_is_any(&c->src)) { /* the stack does not say: nothing speaks against it */
        c->src_scope = c->scope;
        c->src_label = c->label;
        return;
    }
    c->src_scope = scope_of(&c->src);
    c->src_label = policy_of(&c->src)->label;
    c->common = mir_ip_is_v4(dst) ? 0 : (uint8_t)MIR_MIN(common_bits(dst, &c->src), 64u);
}

/* Is @b better than @a? Equal ones stay as they are (rule 10). */
static bool is_better(const struct candidate *b, const struct candidate *a)
{
    bool a_matches = a->scope == a->src_scope, b_matches = b->scope == b->src_scope;
    bool a_label = a->label == a->src_label, b_label = b->label == b->src_label;
    if (a->is_usable != b->is_usable)
        return b->is_usable; /* rule 1 */
    if (a_matches != b_matches)
        return b_matches; /* rule 2 */
    if (a_label != b_label)
        return b_label; /* rule 5 */
    if (a->precedence != b->precedence)
        return b->precedence > a->precedence; /* rule 6 */
    if (a->scope != b->scope)
        return b->scope < a->scope; /* rule 8 */
    return b->common > a->common;   /* rule 9 */
}

void mir_dns_sort(struct mir_stack *stack, struct mir_ip *ip, uint32_t count)
{
    struct candidate c[2 * MIR_DNS_ADDRESSES_MAX], moved;
    MIR_ASSERT_OP(count, <=, MIR_ARRAY_LEN(c));
    if (count < 2)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        weigh(stack, &ip[i], &moved);
        for (; at > 0 && is_better(&moved, &c[at - 1]); at--)
            c[at] = c[at - 1];
        c[at] = moved;
    }
    for (uint32_t i = 0; i < count; i++)
        ip[i] = c[i].dst;
}
