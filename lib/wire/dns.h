/* SPDX-License-Identifier: ISC */
/* DNS messages: reading and writing.
 *
 *    0                   2                   4           6           8           10
 *   +-------------------+-------------------+-----------+-----------+-----------+-----------+
 *   |        id         |QR|op |AA|TC|RD|RA|rc| questions | answers | authority | additional|
 *   +-------------------+-------------------+-----------+-----------+-----------+-----------+
 *   12: questions   name, type (2), class (2)
 *       records     name, type (2), class (2), ttl (4), length (2), data
 *
 *   name: labels (length 1..63, octets) to a 0, or to a pointer 11xxxxxx xxxxxxxx to an earlier
 *   name of the message
 *
 * All fields are big-endian. Source: RFC 1035 sections 4.1.1 to 4.1.4; limits on names section
 * 2.3.4; EDNS RFC 6891 section 6.1; SRV RFC 2782; CAA RFC 8659; unknown types RFC 3597.
 *
 * A reader borrows the message and hands out names and data by value; a writer fills a buffer of
 * the caller. Neither keeps anything else, so client, server and responder share them.
 */
#ifndef LIB_WIRE_DNS_H
#define LIB_WIRE_DNS_H

#include <mirari/bytes.h>
#include <mirari/dns.h>

#define MIR__DNS_HEADER_LEN  12u
#define MIR__DNS_MESSAGE_MAX 65535u
/** Records and questions of one message that are looked at; more: -MIR_ELIMIT. */
#define MIR__DNS_RECORDS_MAX 512u

/** Flags of the header's second word. */
enum {
    MIR__DNS_QR = 0x8000, /**< response */
    MIR__DNS_AA = 0x0400,
    MIR__DNS_TC = 0x0200, /**< truncated */
    MIR__DNS_RD = 0x0100,
    MIR__DNS_RA = 0x0080,
    MIR__DNS_AD = 0x0020,
    MIR__DNS_CD = 0x0010,
    MIR__DNS_OPCODE_MASK = 0x7800,
    MIR__DNS_RCODE_MASK = 0x000f,
};

enum {
    MIR__DNS_NOERROR = 0,
    MIR__DNS_FORMERR = 1,
    MIR__DNS_SERVFAIL = 2,
    MIR__DNS_NXDOMAIN = 3,
    MIR__DNS_NOTIMP = 4,
    MIR__DNS_REFUSED = 5,
    MIR__DNS_BADVERS = 16,
};

enum { MIR__DNS_IN = 1, MIR__DNS_CLASS_ANY = 255 };

enum mir__dns_section {
    MIR__DNS_QUESTION,
    MIR__DNS_ANSWER,
    MIR__DNS_AUTHORITY,
    MIR__DNS_ADDITIONAL,
    MIR__DNS_SECTIONS
};

struct mir__dns_question {
    struct mir_dns_name name;
    uint16_t type;
    uint16_t class;
};

struct mir__dns_record {
    struct mir_dns_name name;
    uint16_t type;
    uint16_t class;
    uint32_t ttl_s;
    enum mir__dns_section section;
    uint32_t data_at; /**< offset in the message */
    uint16_t data_len;
};

/* ---- reading ------------------------------------------------------------------------------ */

struct mir__dns_reader {
    const uint8_t *msg;
    uint32_t len;
    uint16_t id;
    uint16_t flags;
    uint16_t count[MIR__DNS_SECTIONS];
    /* private: */
    uint32_t at;
    uint16_t left[MIR__DNS_SECTIONS];
    uint32_t seen;
};

/** Begin to read [len] bytes of @msg (borrowed). Returns 0, -MIR_ETRUNCATED (no header),
 *  -MIR_ETOOBIG. Source: RFC 1035 section 4.1.1 */
int mir__dns_read(struct mir__dns_reader *reader, const uint8_t *msg, size_t len) MIR_CHECK;
/** The next question. Returns 0, -MIR_EEOF (no more), -MIR_ETRUNCATED, -MIR_EMALFORMED,
 *  -MIR_ELIMIT. Source: RFC 1035 section 4.1.2 */
int mir__dns_read_question(struct mir__dns_reader *reader,
                           struct mir__dns_question *question) MIR_CHECK;
/** The next record; questions that were not read are skipped. Returns as above.
 *  Source: RFC 1035 section 4.1.3 */
int mir__dns_read_record(struct mir__dns_reader *reader, struct mir__dns_record *record) MIR_CHECK;
/** Data of a record, names in it whole. Returns 0, -MIR_EMALFORMED (it does not have the form of
 *  its type, or does not fill its length). */
int mir__dns_read_rdata(const struct mir__dns_reader *reader, const struct mir__dns_record *record,
                        struct mir_dns_rdata *rdata) MIR_CHECK;
/** A name at *@at, which moves behind it. Pointers must lead backwards. Returns 0,
 *  -MIR_ETRUNCATED, -MIR_EMALFORMED. Source: RFC 1035 section 4.1.4 */
int mir__dns_read_name(const uint8_t *msg, uint32_t len, uint32_t *at,
                       struct mir_dns_name *name) MIR_CHECK;
/** Data that stands alone, names in it whole: as mir__dns_put_rdata() writes it. */
int mir__dns_get_rdata(const uint8_t *data, uint16_t len, uint16_t type,
                       struct mir_dns_rdata *rdata) MIR_CHECK;
/** Data without compression into [size] bytes. Returns 0, -MIR_ETOOBIG. */
int mir__dns_put_rdata(const struct mir_dns_rdata *rdata, uint8_t *out, size_t size,
                       uint16_t *len) MIR_CHECK;

/* ---- EDNS --------------------------------------------------------------------------------- */

struct mir__dns_edns {
    uint16_t udp_bytes; /**< what the sender can take */
    uint8_t rcode_high; /**< upper bits of the response code */
    uint8_t version;
    bool dnssec_ok;
};

/** What an OPT record says. Source: RFC 6891 section 6.1.3 */
void mir__dns_edns_of(const struct mir__dns_record *record, struct mir__dns_edns *edns);

/* ---- writing ------------------------------------------------------------------------------ */

#define MIR__DNS_SUFFIXES_MAX 96u

struct mir__dns_writer {
    uint8_t *out;
    uint32_t size; /**< may be lowered and raised between records */
    uint32_t at;   /**< bytes written */
    bool no_compression;
    bool compress_srv; /**< multicast DNS: RFC 6762 section 18.14 */
    /* private: */
    uint16_t count[MIR__DNS_SECTIONS];
    uint16_t section;
    uint16_t suffix_count;
    uint16_t suffix[MIR__DNS_SUFFIXES_MAX]; /* where names, and their ends, begin */
};

/** Begin a message in [size] bytes of @out; @size >= 12. */
void mir__dns_write(struct mir__dns_writer *writer, uint8_t *out, size_t size, uint16_t id,
                    uint16_t flags);
/** Add a question. Returns 0 or -MIR_ETOOBIG (nothing was written). */
int mir__dns_write_question(struct mir__dns_writer *writer, const struct mir_dns_name *name,
                            uint16_t type, uint16_t class) MIR_CHECK;
/** Add a record; sections in their order. Returns 0 or -MIR_ETOOBIG (nothing was written: a server
 *  sets TC and ends). Case of names is kept: an end is compressed only if it is the same octets.
 *  Source: RFC 1035 section 4.1.4, RFC 3597 section 4 (which data is compressed) */
int mir__dns_write_record(struct mir__dns_writer *writer, enum mir__dns_section section,
                          const struct mir_dns_name *name, uint16_t class, uint32_t ttl_s,
                          const struct mir_dns_rdata *rdata) MIR_CHECK;
/** Add an OPT record without options. Returns 0 or -MIR_ETOOBIG. */
int mir__dns_write_edns(struct mir__dns_writer *writer, const struct mir__dns_edns *edns) MIR_CHECK;
/** Set flags again, for TC or a response code found late. */
void mir__dns_write_flags(struct mir__dns_writer *writer, uint16_t flags);
/** Fill in the counts; returns the length of the message. */
uint32_t mir__dns_write_end(struct mir__dns_writer *writer);

#endif
