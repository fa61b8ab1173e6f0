/* SPDX-License-Identifier: ISC */
/* IPv6 headers.
 *
 *    0               4               8              12              16
 *   +---+-------+---+---------------+---------------+-------+-------+
 *   |ver| class | flow label (20)   |payload length | next  | hops  |
 *   +---+-------+-------------------+---------------+-------+-------+
 *   |                            source                             |   8
 *   +---------------------------------------------------------------+
 *   |                          destination                          |  24
 *   +---------------------------------------------------------------+
 *
 * Extension headers between it and the transport:
 *
 *   hop-by-hop (0), destination (60), routing (43)    fragment (44)
 *   +-------+-------+------------------------         +-------+-------+-------------+---+
 *   | next  | len/8-1| options or routing data         | next  |   0   | offset/8  |0|M|
 *   +-------+-------+------------------------         +-------+-------+-------------+---+
 *                                                     |         identification          |
 *                                                     +---------------------------------+
 *
 * Options of the first two: type, length of the data, data; type 0 is one byte of padding. The two
 * high bits of a type say what a host that does not know it must do.
 *
 * All fields are big-endian. Source: RFC 8200 sections 3 and 4.
 */
#ifndef LIB_WIRE_IP6_H
#define LIB_WIRE_IP6_H

#include <mirari/bytes.h>
#include <mirari/err.h>
#include <mirari/net.h>

#define MIR__IP6_HEADER_LEN   40u
#define MIR__IP6_FRAGMENT_LEN 8u
#define MIR__IP6_MTU_MIN      1280u

/** Numbers of headers (IANA). */
enum {
    MIR__IP6_HOP_BY_HOP = 0,
    MIR__IP6_ROUTING = 43,
    MIR__IP6_FRAGMENT = 44,
    MIR__IP6_ICMP = 58,
    MIR__IP6_NONE = 59,
    MIR__IP6_DESTINATION = 60,
};

/** Types of options (RFC 8200 section 4.2, RFC 2675, RFC 2711). */
enum {
    MIR__IP6_OPTION_PAD1 = 0,
    MIR__IP6_OPTION_PADN = 1,
    MIR__IP6_OPTION_ROUTER_ALERT = 5,
    MIR__IP6_OPTION_JUMBO = 0xc2,
};

/* ---- level 1 ------------------------------------------------------------------------------ */

/** Of everything behind the header. */
static inline uint16_t mir__ip6_payload_len(const uint8_t *ip)
{
    return mir_get_be16(ip + 4);
}
/** @header_bytes are at hand, the packet has @packet_len (views included).
 *  Returns 0, -MIR_ETRUNCATED (less there than the header says), -MIR_EMALFORMED. */
static inline MIR_CHECK int mir__ip6_check(const uint8_t *ip, size_t header_bytes,
                                           size_t packet_len)
{
    if (header_bytes < MIR__IP6_HEADER_LEN)
        return -MIR_ETRUNCATED;
    if (ip[0] >> 4 != 6)
        return -MIR_EMALFORMED;
    return packet_len - MIR__IP6_HEADER_LEN < mir__ip6_payload_len(ip) ? -MIR_ETRUNCATED : 0;
}
static inline uint8_t mir__ip6_class(const uint8_t *ip)
{
    return (uint8_t)(mir_get_be16(ip) >> 4);
}
static inline uint32_t mir__ip6_flow_label(const uint8_t *ip)
{
    return mir_get_be32(ip) & 0xfffff;
}
static inline uint8_t mir__ip6_next(const uint8_t *ip)
{
    return ip[6];
}
static inline uint8_t mir__ip6_hops(const uint8_t *ip)
{
    return ip[7];
}
static inline struct mir_ip mir__ip6_src(const uint8_t *ip)
{
    struct mir_ip src;
    mir_memcpy(src.bytes, ip + 8, 16);
    return src;
}
static inline struct mir_ip mir__ip6_dst(const uint8_t *ip)
{
    struct mir_ip dst;
    mir_memcpy(dst.bytes, ip + 24, 16);
    return dst;
}

/** Bytes of an extension header other than fragment; @ext has 2 bytes at least. */
static inline uint32_t mir__ip6_ext_len(const uint8_t *ext)
{
    return 8u + 8u * ext[1];
}
/** Of a fragment header, 8 bytes at hand. */
static inline uint32_t mir__ip6_fragment_offset(const uint8_t *ext)
{
    return mir_get_be16(ext + 2) & 0xfff8u;
}
static inline bool mir__ip6_fragment_more(const uint8_t *ext)
{
    return ext[3] & 1;
}
static inline uint32_t mir__ip6_fragment_id(const uint8_t *ext)
{
    return mir_get_be32(ext + 4);
}

/* ---- kinds of addresses (RFC 4291 section 2.4) ---------------------------------------------- */

static inline bool mir__ip6_is_multicast(const struct mir_ip *ip)
{
    return ip->bytes[0] == 0xff;
}
/** fe80::/10 */
static inline bool mir__ip6_is_link_local(const struct mir_ip *ip)
{
    return ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}
/** :: alone; mir_ip_is_any() says yes to 0.0.0.0 too. */
static inline bool mir__ip6_is_unspecified(const struct mir_ip *ip)
{
    return (mir_get_be64(ip->bytes) | mir_get_be64(ip->bytes + 8)) == 0;
}
static inline bool mir__ip6_is_loopback(const struct mir_ip *ip)
{
    return mir_get_be64(ip->bytes) == 0 && mir_get_be64(ip->bytes + 8) == 1;
}
/** Can it be one host's IPv6 address? Not ::, ::1, a group, or IPv4 in whatever form (RFC 4291
 *  section 2.5.5; such must not be on a wire). */
static inline bool mir__ip6_is_host(const struct mir_ip *ip)
{
    return !mir__ip6_is_multicast(ip) &&
           (mir_get_be64(ip->bytes) != 0 ||
            (mir_get_be32(ip->bytes + 8) != 0 && mir_get_be32(ip->bytes + 8) != 0xffff));
}
/** Scope of a group: 1 interface, 2 link, 5 site, 14 global (RFC 7346). */
static inline uint8_t mir__ip6_multicast_scope(const struct mir_ip *ip)
{
    return ip->bytes[1] & 15;
}

/* ---- level 2 ------------------------------------------------------------------------------ */

struct mir__ip6 {
    uint8_t traffic_class;
    uint8_t next;
    uint8_t hops;
    uint16_t payload_len;
    uint32_t flow_label;
    struct mir_ip src;
    struct mir_ip dst;
};

/** Returns as mir__ip6_check(). */
int mir__ip6_parse(const uint8_t *ip, size_t len, struct mir__ip6 *value) MIR_CHECK;
/** Always 40. */
size_t mir__ip6_emit_len(const struct mir__ip6 *value);
/** Write the header. */
void mir__ip6_emit(const struct mir__ip6 *value, uint8_t *out);

struct mir__ip6_fragment {
    uint8_t next;
    bool more;
    uint16_t offset; /* bytes, multiple of 8 */
    uint32_t id;
};

/** Returns 0 or -MIR_ETRUNCATED. */
int mir__ip6_fragment_parse(const uint8_t *ext, size_t len,
                            struct mir__ip6_fragment *value) MIR_CHECK;
/** Always 8. */
size_t mir__ip6_fragment_emit_len(const struct mir__ip6_fragment *value);
void mir__ip6_fragment_emit(const struct mir__ip6_fragment *value, uint8_t *out);

#endif
