/* SPDX-License-Identifier: ISC */
/* IPv6 on a testbed: messages of discovery made up, and those that the stack sends taken apart. */
#ifndef TEST_BED6_H
#define TEST_BED6_H

#include "lib/wire/nd6.h"
#include "test/harness/testdev.h"

/** An ICMPv6 message (or UDP datagram) that the stack has sent. */
struct bed6_message {
    uint8_t eth_dst[6];
    struct mir_ip src, dst;
    uint8_t protocol; /* behind extension headers: 58, 17, 6 */
    uint8_t hops;
    bool has_router_alert;
    bool checksum_ok;
    uint8_t data[1500]; /* from the ICMPv6 or transport header on */
    size_t len;
};

#define BED6_ANY       255       /* no type of ICMPv6 that is in use */
#define BED6_PEER_LL   "fe80::1" /* the peer, a router: MAC testbed_peer_mac */
#define BED6_OWN_LL    "fe80::ff:fe00:2"
#define BED6_ALL_NODES "ff02::1"

struct mir_ip bed6_ip(const char *text);
/** Same address? Tells with tap what it is instead. */
bool bed6_check_ip(const struct mir_ip *ip, const char *text);
/** testbed_init() and an interface with IPv6 in @mode and no IPv4; nothing exchanged. */
void bed6_open(struct testbed *bed, enum mir_ip6_mode mode);
void bed6_open_if(struct testbed *bed, const struct mir_net_if_config *interface);
/** An IPv6 frame from @mac; the checksum of ICMPv6 (58) and UDP (17) is filled in. */
void bed6_inject(struct testbed *bed, const uint8_t mac[6], const char *src, const char *dst,
                 uint8_t hops, uint8_t protocol, const void *payload, size_t len);
/** The same with a hop-by-hop header that has a router alert. */
void bed6_inject_alert(struct testbed *bed, const char *src, const char *dst, uint8_t hops,
                       const void *payload, size_t len);
/** A neighbour message from @src to @dst with hop limit 255; @mac NULL: no option. */
void bed6_solicit(struct testbed *bed, const char *src, const char *dst, const char *target,
                  const uint8_t *mac);
void bed6_advert(struct testbed *bed, const char *src, const char *dst, const char *target,
                 const char *flags, const uint8_t *mac);
/** The next IPv6 frame with ICMPv6 of @type; others are skipped. @type 0: any but MLD; BED6_ANY:
 * any. False: none.
 */
bool bed6_next(struct testbed *bed, uint8_t type, struct bed6_message *message);
/** Nothing but MLD is left. */
bool bed6_none(struct testbed *bed);
/** The next neighbour message is this one: "ns" or "na"; checks addresses. */
bool bed6_expect_solicit(struct testbed *bed, const char *src, const char *dst, const char *target);
bool bed6_expect_advert(struct testbed *bed, const char *src, const char *dst, const char *target,
                        const char *flags);
/** State and origin of one of our addresses by its text; -1: not there. */
int bed6_address_state(struct testbed *bed, const char *text);

/** A router advertisement that grows. */
struct bed6_advert {
    uint8_t data[1400];
    size_t len;
};
void bed6_ra_begin(struct bed6_advert *ra, uint16_t lifetime_s);
void bed6_ra_mac(struct bed6_advert *ra, const uint8_t mac[6]);
/** @flags "LA" */
void bed6_ra_prefix(struct bed6_advert *ra, const char *prefix, uint8_t len, const char *flags,
                    uint32_t valid_s, uint32_t preferred_s);
void bed6_ra_route(struct bed6_advert *ra, const char *prefix, uint8_t len, int preference,
                   uint32_t lifetime_s);
void bed6_ra_mtu(struct bed6_advert *ra, uint32_t mtu);
void bed6_ra_dns(struct bed6_advert *ra, const char *server, uint32_t lifetime_s);
/** From BED6_PEER_LL to all nodes. */
void bed6_ra_send(struct testbed *bed, const struct bed6_advert *ra);
void bed6_ra_send_from(struct testbed *bed, const uint8_t mac[6], const char *src,
                       const struct bed6_advert *ra);

#endif
