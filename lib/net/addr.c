/* SPDX-License-Identifier: ISC */
/* IP addresses and endpoints: values and text.
 *
 * An IPv4 address is kept as the IPv4-mapped IPv6 address ::ffff:a.b.c.d, so one type serves both
 * families. Text of such an address is the dotted quad alone.
 *
 * Parsing is strict: four decimal numbers without leading zeros ("010.0.0.1" is ambiguous and was
 * the hole in several parsers), at most one "::", no zone index.
 */
#include <mirari/bytes.h>
#include <mirari/format.h>
#include <mirari/net.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct mir_ip mir_ip_from_v4(uint32_t addr)
{
    struct mir_ip ip;
    mir_memcpy(ip.bytes, mapped_prefix, sizeof mapped_prefix);
    mir_put_be32(ip.bytes + 12, addr);
    return ip;
}

uint32_t mir_ip_to_v4(const struct mir_ip *ip)
{
    return mir_get_be32(ip->bytes + 12);
}

bool mir_ip_is_v4(const struct mir_ip *ip)
{
    return mir_get_be64(ip->bytes) == 0 && mir_get_be32(ip->bytes + 8) == 0xffff;
}

bool mir_ip_is_any(const struct mir_ip *ip)
{
    uint32_t middle = mir_get_be32(ip->bytes + 8);
    return mir_get_be64(ip->bytes) == 0 && (middle == 0 || middle == 0xffff) &&
           mir_get_be32(ip->bytes + 12) == 0;
}

bool mir_ip_equal(const struct mir_ip *a, const struct mir_ip *b)
{
    uint64_t x[2], y[2];
    mir_memcpy(x, a->bytes, sizeof x);
    mir_memcpy(y, b->bytes, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static int parse_v4(const char *text, size_t len, uint32_t *addr)
{
    uint32_t result = 0;
    size_t at = 0;
    for (int part = 0; part < 4; part++) {
        uint32_t value = 0;
        size_t first = at;
        if (part > 0) {
            if (at == len || text[at] != '.')
                return -MIR_EMALFORMED;
            first = ++at;
        }
        for (; at < len && at - first < 3 && text[at] >= '0' && text[at] <= '9'; at++)
            value = value * 10 + (uint32_t)(text[at] - '0');
        bool has_leading_zero = at - first > 1 && text[first] == '0';
        if (at == first || value > 255 || has_leading_zero)
            return -MIR_EMALFORMED;
        result = result << 8 | value;
    }
    if (at != len)
        return -MIR_EMALFORMED;
    *addr = result;
    return 0;
}

/* 1-4 hex digits at *at; advances. Returns the group or -1. */
static int parse_group(const char *text, size_t len, size_t *at)
{
    int value = 0;
    size_t first = *at;
    for (; *at < len && *at - first < 4 && mir_hex_digit(text[*at]) >= 0; ++*at)
        value = value << 4 | mir_hex_digit(text[*at]);
    return *at == first ? -1 : value;
}

/* RFC 4291 section 2.2: groups, "::" once, dotted quad at the end. */
static int parse_v6(const char *text, size_t len, struct mir_ip *ip)
{
    uint8_t bytes[16] = {0};
    size_t count = 0, gap = 17, at = 0;
    if (len >= 2 && text[0] == ':' && text[1] == ':') {
        gap = 0;
        at = 2;
    }
    while (at < len) {
        size_t start = at;
        uint32_t v4;
        int group = parse_group(text, len, &at);
        if (at < len && text[at] == '.' && count <= 12) {
            if (parse_v4(text + start, len - start, &v4) < 0)
                return -MIR_EMALFORMED;
            mir_put_be32(bytes + count, v4);
            count += 4;
            at = len;
            break;
        }
        if (group < 0 || count == 16)
            return -MIR_EMALFORMED;
        mir_put_be16(bytes + count, (uint16_t)group);
        count += 2;
        if (at == len)
            break;
        if (text[at++] != ':' || at == len)
            return -MIR_EMALFORMED;
        if (text[at] == ':') {
            if (gap != 17)
                return -MIR_EMALFORMED;
            gap = count;
            at++;
        }
    }
    if (gap == 17 ? count != 16 : count > 14)
        return -MIR_EMALFORMED;
    if (gap != 17) {
        size_t tail = count - gap;
        mir_memmove(bytes + 16 - tail, bytes + gap, tail);
        mir_memset(bytes + gap, 0, 16 - count);
    }
    mir_memcpy(ip->bytes, bytes, sizeof bytes);
    return 0;
}

int mir_ip_parse(const char *text, size_t len, struct mir_ip *ip)
{
    uint32_t addr;
    if (parse_v4(text, len, &addr) < 0)
        return parse_v6(text, len, ip);
    *ip = mir_ip_from_v4(addr);
    return 0;
}

int mir_ip_parse_prefix(const char *text, size_t len, struct mir_ip *ip, uint8_t *prefix_len)
{
    struct mir_ip result;
    uint64_t prefix;
    size_t slash = 0;
    while (slash < len && text[slash] != '/')
        slash++;
    if (slash == len || mir_ip_parse(text, slash, &result) < 0)
        return -MIR_EMALFORMED;
    int r =
        mir_parse_u64(text + slash + 1, len - slash - 1, mir_ip_is_v4(&result) ? 32 : 128, &prefix);
    if (r < 0)
        return r;
    *ip = result;
    *prefix_len = (uint8_t)prefix;
    return 0;
}

/* RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equal ones. */
static void find_zero_run(const struct mir_ip *ip, size_t *run_at, size_t *run_len)
{
    *run_at = 8;
    *run_len = 1;
    for (size_t i = 0; i < 8; i++) {
        size_t n = 0;
        while (i + n < 8 && mir_get_be16(ip->bytes + 2 * (i + n)) == 0)
            n++;
        if (n > *run_len) {
            *run_at = i;
            *run_len = n;
        }
    }
}

const char *mir_ip_text(const struct mir_ip *ip, char out[MIR_IP_TEXT_MAX])
{
    const uint8_t *b = ip->bytes;
    size_t len = 0, run_at, run_len;
    if (mir_ip_is_v4(ip)) {
        mir_format(out, MIR_IP_TEXT_MAX, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
        return out;
    }
    find_zero_run(ip, &run_at, &run_len);
    for (size_t i = 0; i < 8; i++) {
        if (i == run_at) {
            len += mir_format(out + len, MIR_IP_TEXT_MAX - len, "::");
            i += run_len - 1;
            continue;
        }
        bool needs_colon = i > 0 && !(run_at < 8 && i == run_at + run_len);
        len += mir_format(out + len, MIR_IP_TEXT_MAX - len, needs_colon ? ":%x" : "%x",
                          mir_get_be16(b + 2 * i));
    }
    return out;
}

const char *mir_endpoint_text(const struct mir_endpoint *ep, char out[MIR_ENDPOINT_TEXT_MAX])
{
    char ip[MIR_IP_TEXT_MAX];
    mir_format(out, MIR_ENDPOINT_TEXT_MAX, mir_ip_is_v4(&ep->ip) ? "%s:%u" : "[%s]:%u",
               mir_ip_text(&ep->ip, ip), ep->port);
    return out;
}
