/* SPDX-License-Identifier: ISC */
/* DHCP for IPv4: BOOTP messages with options.
 *
 *    0     1     2     3     4                       8
 *   +-----+-----+-----+-----+-----------------------+-----------+-----------+
 *   | op  |htype|hlen |hops |          xid          |   secs    |B|  flags  |   0
 *   +-----+-----+-----+-----+-----------------------+-----------+-----------+
 *   |         ciaddr        |         yiaddr        |   12, 16
 *   |         siaddr        |         giaddr        |   20, 24
 *   +-----------------------+-----------------------+
 *   |         chaddr, 16 bytes (first hlen used)    |   28
 *   |         sname, 64 bytes                       |   44
 *   |         file, 128 bytes                       |  108
 *   |         magic 0x63825363                      |  236
 *   |         options: code, length, data ... 255   |  240
 *   +-----------------------------------------------+
 *
 * All fields are big-endian. Source: RFC 2131 section 2 figure 1; options RFC 2132 (and 2131
 * section 4.1 for options overloaded into sname and file; 4361 for the client identifier; 3397 for
 * search domains, 3442 for routes, 3396 for how these may be split).
 */
#ifndef LIB_WIRE_DHCP_H
#define LIB_WIRE_DHCP_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#define MIR__DHCP_FIXED_LEN 240u
/** Smallest message many servers and relays accept (RFC 951 section 3). */
#define MIR__DHCP_MIN_LEN 300u
/** Longest text option kept. */
#define MIR__DHCP_TEXT_MAX  63u
#define MIR__DHCP_ADDRS_MAX 4u
/** Routes and octets of search domains kept. */
#define MIR__DHCP_ROUTES_MAX 16u
#define MIR__DHCP_SEARCH_MAX 255u
/** Room that emit() needs at most. */
#define MIR__DHCP_EMIT_MAX 576u

enum { MIR__DHCP_BOOTREQUEST = 1, MIR__DHCP_BOOTREPLY = 2 };

/** Message types (RFC 2132 section 9.6). */
enum {
    MIR__DHCP_DISCOVER = 1,
    MIR__DHCP_OFFER = 2,
    MIR__DHCP_REQUEST = 3,
    MIR__DHCP_DECLINE = 4,
    MIR__DHCP_ACK = 5,
    MIR__DHCP_NAK = 6,
    MIR__DHCP_RELEASE = 7,
    MIR__DHCP_INFORM = 8,
};

/** Options that are known here. */
enum {
    MIR__DHCP_OPT_PAD = 0,
    MIR__DHCP_OPT_SUBNET_MASK = 1,
    MIR__DHCP_OPT_ROUTER = 3,
    MIR__DHCP_OPT_DNS = 6,
    MIR__DHCP_OPT_HOSTNAME = 12,
    MIR__DHCP_OPT_DOMAIN = 15,
    MIR__DHCP_OPT_MTU = 26,
    MIR__DHCP_OPT_REQUESTED_IP = 50,
    MIR__DHCP_OPT_LEASE = 51,
    MIR__DHCP_OPT_OVERLOAD = 52,
    MIR__DHCP_OPT_TYPE = 53,
    MIR__DHCP_OPT_SERVER_ID = 54,
    MIR__DHCP_OPT_PARAMETERS = 55,
    MIR__DHCP_OPT_MESSAGE = 56,
    MIR__DHCP_OPT_MAX_SIZE = 57,
    MIR__DHCP_OPT_T1 = 58,
    MIR__DHCP_OPT_T2 = 59,
    MIR__DHCP_OPT_CLIENT_ID = 61,
    MIR__DHCP_OPT_SEARCH = 119,
    MIR__DHCP_OPT_ROUTES = 121,
    MIR__DHCP_OPT_END = 255,
};

/** Is it a BOOTP message with the DHCP magic? Returns 0, -MIR_ETRUNCATED, -MIR_EMALFORMED. */
static inline MIR_CHECK int mir__dhcp_check(const uint8_t *msg, size_t len)
{
    if (len < MIR__DHCP_FIXED_LEN)
        return -MIR_ETRUNCATED;
    return mir_get_be32(msg + 236) == 0x63825363 ? 0 : -MIR_EMALFORMED;
}
static inline uint32_t mir__dhcp_xid(const uint8_t *msg)
{
    return mir_get_be32(msg + 4);
}

/** One option of a field of options. */
struct mir__dhcp_option {
    uint8_t code;
    uint8_t len;
    const uint8_t *data;
};

/** The next option in [len] bytes from *@at, pads skipped. Returns 1 and moves *@at, 0 at the end
 *  (END or the last byte), -MIR_ETRUNCATED. */
int mir__dhcp_next_option(const uint8_t *field, size_t len, size_t *at,
                          struct mir__dhcp_option *option) MIR_CHECK;

/** A classless route (RFC 3442). */
struct mir__dhcp_route {
    uint32_t dst;
    uint32_t prefix_len; /* 0..32; bits of dst behind it are 0 */
    uint32_t gateway;    /* 0: on the link */
};

/** A message as a value. Zero means absent for addresses, times and the MTU; len 0 for texts. */
struct mir__dhcp {
    uint8_t op;
    uint8_t type; /* message type, never 0 */
    bool broadcast;
    uint32_t xid;
    uint16_t secs;
    uint16_t mtu;
    uint16_t max_size;
    uint32_t ciaddr, yiaddr, siaddr, giaddr;
    uint8_t chaddr[6];
    uint32_t subnet_mask;
    uint32_t requested_ip;
    uint32_t server_id;
    uint32_t lease_s;
    uint32_t t1_s;
    uint32_t t2_s;
    uint32_t routers[MIR__DHCP_ADDRS_MAX];
    uint32_t dns[MIR__DHCP_ADDRS_MAX];
    uint8_t router_count; /* more than fit are cut off */
    uint8_t dns_count;
    uint8_t route_count;
    uint8_t search_len;
    uint8_t hostname_len, domain_len, message_len, client_id_len, parameter_count;
    struct mir__dhcp_route routes[MIR__DHCP_ROUTES_MAX];
    uint8_t search[MIR__DHCP_SEARCH_MAX]; /* names as DNS writes them, uncompressed */
    char hostname[MIR__DHCP_TEXT_MAX];
    char domain[MIR__DHCP_TEXT_MAX];
    char message[MIR__DHCP_TEXT_MAX];
    uint8_t client_id[MIR__DHCP_TEXT_MAX];
    uint8_t parameters[MIR__DHCP_TEXT_MAX];
};

/** The next of the names in @search as text with dots, into [MIR__DHCP_SEARCH_MAX]; *@at moves
 *  behind it. Returns its length, 0 at the end. Octets of labels are not looked at. */
size_t mir__dhcp_next_domain(const struct mir__dhcp *value, size_t *at, char *text);

/** Returns 0, -MIR_ETRUNCATED, -MIR_EMALFORMED (not Ethernet, no message type, an option of a
 *  wrong length). Unknown options are skipped. */
int mir__dhcp_parse(const uint8_t *msg, size_t len, struct mir__dhcp *value) MIR_CHECK;
/** Write the message into [MIR__DHCP_EMIT_MAX] bytes, zero-padded to MIR__DHCP_MIN_LEN.
 *  Returns its length; 0 if the texts together do not fit. */
size_t mir__dhcp_emit(const struct mir__dhcp *value, uint8_t *out) MIR_CHECK;

#endif
