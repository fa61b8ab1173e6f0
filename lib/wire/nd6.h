/* SPDX-License-Identifier: ISC */
/* Neighbour discovery for IPv6: five ICMPv6 messages and their options.
 *
 *    0       1       2               4                               8              octet
 *   +-------+-------+---------------+-------------------------------+---------------------------
 *   | 133   | 0     |   checksum    | 0                             | options       router sol.
 *   | 134   | 0     |   checksum    | hops  |MOHPrf | lifetime s    | reachable ms 4, retrans
 *   |       |       |               |       |       |               | ms 4, options  router adv.
 *   | 135   | 0     |   checksum    | 0                             | target 16, options   sol.
 *   | 136   | 0     |   checksum    |RSO 0                          | target 16, options   adv.
 *   | 137   | 0     |   checksum    | 0                             | target 16, destination 16,
 *   +-------+-------+---------------+-------------------------------+ options       redirect
 *
 *   option: | type | length in units of 8 octets | data ... |
 *      1, 2   link-layer address of the source, of the target: 6 octets for Ethernet
 *      3      prefix: | length | L A 0 | valid s 4 | preferred s 4 | 0 4 | prefix 16 |
 *      4      redirected packet: | 0 6 | IP header and data |
 *      5      MTU: | 0 2 | mtu 4 |
 *     14      nonce: 6 octets or more (RFC 3971 section 5.3.2)
 *     24      route: | length | 0 Prf 0 | lifetime s 4 | prefix 0, 8 or 16 | (RFC 4191 section 2.3)
 *     25      name servers: | 0 2 | lifetime s 4 | addresses, 16 each |      (RFC 8106 section 5.1)
 *     31      search list: | 0 2 | lifetime s 4 | names |                    (RFC 8106 section 5.2)
 *
 * All fields are big-endian. `msg` points at the type, `len` reaches to the end of the message.
 * What sections 6.1, 7.1 and 8.1 demand of the message itself is checked here: code, length,
 * options of length 0, group addresses as targets; addresses and hop limit are the caller's.
 * Source: RFC 4861 section 4.
 */
#ifndef LIB_WIRE_ND6_H
#define LIB_WIRE_ND6_H

#include <mirari/bytes.h>
#include <mirari/err.h>
#include <mirari/net.h>

enum {
    MIR__ND6_ROUTER_SOLICIT = 133,
    MIR__ND6_ROUTER_ADVERT = 134,
    MIR__ND6_SOLICIT = 135,
    MIR__ND6_ADVERT = 136,
    MIR__ND6_REDIRECT = 137,
};

enum {
    MIR__ND6_OPT_SOURCE_MAC = 1,
    MIR__ND6_OPT_TARGET_MAC = 2,
    MIR__ND6_OPT_PREFIX = 3,
    MIR__ND6_OPT_REDIRECTED = 4,
    MIR__ND6_OPT_MTU = 5,
    MIR__ND6_OPT_NONCE = 14,
    MIR__ND6_OPT_ROUTE = 24,
    MIR__ND6_OPT_RDNSS = 25,
    MIR__ND6_OPT_DNSSL = 31,
};

#define MIR__ND6_NONCE_LEN 6u
/** Room for a solicitation or advertisement with its options. */
#define MIR__ND6_NEIGHBOUR_MAX      40u
#define MIR__ND6_ROUTER_SOLICIT_MAX 16u

/** Router preferences (RFC 4191 section 2.1), as two's complement of two bits. */
enum { MIR__ND6_LOW = -1, MIR__ND6_MEDIUM = 0, MIR__ND6_HIGH = 1 };

struct mir__nd6_option {
    uint8_t type;
    const uint8_t *data; /* behind type and length */
    size_t len;          /* 6, 14, 22 ... */
};

/** The next option in [len] bytes from *@at. Returns 1 and moves *@at, 0 at the end, or
 *  -MIR_EMALFORMED (length 0, or it does not fit). */
int mir__nd6_next_option(const uint8_t *msg, size_t len, size_t *at,
                         struct mir__nd6_option *option) MIR_CHECK;

/** Neighbour solicitation and advertisement. */
struct mir__nd6_neighbour {
    uint8_t type;                              /* MIR__ND6_SOLICIT or MIR__ND6_ADVERT */
    bool is_router, is_solicited, is_override; /* advertisement */
    bool has_mac;   /* of the source (solicitation) or the target (advertisement) */
    bool has_nonce; /* solicitation */
    uint8_t mac[6];
    uint8_t nonce[MIR__ND6_NONCE_LEN];
    struct mir_ip target;
};

/** 0, -MIR_ETRUNCATED, -MIR_EMALFORMED. */
int mir__nd6_parse_neighbour(const uint8_t *msg, size_t len,
                             struct mir__nd6_neighbour *value) MIR_CHECK;
/** Into [MIR__ND6_NEIGHBOUR_MAX] bytes, checksum 0. Returns the length. */
size_t mir__nd6_emit_neighbour(const struct mir__nd6_neighbour *value, uint8_t *out);

/** @mac NULL: our address is not certain yet. [MIR__ND6_ROUTER_SOLICIT_MAX], checksum 0. */
size_t mir__nd6_emit_router_solicit(const uint8_t *mac, uint8_t *out);

/** Router advertisement without its repeatable options: walk them from
 *  MIR__ND6_ADVERT_OPTIONS_AT; they have been checked. */
struct mir__nd6_router {
    uint8_t hop_limit; /* 0: not told */
    bool is_managed;   /* addresses by DHCPv6 */
    bool is_other;     /* other things by DHCPv6 */
    bool has_mac;
    uint8_t mac[6];
    int8_t preference; /* MIR__ND6_LOW .. MIR__ND6_HIGH */
    uint16_t lifetime_s;
    uint32_t reachable_ms; /* 0: not told */
    uint32_t retrans_ms;   /* 0: not told */
    uint32_t mtu;          /* 0: not told */
};
#define MIR__ND6_ADVERT_OPTIONS_AT 16u

/** 0, -MIR_ETRUNCATED, -MIR_EMALFORMED. The reserved preference counts as medium. */
int mir__nd6_parse_router(const uint8_t *msg, size_t len, struct mir__nd6_router *value) MIR_CHECK;

struct mir__nd6_prefix {
    struct mir_ip prefix; /* bits behind the length are 0 */
    uint8_t len;
    bool is_on_link;
    bool is_autonomous;
    uint32_t valid_s; /* UINT32_MAX: for ever */
    uint32_t preferred_s;
};

/** 0, or -MIR_EMALFORMED: the option must be ignored. */
int mir__nd6_parse_prefix(const struct mir__nd6_option *option,
                          struct mir__nd6_prefix *value) MIR_CHECK;

struct mir__nd6_route {
    struct mir_ip prefix;
    uint8_t len;
    int8_t preference;
    uint32_t lifetime_s;
};

/** 0, or -MIR_EMALFORMED (the reserved preference too): the option must be ignored. */
int mir__nd6_parse_route(const struct mir__nd6_option *option,
                         struct mir__nd6_route *value) MIR_CHECK;

/** How many servers the option has; the lifetime and address i follow. 0: malformed. */
static inline size_t mir__nd6_rdnss_count(const struct mir__nd6_option *option)
{
    return option->len >= 22 && (option->len - 6) % 16 == 0 ? (option->len - 6) / 16 : 0;
}
static inline struct mir_ip mir__nd6_rdnss_at(const struct mir__nd6_option *option, size_t i)
{
    struct mir_ip ip;
    mir_memcpy(ip.bytes, option->data + 6 + 16 * i, 16);
    return ip;
}
/** Of the options for servers and domains. */
static inline uint32_t mir__nd6_dns_lifetime_s(const struct mir__nd6_option *option)
{
    return mir_get_be32(option->data + 2);
}

struct mir__nd6_redirect {
    struct mir_ip target;
    struct mir_ip destination;
    bool has_mac;
    uint8_t mac[6];
};

/** 0, -MIR_ETRUNCATED, -MIR_EMALFORMED. */
int mir__nd6_parse_redirect(const uint8_t *msg, size_t len,
                            struct mir__nd6_redirect *value) MIR_CHECK;

#endif
