/* SPDX-License-Identifier: ISC */
/* Data of records: from the words of a master file to octets, and what its names are.
 *
 * Every type is a row of a table whose form says which parts its data has, in order:
 *
 *   4 6   an address                       n   a name, compressed in answers (RFC 1035's types)
 *   b s   a number of 8 or 16 bits         m   a name that is not (RFC 3597 section 4)
 *   l     a number of 32 bits              q   a string with its length in front
 *   t     a time in seconds, or as 1h30m   Q   one or more of them
 *   a     a word of letters and digits with its length in front (a CAA tag)
 *   v     a string up to the end, without a length
 *   x     hexadecimal digits up to the end X   octets in base 64 up to the end
 *
 * so a new type is one row. Any type may be written as "\# length hex" (RFC 3597 section 5): the
 * octets must have the form of the type if it is known. Other types have only that way.
 *
 * Signed zones are refused: an answer without the signatures that belong to it would be worse than
 * none.
 */
#include <mirari/format.h>

#include "lib/dns/zone.h"

static const struct {
    uint16_t type;
    const char *text;
    const char *form;
} types[] = {
    {1, "A", "4"},           {2, "NS", "n"},          {5, "CNAME", "n"},
    {6, "SOA", "nnltttt"},   {12, "PTR", "n"},        {13, "HINFO", "qq"},
    {15, "MX", "sn"},        {16, "TXT", "Q"},        {17, "RP", "mm"},
    {18, "AFSDB", "sm"},     {28, "AAAA", "6"},       {33, "SRV", "sssm"},
    {35, "NAPTR", "ssqqqm"}, {36, "KX", "sm"},        {39, "DNAME", "m"},
    {43, "DS", "sbbx"},      {44, "SSHFP", "bbx"},    {48, "DNSKEY", "sbbX"},
    {52, "TLSA", "bbbx"},    {53, "SMIMEA", "bbbx"},  {59, "CDS", "sbbx"},
    {60, "CDNSKEY", "sbbX"}, {61, "OPENPGPKEY", "X"}, {99, "SPF", "Q"},
    {256, "URI", "ssv"},     {257, "CAA", "bav"},
};

static uint8_t fold(char c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

int mir__zone_type(const char *text, uint32_t len, uint16_t *type)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(types); i++) {
        uint32_t at = 0;
        while (at < len && types[i].text[at] != '\0' && fold(text[at]) == fold(types[i].text[at]))
            at++;
        if (at == len && types[i].text[at] == '\0') {
            *type = types[i].type;
            return 0;
        }
    }
    return mir_dns_type_parse(text, len, type);
}

const char *mir__zone_type_text(uint16_t type, char out[MIR_DNS_TYPE_TEXT_MAX + 4])
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(types); i++) {
        if (types[i].type == type)
            return types[i].text;
    }
    return mir_dns_type_text(type, out);
}

const char *mir__zone_form(uint16_t type)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(types); i++) {
        if (types[i].type == type)
            return types[i].form;
    }
    return "";
}

/* ---- names in data -------------------------------------------------------------------------- */

/* Octets of a name, or 0 if it does not end before @len. */
static uint32_t name_len(const uint8_t *data, uint32_t len)
{
    uint32_t at = 0;
    while (at < len && at < MIR_DNS_NAME_MAX && data[at] <= 63) {
        if (data[at] == 0)
            return at + 1;
        at += 1u + data[at];
    }
    return 0;
}

/* Octets of one part of data that has its form; the last one takes the rest. */
static uint32_t part_len(char letter, const uint8_t *data, uint32_t len)
{
    switch (letter) {
    case '4':
    case 'l':
    case 't':
        return 4;
    case '6':
        return 16;
    case 'b':
        return 1;
    case 's':
        return 2;
    case 'n':
    case 'm':
        return name_len(data, len);
    case 'q':
    case 'a':
        return len > 0 ? 1u + data[0] : 1;
    default:
        return len;
    }
}

bool mir__zone_part(uint16_t type, const uint8_t *data, uint32_t len, const char **form,
                    struct mir__zone_part *part)
{
    uint32_t at = part->at + part->len;
    if (*form == NULL)
        *form = mir__zone_form(type);
    *part = (struct mir__zone_part){.at = (uint16_t)at};
    if (at == len)
        return false;
    while (at < len && **form != 'n' && **form != 'm') {
        at += **form == '\0' ? len - at : part_len(**form, data + at, len - at);
        if (**form != '\0')
            (*form)++;
    }
    if (at == part->at) {
        part->is_name = true;
        part->may_compress = **form == 'n';
        at += part_len(**form, data + at, len - at);
        (*form)++;
    }
    part->len = (uint16_t)(at - part->at);
    return true;
}

bool mir__zone_target(uint16_t type, const struct mir__zone_record *record, const uint8_t **name,
                      uint32_t *len)
{
    uint32_t at = type == MIR_DNS_NS ? 0 : type == MIR_DNS_MX ? 2 : type == MIR_DNS_SRV ? 6 : 99;
    if (at == 99)
        return false;
    *name = record->data + at;
    *len = record->len - at;
    return true;
}

/* ---- octets as in RFC 3597 ------------------------------------------------------------------ */

static bool has_strings(const uint8_t *data, uint32_t len)
{
    uint32_t at = 0;
    while (at < len && len - at - 1 >= data[at])
        at += 1u + data[at];
    return at == len && len > 0;
}

/* Does data have the form of its type? */
static bool has_form(const char *form, const uint8_t *data, uint32_t len)
{
    uint32_t at = 0;
    if (*form == '\0')
        return true;
    for (; *form != '\0'; form++) {
        uint32_t left = len - at, n = part_len(*form, data + at, left);
        bool is_good = n <= left;
        if (*form == 'n' || *form == 'm')
            is_good = n > 0;
        else if (*form == 'Q')
            is_good = has_strings(data + at, left);
        else if (*form == 'a')
            is_good = left > 0 && n <= left && data[at] >= 1 && data[at] <= 15;
        if (!is_good)
            return false;
        at += n;
    }
    return at == len;
}

static int room(struct mir__zone_parser *parser, uint32_t more)
{
    if (more > sizeof parser->data - parser->data_len)
        return mir__zone_error(parser, "data of more than 65535 octets; divide it");
    return 0;
}

/* Digits up to the end of the entry, in as many words as one likes. */
static int take_hex(struct mir__zone_parser *parser)
{
    uint32_t digits = 0;
    for (;;) {
        for (uint32_t i = 0; i < parser->token.len; i++) {
            int digit = mir_hex_digit(parser->token.text[i]);
            if (digit < 0 || parser->token.kind != MIR__ZONE_WORD)
                return mir__zone_error(parser, "'%.*s' is not hexadecimal",
                                       (int)MIR_MIN(parser->token.len, 300u), parser->token.text);
            int r = digits % 2 == 0 ? room(parser, 1) : 0;
            if (r < 0)
                return r;
            if (digits % 2 == 0)
                parser->data[parser->data_len] = (uint8_t)(digit << 4);
            else
                parser->data[parser->data_len++] |= (uint8_t)digit;
            digits++;
        }
        int kind = mir__zone_next(parser);
        if (kind == MIR__ZONE_BAD)
            return -MIR_EMALFORMED;
        if (kind == MIR__ZONE_END)
            break;
    }
    parser->at_end = true;
    if (digits % 2 != 0)
        return mir__zone_error(parser, "an odd number of hexadecimal digits; an octet has two");
    return 0;
}

static int take_unknown(struct mir__zone_parser *parser)
{
    uint32_t wanted;
    char name[MIR_DNS_TYPE_TEXT_MAX + 4];
    if (mir__zone_next(parser) != MIR__ZONE_WORD)
        return mir__zone_error(parser, "the length is missing; data is written as \\# length hex");
    int r = mir__zone_number(parser, 65535, &wanted);
    if (r < 0)
        return r;
    int kind = mir__zone_next(parser);
    if (kind == MIR__ZONE_BAD)
        return -MIR_EMALFORMED;
    if (kind == MIR__ZONE_END)
        parser->at_end = true;
    else
        r = take_hex(parser);
    if (r < 0)
        return r;
    if (parser->data_len != wanted)
        return mir__zone_error(parser, "%u octets where \\# says %u", parser->data_len, wanted);
    if (!has_form(mir__zone_form(parser->type), parser->data, parser->data_len))
        return mir__zone_error(parser, "these octets are no data of type %s",
                               mir__zone_type_text(parser->type, name));
    return 0;
}

/* ---- parts ---------------------------------------------------------------------------------- */

static void put(struct mir__zone_parser *parser, const void *bytes, uint32_t len)
{
    mir_memcpy(parser->data + parser->data_len, bytes, len);
    parser->data_len += len;
}

static int take_address(struct mir__zone_parser *parser, bool is_v4)
{
    struct mir_ip ip;
    const struct mir__zone_token *token = &parser->token;
    if (mir_ip_parse(token->text, token->len, &ip) < 0 || mir_ip_is_v4(&ip) != is_v4) {
        bool has_both = is_v4 ? false : mir_ip_parse(token->text, token->len, &ip) == 0;
        /* ::ffff:a.b.c.d is an IPv6 address too. */
        for (uint32_t i = 0; has_both && i < token->len; i++) {
            if (token->text[i] == ':') {
                put(parser, ip.bytes, 16);
                return 0;
            }
        }
        return mir__zone_error(parser, "'%.*s' is no IPv%s address; as %s",
                               (int)MIR_MIN(token->len, 300u), token->text, is_v4 ? "4" : "6",
                               is_v4 ? "192.0.2.1" : "2001:db8::1");
    }
    if (is_v4)
        put(parser, ip.bytes + 12, 4);
    else
        put(parser, ip.bytes, 16);
    return 0;
}

static int take_number(struct mir__zone_parser *parser, uint32_t bytes)
{
    uint32_t value;
    uint8_t wire[4];
    int r = mir__zone_number(parser, bytes == 4 ? UINT32_MAX : (1u << 8 * bytes) - 1, &value);
    if (r < 0)
        return r;
    mir_put_be32(wire, value);
    put(parser, wire + 4 - bytes, bytes);
    return 0;
}

static int take_time(struct mir__zone_parser *parser)
{
    uint32_t value;
    uint8_t wire[4];
    int r = mir__zone_time(parser, &value);
    if (r < 0)
        return r;
    mir_put_be32(wire, value);
    put(parser, wire, 4);
    return 0;
}

static int take_name(struct mir__zone_parser *parser)
{
    struct mir_dns_name name;
    int r = mir__zone_name(parser, &name);
    if (r == 0)
        put(parser, name.wire, name.len);
    return r;
}

static int take_string(struct mir__zone_parser *parser)
{
    int r = room(parser, 256);
    if (r < 0)
        return r;
    int len = mir__zone_octets(parser, parser->data + parser->data_len + 1, 255);
    if (len < 0)
        return len;
    parser->data[parser->data_len] = (uint8_t)len;
    parser->data_len += 1u + (uint32_t)len;
    return 0;
}

/* One or more strings up to the end. */
static int take_strings(struct mir__zone_parser *parser)
{
    for (;;) {
        int r = take_string(parser);
        if (r < 0)
            return r;
        int kind = mir__zone_next(parser);
        if (kind == MIR__ZONE_BAD)
            return -MIR_EMALFORMED;
        if (kind == MIR__ZONE_END)
            break;
    }
    parser->at_end = true;
    return 0;
}

static int take_value(struct mir__zone_parser *parser)
{
    int len = mir__zone_octets(parser, parser->data + parser->data_len,
                               (uint32_t)(sizeof parser->data - parser->data_len));
    if (len < 0)
        return len;
    parser->data_len += (uint32_t)len;
    return 0;
}

static int take_tag(struct mir__zone_parser *parser)
{
    const struct mir__zone_token *token = &parser->token;
    bool is_good = token->len >= 1 && token->len <= 15;
    for (uint32_t i = 0; is_good && i < token->len; i++) {
        uint8_t c = fold(token->text[i]);
        is_good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    }
    if (!is_good)
        return mir__zone_error(parser, "'%.*s' is no tag; 1 to 15 letters and digits, as issue",
                               (int)MIR_MIN(token->len, 300u), token->text);
    uint8_t len = (uint8_t)token->len;
    put(parser, &len, 1);
    put(parser, token->text, token->len);
    return 0;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 section 4, in as many words as one likes. */
static int take_base64(struct mir__zone_parser *parser)
{
    uint32_t bits = 0, count = 0, padding = 0;
    for (int kind = MIR__ZONE_WORD; kind != MIR__ZONE_END; kind = mir__zone_next(parser)) {
        if (kind == MIR__ZONE_BAD)
            return -MIR_EMALFORMED;
        for (uint32_t i = 0; i < parser->token.len; i++) {
            char c = parser->token.text[i];
            int digit = c == '=' ? 0 : base64_digit(c);
            padding += c == '=';
            if (digit < 0 || (c != '=' && padding > 0) || padding > 2)
                return mir__zone_error(parser, "'%.*s' is not base 64",
                                       (int)MIR_MIN(parser->token.len, 300u), parser->token.text);
            bits = bits << 6 | (uint32_t)digit;
            if (++count % 4 != 0)
                continue;
            uint8_t octets[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
            int r = room(parser, 3);
            if (r < 0)
                return r;
            put(parser, octets, 3 - padding);
        }
    }
    parser->at_end = true;
    if (count % 4 != 0)
        return mir__zone_error(parser, "base 64 ends too early; its digits come in fours");
    return 0;
}

static int take_part(struct mir__zone_parser *parser, char letter)
{
    int r = room(parser, 256);
    if (r < 0)
        return r;
    switch (letter) {
    case '4':
    case '6':
        return take_address(parser, letter == '4');
    case 'b':
        return take_number(parser, 1);
    case 's':
        return take_number(parser, 2);
    case 'l':
        return take_number(parser, 4);
    case 't':
        return take_time(parser);
    case 'n':
    case 'm':
        return take_name(parser);
    case 'q':
        return take_string(parser);
    case 'Q':
        return take_strings(parser);
    case 'a':
        return take_tag(parser);
    case 'v':
        return take_value(parser);
    case 'x':
        return take_hex(parser);
    default:
        return take_base64(parser);
    }
}

static int check_type(struct mir__zone_parser *parser)
{
    uint16_t type = parser->type;
    char name[MIR_DNS_TYPE_TEXT_MAX + 4];
    if (type == MIR__ZONE_RRSIG || type == MIR_DNS_NSEC || type == MIR__ZONE_NSEC3 ||
        type == MIR__ZONE_NSEC3PARAM)
        return mir__zone_error(parser,
                               "%s belongs to a signed zone, which is not served; use the "
                               "file that was not signed",
                               mir__zone_type_text(type, name));
    if (type == 0 || type == MIR_DNS_OPT || (type >= 128 && type <= 255))
        return mir__zone_error(parser, "%s stands in messages only, not in zones",
                               mir__zone_type_text(type, name));
    return 0;
}

int mir__zone_data(struct mir__zone_parser *parser)
{
    char name[MIR_DNS_TYPE_TEXT_MAX + 4];
    const char *form = mir__zone_form(parser->type);
    int r = check_type(parser);
    parser->data_len = 0;
    parser->at_end = false;
    if (r < 0)
        return r;
    int kind = mir__zone_next(parser);
    if (kind == MIR__ZONE_WORD && parser->token.len == 2 && parser->token.text[0] == '\\' &&
        parser->token.text[1] == '#')
        return take_unknown(parser);
    if (*form == '\0')
        return kind == MIR__ZONE_BAD
                   ? -MIR_EMALFORMED
                   : mir__zone_error(parser,
                                     "type %s has no text of its own here; write its data as "
                                     "\\# length hex",
                                     mir__zone_type_text(parser->type, name));
    for (; *form != '\0'; form++) {
        if (kind == MIR__ZONE_BAD)
            return -MIR_EMALFORMED;
        if (kind == MIR__ZONE_END)
            return mir__zone_error(parser, "the data of %s ends too early",
                                   mir__zone_type_text(parser->type, name));
        r = take_part(parser, *form);
        if (r < 0)
            return r;
        if (!parser->at_end)
            kind = mir__zone_next(parser);
    }
    if (!parser->at_end && kind == MIR__ZONE_BAD)
        return -MIR_EMALFORMED;
    if (!parser->at_end && kind != MIR__ZONE_END)
        return mir__zone_error(parser,
                               "'%.*s' is more than %s has; take it out, or put a ';' before "
                               "a comment",
                               (int)MIR_MIN(parser->token.len, 300u), parser->token.text,
                               mir__zone_type_text(parser->type, name));
    return 0;
}
