/* SPDX-License-Identifier: ISC */
/* Names: what the domain name system stores.
 *
 *   struct mir_dns_name    a domain name as it is on the wire, with a text form
 *   struct mir_dns_rdata   the data of one record, by type
 */
#ifndef MIRARI_DNS_H
#define MIRARI_DNS_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/list.h>
#include <mirari/net.h>

/* ---- names -------------------------------------------------------------------------------- */

/** Octets of a name, lengths and the root's zero included (RFC 1035 section 2.3.4). */
#define MIR_DNS_NAME_MAX 255u
/** Of its text: every octet may need "\DDD"; with NUL. */
#define MIR_DNS_NAME_TEXT_MAX 1012u

/** A domain name: length, octets ... 0. Case is kept, and does not matter in comparisons. */
struct mir_dns_name {
    uint8_t len; /**< 1 (the root) .. 255; 0 = no name */
    uint8_t wire[MIR_DNS_NAME_MAX];
};

/**
 * mir_dns_name_parse() - name from text.
 *
 * @text  [len] bytes: labels divided by dots; "\." and "\DDD" (decimal) as in zone files. A dot at
 *        the end changes nothing; "." is the root
 *
 * Returns 0, -MIR_EMALFORMED (empty, empty label, bad escape), -MIR_ETOOBIG (label of more than 63
 * octets, name of more than 255).
 * Source  RFC 1035 sections 2.3.4, 5.1
 */
int mir_dns_name_parse(const char *text, size_t len, struct mir_dns_name *name) MIR_CHECK;
/** Into [MIR_DNS_NAME_TEXT_MAX] bytes; returns @out. No dot at the end but for the root. */
const char *mir_dns_name_text(const struct mir_dns_name *name, char out[MIR_DNS_NAME_TEXT_MAX]);
/** Without regard to the case of ASCII letters (RFC 4343). */
bool mir_dns_name_equal(const struct mir_dns_name *a, const struct mir_dns_name *b);
/** Is @name @ancestor or below it? */
bool mir_dns_name_is_in(const struct mir_dns_name *name, const struct mir_dns_name *ancestor);

/** "4.3.2.1.in-addr.arpa" or "....ip6.arpa" of an address: what to ask with MIR_DNS_PTR. */
void mir_dns_name_of_ip(const struct mir_ip *ip, struct mir_dns_name *name);

/* ---- records ------------------------------------------------------------------------------ */

/** Types that are understood; others pass as octets (RFC 3597). */
enum mir_dns_type {
    MIR_DNS_A = 1,
    MIR_DNS_NS = 2,
    MIR_DNS_CNAME = 5,
    MIR_DNS_SOA = 6,
    MIR_DNS_PTR = 12,
    MIR_DNS_MX = 15,
    MIR_DNS_TXT = 16,
    MIR_DNS_AAAA = 28,
    MIR_DNS_SRV = 33,
    MIR_DNS_OPT = 41,
    MIR_DNS_NSEC = 47,
    MIR_DNS_ANY = 255,
    MIR_DNS_CAA = 257,
};

struct mir_dns_mx {
    uint16_t preference;
    struct mir_dns_name exchange;
};
struct mir_dns_srv {
    uint16_t priority, weight, port;
    struct mir_dns_name target;
};
struct mir_dns_soa {
    struct mir_dns_name primary, mailbox;
    uint32_t serial, refresh_s, retry_s, expire_s, minimum_s;
};
struct mir_dns_caa {
    uint8_t flags, tag_len, tag[15];
    uint16_t value_len;
    const uint8_t *value;
};
/** TXT: character strings, each with its length in front. Unknown types, OPT: as on the wire. */
struct mir_dns_raw {
    const uint8_t *data;
    uint16_t len;
};

/** Data of a record. Pointers lead into the message or answer it was read from. */
struct mir_dns_rdata {
    uint16_t type;
    union {
        struct mir_ip ip;         /**< A, AAAA */
        struct mir_dns_name name; /**< NS, CNAME, PTR */
        struct mir_dns_mx mx;
        struct mir_dns_srv srv;
        struct mir_dns_soa soa;
        struct mir_dns_caa caa;
        struct mir_dns_raw raw; /**< TXT, OPT, NSEC and every other type */
    };
};

/** "A", "SRV", "TYPE65280"; into [MIR_DNS_TYPE_TEXT_MAX] bytes, returns @out (RFC 3597 s. 5). */
const char *mir_dns_type_text(uint16_t type, char out[10]);
#define MIR_DNS_TYPE_TEXT_MAX 10
/** The number of "AAAA" or "TYPE28", in any case. Returns 0 or -MIR_EINVAL. */
int mir_dns_type_parse(const char *text, size_t len, uint16_t *type) MIR_CHECK;
/** Data as in a zone file, into [size] bytes, always with NUL; returns the length of the whole
 *  (>= size: it was cut). */
size_t mir_dns_rdata_text(const struct mir_dns_rdata *rdata, char *out, size_t size);

#endif
