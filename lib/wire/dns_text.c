/* SPDX-License-Identifier: ISC */
/* Names and data of DNS records as text, in the form of zone files (RFC 1035 section 5.1).
 *
 * A name is kept as its octets on the wire: that is what is compared, cached and sent, and it can
 * hold what text can only escape. Comparison folds ASCII letters only (RFC 4343).
 *
 * The text of an unknown type is "\# length hex" (RFC 3597 section 5).
 */
#include <mirari/format.h>

#include "lib/wire/dns.h"

/* ---- names --------------------------------------------------------------------------------- */

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* An escape after its backslash. Returns the characters used, 0: it is none. */
static size_t unescape(const char *text, size_t len, uint8_t *octet)
{
    if (len == 0)
        return 0;
    if (!is_digit(text[0])) {
        *octet = (uint8_t)text[0];
        return 1;
    }
    if (len < 3 || !is_digit(text[1]) || !is_digit(text[2]))
        return 0;
    uint32_t value = (uint32_t)(text[0] - '0') * 100 + (uint32_t)(text[1] - '0') * 10 +
                     (uint32_t)(text[2] - '0');
    *octet = (uint8_t)value;
    return value <= 255 ? 3 : 0;
}

int mir_dns_name_parse(const char *text, size_t len, struct mir_dns_name *name)
{
    struct mir_dns_name made;
    uint32_t label_at = 0, out = 1;
    if (len == 0)
        return -MIR_EMALFORMED;
    if (len == 1 && text[0] == '.') {
        *name = (struct mir_dns_name){.len = 1};
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t octet = (uint8_t)text[i];
        bool is_end = octet == '.';
        if (octet == '\\') {
            size_t used = unescape(text + i + 1, len - i - 1, &octet);
            if (used == 0)
                return -MIR_EMALFORMED;
            i += used;
        }
        if (is_end && out == label_at + 1)
            return -MIR_EMALFORMED;
        /* One octet is kept for the root. */
        if (out >= MIR_DNS_NAME_MAX - (is_end ? 0 : 1) || (!is_end && out - label_at > 63))
            return -MIR_ETOOBIG;
        if (is_end) {
            made.wire[label_at] = (uint8_t)(out - label_at - 1);
            label_at = out++;
        } else {
            made.wire[out++] = octet;
        }
    }
    made.wire[label_at] = (uint8_t)(out - label_at - 1);
    if (made.wire[label_at] != 0)
        made.wire[out++] = 0;
    made.len = (uint8_t)out;
    mir_memcpy(name->wire, made.wire, out);
    name->len = made.len;
    return 0;
}

/* Text that may be cut: what is beyond the end is only counted. */
struct text {
    char *out;
    size_t size;
    size_t len;
};

static void add(struct text *t, char c)
{
    if (t->len + 1 < t->size)
        t->out[t->len] = c;
    t->len++;
}

static void add_text(struct text *t, const char *more)
{
    while (*more != '\0')
        add(t, *more++);
}

static void add_number(struct text *t, uint32_t value)
{
    char digits[12];
    mir_format(digits, sizeof digits, "%u", value);
    add_text(t, digits);
}

/* @special: characters that need a backslash. */
static void add_octet(struct text *t, uint8_t octet, const char *special)
{
    if (octet < 0x20 || octet >= 0x7f) {
        char escape[5];
        mir_format(escape, sizeof escape, "\\%03u", octet);
        add_text(t, escape);
        return;
    }
    for (; *special != '\0'; special++) {
        if (octet == (uint8_t)*special)
            add(t, '\\');
    }
    add(t, (char)octet);
}

static void add_name(struct text *t, const struct mir_dns_name *name)
{
    uint32_t at = 0;
    if (name->len <= 1)
        add(t, '.');
    while (at < name->len && name->wire[at] != 0) {
        uint32_t label = name->wire[at++];
        if (at > 1)
            add(t, '.');
        for (uint32_t i = 0; i < label; i++) {
            uint8_t octet = name->wire[at++];
            if (octet == ' ')
                add_text(t, "\\032");
            else
                add_octet(t, octet, ".\\\"();@$");
        }
    }
}

static size_t end(struct text *t)
{
    if (t->size > 0)
        t->out[MIR_MIN(t->len, t->size - 1)] = '\0';
    return t->len;
}

const char *mir_dns_name_text(const struct mir_dns_name *name, char out[MIR_DNS_NAME_TEXT_MAX])
{
    struct text t = {out, MIR_DNS_NAME_TEXT_MAX, 0};
    add_name(&t, name);
    end(&t);
    return out;
}

static bool same_octets(const uint8_t *a, const uint8_t *b, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        if (fold(a[i]) != fold(b[i]))
            return false;
    }
    return true;
}

bool mir_dns_name_equal(const struct mir_dns_name *a, const struct mir_dns_name *b)
{
    /* Lengths of labels are below 64 and letters above: folding changes no length. */
    return a->len == b->len && same_octets(a->wire, b->wire, a->len);
}

bool mir_dns_name_is_in(const struct mir_dns_name *name, const struct mir_dns_name *ancestor)
{
    uint32_t at = 0;
    while (at < name->len && name->len - at > ancestor->len)
        at += 1u + name->wire[at];
    return at < name->len && name->len - at == ancestor->len &&
           same_octets(name->wire + at, ancestor->wire, ancestor->len);
}

void mir_dns_name_of_ip(const struct mir_ip *ip, struct mir_dns_name *name)
{
    char text[80];
    struct text t = {text, sizeof text, 0};
    if (mir_ip_is_v4(ip)) {
        for (uint32_t i = 16; i-- > 12;) {
            add_number(&t, ip->bytes[i]);
            add(&t, '.');
        }
        add_text(&t, "in-addr.arpa");
    } else {
        for (uint32_t i = 16; i-- > 0;) {
            static const char hex[] = "0123456789abcdef";
            add(&t, hex[ip->bytes[i] & 15]);
            add(&t, '.');
            add(&t, hex[ip->bytes[i] >> 4]);
            add(&t, '.');
        }
        add_text(&t, "ip6.arpa");
    }
    end(&t);
    int r = mir_dns_name_parse(text, t.len, name);
    MIR_ASSERT_OP(r, ==, 0);
}

/* ---- types --------------------------------------------------------------------------------- */

static const struct {
    uint16_t type;
    const char *text;
} types[] = {
    {MIR_DNS_A, "A"},     {MIR_DNS_NS, "NS"},     {MIR_DNS_CNAME, "CNAME"}, {MIR_DNS_SOA, "SOA"},
    {MIR_DNS_PTR, "PTR"}, {MIR_DNS_MX, "MX"},     {MIR_DNS_TXT, "TXT"},     {MIR_DNS_AAAA, "AAAA"},
    {MIR_DNS_SRV, "SRV"}, {MIR_DNS_NSEC, "NSEC"}, {MIR_DNS_OPT, "OPT"},     {MIR_DNS_ANY, "ANY"},
    {MIR_DNS_CAA, "CAA"},
};

const char *mir_dns_type_text(uint16_t type, char out[MIR_DNS_TYPE_TEXT_MAX])
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(types); i++) {
        if (types[i].type == type) {
            mir_format(out, MIR_DNS_TYPE_TEXT_MAX, "%s", types[i].text);
            return out;
        }
    }
    mir_format(out, MIR_DNS_TYPE_TEXT_MAX, "TYPE%u", type);
    return out;
}

static bool same_word(const char *text, size_t len, const char *word)
{
    return len == mir_str_len(word) &&
           same_octets((const uint8_t *)text, (const uint8_t *)word, (uint32_t)len);
}

int mir_dns_type_parse(const char *text, size_t len, uint16_t *type)
{
    uint64_t number;
    for (size_t i = 0; i < MIR_ARRAY_LEN(types); i++) {
        if (same_word(text, len, types[i].text)) {
            *type = types[i].type;
            return 0;
        }
    }
    if (len <= 4 || !same_word(text, 4, "TYPE") ||
        mir_parse_u64(text + 4, len - 4, 65535, &number) < 0)
        return -MIR_EINVAL;
    *type = (uint16_t)number;
    return 0;
}

/* ---- data ---------------------------------------------------------------------------------- */

static void add_quoted(struct text *t, const uint8_t *data, uint32_t len)
{
    add(t, '"');
    for (uint32_t i = 0; i < len; i++)
        add_octet(t, data[i], "\"\\");
    add(t, '"');
}

static void add_strings(struct text *t, const struct mir_dns_raw *raw)
{
    for (uint32_t at = 0; at < raw->len; at += 1u + raw->data[at]) {
        if (at > 0)
            add(t, ' ');
        add_quoted(t, raw->data + at + 1, raw->data[at]);
    }
}

static void add_unknown(struct text *t, const struct mir_dns_raw *raw)
{
    static const char hex[] = "0123456789abcdef";
    add_text(t, "\\# ");
    add_number(t, raw->len);
    if (raw->len > 0)
        add(t, ' ');
    for (uint32_t i = 0; i < raw->len; i++) {
        add(t, hex[raw->data[i] >> 4]);
        add(t, hex[raw->data[i] & 15]);
    }
}

static void add_soa(struct text *t, const struct mir_dns_soa *soa)
{
    const uint32_t numbers[] = {soa->serial, soa->refresh_s, soa->retry_s, soa->expire_s,
                                soa->minimum_s};
    add_name(t, &soa->primary);
    add(t, ' ');
    add_name(t, &soa->mailbox);
    for (size_t i = 0; i < MIR_ARRAY_LEN(numbers); i++) {
        add(t, ' ');
        add_number(t, numbers[i]);
    }
}

static void add_srv(struct text *t, const struct mir_dns_srv *srv)
{
    const uint16_t numbers[] = {srv->priority, srv->weight, srv->port};
    for (size_t i = 0; i < MIR_ARRAY_LEN(numbers); i++) {
        add_number(t, numbers[i]);
        add(t, ' ');
    }
    add_name(t, &srv->target);
}

size_t mir_dns_rdata_text(const struct mir_dns_rdata *rdata, char *out, size_t size)
{
    struct text t = {out, size, 0};
    char ip[MIR_IP_TEXT_MAX];
    switch (rdata->type) {
    case MIR_DNS_A:
    case MIR_DNS_AAAA:
        add_text(&t, mir_ip_text(&rdata->ip, ip));
        break;
    case MIR_DNS_NS:
    case MIR_DNS_CNAME:
    case MIR_DNS_PTR:
        add_name(&t, &rdata->name);
        break;
    case MIR_DNS_MX:
        add_number(&t, rdata->mx.preference);
        add(&t, ' ');
        add_name(&t, &rdata->mx.exchange);
        break;
    case MIR_DNS_SRV:
        add_srv(&t, &rdata->srv);
        break;
    case MIR_DNS_SOA:
        add_soa(&t, &rdata->soa);
        break;
    case MIR_DNS_CAA:
        add_number(&t, rdata->caa.flags);
        add(&t, ' ');
        for (uint32_t i = 0; i < rdata->caa.tag_len; i++)
            add_octet(&t, rdata->caa.tag[i], "\"\\");
        add(&t, ' ');
        add_quoted(&t, rdata->caa.value, rdata->caa.value_len);
        break;
    case MIR_DNS_TXT:
        add_strings(&t, &rdata->raw);
        break;
    default:
        add_unknown(&t, &rdata->raw);
        break;
    }
    return end(&t);
}
