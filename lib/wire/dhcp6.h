/* SPDX-License-Identifier: ISC */
/* DHCP for IPv6, the stateless half: Information-request and its Reply.
 *
 *    0       1                       4
 *   +-------+-----------------------+---------------------------
 *   | type  | transaction id, 24 b. | options
 *   +-------+-----------------------+---------------------------
 *   option: | code 2 | length 2 | data ... |
 *      1, 2   DUID of the client, of the server
 *      6      options that are asked for, 2 octets each
 *      8      time since the exchange began, 2 octets of 10 ms
 *     13      status: code 2, text
 *     23      name servers, 16 octets each        (RFC 3646 section 3)
 *     24      search list, names                  (RFC 3646 section 4)
 *     32      refresh after seconds, 4 octets     (section 21.23)
 *     83      longest wait between questions, 4   (section 21.25)
 *
 * All fields are big-endian. Source: RFC 8415 sections 8, 18.2.6, 21.
 */
#ifndef LIB_WIRE_DHCP6_H
#define LIB_WIRE_DHCP6_H

#include <mirari/bytes.h>
#include <mirari/err.h>
#include <mirari/net.h>

#define MIR__DHCP6_SERVERS_MAX 4u
/** DUID made of a link-layer address (RFC 8415 section 11.4). */
#define MIR__DHCP6_DUID_LEN 10u
/** Length of an Information-request. */
#define MIR__DHCP6_REQUEST_LEN 36u

enum { MIR__DHCP6_REPLY = 7, MIR__DHCP6_INFORMATION_REQUEST = 11 };

/** Into [MIR__DHCP6_REQUEST_LEN] bytes. @elapsed_cs in hundredths of a second. */
void mir__dhcp6_emit_request(uint32_t xid, const uint8_t mac[6], uint16_t elapsed_cs, uint8_t *out);

struct mir__dhcp6_reply {
    uint32_t xid;
    bool has_refresh;
    uint32_t refresh_s;
    uint32_t inf_max_rt_s; /* 0: not told, or outside of 60 .. 86400 */
    uint16_t status;       /* 0: success, or none */
    uint8_t server_count;
    struct mir_ip servers[MIR__DHCP6_SERVERS_MAX]; /* more are cut off */
    const uint8_t *domains;                        /* borrowed; see domain.h */
    uint32_t domains_len;
};

/** A Reply to the client with @mac. 0, -MIR_ETRUNCATED, -MIR_EMALFORMED: not a Reply, no server's
 *  DUID, not ours (RFC 8415 section 16.10), an option that does not fit. */
int mir__dhcp6_parse_reply(const uint8_t *msg, size_t len, const uint8_t mac[6],
                           struct mir__dhcp6_reply *value) MIR_CHECK;

#endif
