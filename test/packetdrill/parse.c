/* SPDX-License-Identifier: ISC */
/* Events: what happens when.
 *
 *   script  = { --option[=value] } { event }
 *   event   = time ( packet | call | code )
 *   time    = 0.5 | +0.5 | * | 0.5~0.7 | +0.5~+0.7        and for a call that blocks  0.5...0.9
 *   packet  = (">"|"<") [ [ecn] ] [ sport > dport ] flags from:to(bytes) [ack n] [win n]
 * [<options>] | (">"|"<") udp [ sport > dport ] (bytes) | "<" icmp type [code] [mtu n] "[" what of
 * ours it is about "]" call    = name(arguments) = result [ERRNO] [(text)] code    = %{ assertions
 * }%
 *
 * Lines in backquotes are commands for a shell; nothing here runs them.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "test/packetdrill/script.h"

#define ARGS_MAX 8u

/* ---- options of the script --------------------------------------------------------------------
 */

static int64_t value_number(struct pd_lexer *lex, int64_t most)
{
    return (int64_t)pd_number(lex, (uint32_t)most);
}

/* What follows --name=: up to the end of the line, as it is. */
static void skip_value(struct pd_lexer *lex)
{
    while (*lex->at != '\0' && *lex->at != '\n')
        lex->at++;
    pd_lex(lex);
}

/* An address up to the end of the line, without the length of a prefix. */
static void take_address(struct pd_lexer *lex, char out[48])
{
    size_t len = strspn(lex->at, "0123456789abcdefABCDEF.:");
    if (len == 0 || len >= 48)
        pd_fail(lex, "an IP address is missing");
    memcpy(out, lex->at, len);
    out[len] = '\0';
    skip_value(lex);
}

static void parse_option(struct pd_lexer *lex)
{
    struct pd_script *script = lex->script;
    const char *name = pd_text(lex);
    bool has_value = *lex->at == '=';
    if (!has_value) {
        if (strcmp(name, "strict_segments") == 0)
            script->is_strict = true;
        pd_lex(lex);
        return;
    }
    pd_lex(lex);
    if (strcmp(name, "so_flags") == 0) {
        pd_lex(lex);
        if (lex->token != PD_T_STRING || lex->len >= sizeof script->so_flags)
            pd_fail(lex, "--so_flags wants a text in quotation marks");
        memcpy(script->so_flags, lex->start, lex->len);
        script->so_flags[lex->len] = '\0';
        pd_lex(lex);
    } else if (strcmp(name, "tolerance_usecs") == 0) {
        pd_lex(lex);
        script->tolerance_us = value_number(lex, 100000000);
    } else if (strcmp(name, "mtu") == 0) {
        pd_lex(lex);
        script->mtu = pd_number(lex, 65535);
    } else if (strcmp(name, "ip_version") == 0) {
        pd_lex(lex);
        script->is_v6 = pd_is_word(lex, "ipv6");
        if (!script->is_v6 && !pd_is_word(lex, "ipv4"))
            pd_fail(lex, "--ip_version is ipv4 or ipv6");
        pd_lex(lex);
    } else if (strcmp(name, "local_ip") == 0) {
        take_address(lex, script->local_ip);
    } else if (strcmp(name, "remote_ip") == 0) {
        take_address(lex, script->remote_ip);
    } else {
        skip_value(lex); /* options of the public program that mean nothing here */
    }
}

/* ---- packets ----------------------------------------------------------------------------------
 */

static void parse_ip_info(struct pd_lexer *lex, struct pd_packet *packet)
{
    static const char *const names[] = {"noecn", "ect1", "ect0", "ce", "ect01"};
    char end = pd_is(lex, '[') ? ']' : ')';
    pd_lex(lex);
    do {
        int ecn = 0;
        while (ecn < 5 && !pd_is_word(lex, names[ecn]))
            ecn++;
        if (ecn < 5) {
            packet->ecn = ecn;
            pd_lex(lex);
        } else if (pd_take_word(lex, "tos")) {
            packet->ecn = (int)(pd_number(lex, 255) & 3u);
        } else if (pd_take_word(lex, "ttl")) {
            packet->ttl = (int)pd_number(lex, 255);
        } else {
            pd_fail(lex, "noecn, ect0, ect1, ect01, ce, tos or ttl is missing");
        }
    } while (pd_take(lex, ','));
    pd_expect(lex, end);
}

static void add_flags(struct pd_lexer *lex, struct pd_packet *packet)
{
    static const char letters[] = "FSRP.UEW";
    for (size_t i = 0; i < lex->len; i++) {
        const char *at = strchr(letters, lex->start[i]);
        if (at == NULL)
            pd_fail(lex, "'%c' is no TCP flag; FSRP.UEW are", lex->start[i]);
        packet->flags |= (uint8_t)(1u << (at - letters));
    }
}

static void parse_flags(struct pd_lexer *lex, struct pd_packet *packet)
{
    bool any = false;
    if (pd_take(lex, '-'))
        return;
    while (lex->token == PD_T_WORD || pd_is(lex, '.')) {
        add_flags(lex, packet);
        any = true;
        pd_lex(lex);
    }
    if (!any)
        pd_fail(lex, "the flags of a packet are missing");
}

static void add_bytes(struct pd_lexer *lex, struct pd_packet *packet, const uint8_t *bytes,
                      uint32_t len)
{
    if (packet->option_len + len > PD_OPTIONS_MAX)
        pd_fail(lex, "more than %u bytes of options", PD_OPTIONS_MAX);
    memcpy(packet->option + packet->option_len, bytes, len);
    packet->option_len = (uint8_t)(packet->option_len + len);
}

static void put32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

static void parse_sack(struct pd_lexer *lex, struct pd_packet *packet)
{
    uint8_t bytes[2 + 32] = {5, 2};
    while (lex->token == PD_T_NUMBER) {
        if (bytes[1] + 8u > sizeof bytes)
            pd_fail(lex, "more than four SACK blocks");
        put32(bytes + bytes[1], pd_number(lex, UINT32_MAX));
        pd_expect(lex, ':');
        put32(bytes + bytes[1] + 4, pd_number(lex, UINT32_MAX));
        bytes[1] = (uint8_t)(bytes[1] + 8);
    }
    add_bytes(lex, packet, bytes, bytes[1]);
}

static int hex(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : (tolower((unsigned char)c) - 'a') + 10;
}

/* RFC 7413 section 2, with the option number or the experimental one and its magic. */
static void parse_cookie(struct pd_lexer *lex, struct pd_packet *packet, bool experimental)
{
    uint8_t bytes[PD_OPTIONS_MAX] = {34, 2};
    if (experimental) {
        bytes[0] = 254;
        bytes[1] = 4;
        bytes[2] = 0xf9;
        bytes[3] = 0x89;
    }
    if (lex->token == PD_T_WORD || lex->token == PD_T_NUMBER) {
        if (lex->len % 2 != 0 || lex->len > 32)
            pd_fail(lex, "a cookie is up to 32 hexadecimal digits, an even number");
        for (size_t i = 0; i < lex->len; i += 2) {
            char high = lex->start[i], low = lex->start[i + 1];
            if (!isxdigit((unsigned char)high) || !isxdigit((unsigned char)low))
                pd_fail(lex, "a cookie has hexadecimal digits");
            bytes[bytes[1]++] = (uint8_t)(hex(high) << 4 | hex(low));
        }
        pd_lex(lex);
    }
    add_bytes(lex, packet, bytes, bytes[1]);
}

static void parse_tcp_option(struct pd_lexer *lex, struct pd_packet *packet)
{
    uint8_t bytes[10];
    if (pd_take_word(lex, "nop")) {
        add_bytes(lex, packet, (const uint8_t[]){1}, 1);
    } else if (pd_take_word(lex, "eol")) {
        add_bytes(lex, packet, (const uint8_t[]){0}, 1);
    } else if (pd_take_word(lex, "mss")) {
        uint32_t mss = pd_number(lex, 65535);
        add_bytes(lex, packet, (const uint8_t[]){2, 4, (uint8_t)(mss >> 8), (uint8_t)mss}, 4);
    } else if (pd_take_word(lex, "wscale")) {
        add_bytes(lex, packet, (const uint8_t[]){3, 3, (uint8_t)pd_number(lex, 255)}, 3);
    } else if (pd_take_word(lex, "sackOK")) {
        add_bytes(lex, packet, (const uint8_t[]){4, 2}, 2);
    } else if (pd_take_word(lex, "sack")) {
        parse_sack(lex, packet);
    } else if (pd_take_word(lex, "TS")) {
        bytes[0] = 8;
        bytes[1] = 10;
        if (!pd_take_word(lex, "val"))
            pd_fail(lex, "TS val NUMBER ecr NUMBER");
        put32(bytes + 2, pd_number(lex, UINT32_MAX));
        if (!pd_take_word(lex, "ecr"))
            pd_fail(lex, "TS val NUMBER ecr NUMBER");
        put32(bytes + 6, pd_number(lex, UINT32_MAX));
        add_bytes(lex, packet, bytes, 10);
    } else if (pd_is_word(lex, "FO") || pd_is_word(lex, "FOEXP")) {
        bool experimental = pd_is_word(lex, "FOEXP");
        pd_lex(lex);
        parse_cookie(lex, packet, experimental);
    } else {
        pd_fail(lex, "'%.*s' is no TCP option", (int)(lex->len < 40 ? lex->len : 40), lex->start);
    }
}

static void parse_options(struct pd_lexer *lex, struct pd_packet *packet)
{
    if (lex->token == PD_T_ELLIPSIS) {
        pd_lex(lex);
        packet->any_options = true;
    } else {
        do
            parse_tcp_option(lex, packet);
        while (pd_take(lex, ','));
        while (packet->option_len % 4 != 0)
            packet->option[packet->option_len++] = 0;
    }
    pd_expect(lex, '>');
}

/* first:next(bytes) */
static void parse_seq(struct pd_lexer *lex, struct pd_packet *packet)
{
    packet->seq = pd_number(lex, UINT32_MAX);
    pd_expect(lex, ':');
    uint32_t end = pd_number(lex, UINT32_MAX);
    pd_expect(lex, '(');
    packet->len = pd_number(lex, 1u << 20);
    pd_expect(lex, ')');
    if (packet->seq + packet->len != end)
        pd_fail(lex, "%u:%u are not %u bytes", packet->seq, end, packet->len);
}

static void parse_ports(struct pd_lexer *lex, struct pd_packet *packet)
{
    if (lex->token != PD_T_NUMBER)
        return;
    packet->has_ports = true;
    packet->src_port = (uint16_t)pd_number(lex, 65535);
    pd_expect(lex, '>');
    packet->dst_port = (uint16_t)pd_number(lex, 65535);
}

static void parse_tcp(struct pd_lexer *lex, struct pd_packet *packet)
{
    packet->protocol = PD_TCP;
    parse_ports(lex, packet);
    parse_flags(lex, packet);
    parse_seq(lex, packet);
    if (pd_take_word(lex, "ack"))
        packet->ack = pd_number(lex, UINT32_MAX);
    if (pd_take_word(lex, "win")) {
        packet->has_window = true;
        packet->window = pd_number(lex, 65535);
    }
    if (pd_take_word(lex, "urg"))
        (void)pd_number(lex, 65535);
    if (pd_take(lex, '<'))
        parse_options(lex, packet);
    if (packet->is_in && packet->any_options)
        pd_fail(lex, "<...> is for packets that are expected");
    if (packet->is_in && packet->len > 65000)
        pd_fail(lex, "an inbound packet has at most 65000 bytes");
}

static void parse_udp(struct pd_lexer *lex, struct pd_packet *packet)
{
    packet->protocol = PD_UDP;
    parse_ports(lex, packet);
    pd_expect(lex, '(');
    packet->len = pd_number(lex, 65507);
    pd_expect(lex, ')');
}

struct icmp_name {
    const char *name;
    uint8_t value4, value6;
};

static bool find_icmp(struct pd_lexer *lex, const struct icmp_name *names, size_t count,
                      uint8_t *value)
{
    for (size_t i = 0; i < count; i++) {
        if (!pd_is_word(lex, names[i].name))
            continue;
        *value = lex->script->is_v6 ? names[i].value6 : names[i].value4;
        pd_lex(lex);
        return true;
    }
    return false;
}

static void parse_icmp(struct pd_lexer *lex, struct pd_packet *packet)
{
    static const struct icmp_name types[] = {
        {"unreachable", 3, 1},
        {"time_exceeded", 11, 3},
        {"packet_too_big", 3, 2},
        {"source_quench", 4, 1},
    };
    static const struct icmp_name codes[] = {
        {"net_unreachable", 0, 0},   {"host_unreachable", 1, 3}, {"protocol_unreachable", 2, 4},
        {"port_unreachable", 3, 4},  {"frag_needed", 4, 0},      {"net_prohibited", 9, 1},
        {"host_prohibited", 10, 1},  {"packet_filtered", 13, 1}, {"no_route", 0, 0},
        {"admin_prohibited", 13, 1}, {"addr_unreachable", 1, 3}, {"ttl_exceeded", 0, 0},
    };
    packet->protocol = PD_ICMP;
    if (!packet->is_in)
        pd_fail(lex, "ICMP is only for inbound packets");
    if (!find_icmp(lex, types, sizeof types / sizeof types[0], &packet->icmp_type))
        pd_fail(lex, "the type of an ICMP message is missing");
    (void)find_icmp(lex, codes, sizeof codes / sizeof codes[0], &packet->icmp_code);
    if (pd_take_word(lex, "mtu"))
        packet->icmp_mtu = pd_number(lex, UINT32_MAX);
    pd_expect(lex, '[');
    if (pd_take_word(lex, "udp")) {
        packet->about = PD_UDP;
        pd_expect(lex, '(');
        packet->len = pd_number(lex, 65507);
        pd_expect(lex, ')');
    } else {
        packet->about = PD_TCP;
        parse_seq(lex, packet);
    }
    pd_expect(lex, ']');
}

static void parse_packet(struct pd_lexer *lex, struct pd_packet *packet)
{
    packet->is_in = pd_is(lex, '<');
    packet->ecn = packet->is_in ? 0 : PD_ECN_ANY;
    packet->ttl = -1;
    pd_lex(lex);
    if (pd_is(lex, '[') || pd_is(lex, '('))
        parse_ip_info(lex, packet);
    if (pd_take_word(lex, "udp"))
        parse_udp(lex, packet);
    else if (pd_take_word(lex, "icmp"))
        parse_icmp(lex, packet);
    else
        parse_tcp(lex, packet);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

static void parse_note(struct pd_lexer *lex)
{
    while (lex->token != PD_T_END && !pd_is(lex, ')'))
        pd_lex(lex);
    pd_expect(lex, ')');
}

static void parse_result(struct pd_lexer *lex, struct pd_call *call)
{
    pd_expect(lex, '=');
    if (pd_take(lex, '?')) {
        call->any_result = true;
        return;
    }
    bool is_negative = pd_take(lex, '-');
    call->result = pd_number(lex, INT32_MAX);
    if (is_negative)
        call->result = -call->result;
    if (lex->token == PD_T_WORD) {
        int64_t number;
        if (!pd_constant(lex->start, lex->len, &number))
            pd_fail(lex, "'%.*s' is no errno", (int)(lex->len < 40 ? lex->len : 40), lex->start);
        call->error = pd_text(lex);
        pd_lex(lex);
    }
    if (pd_take(lex, '('))
        parse_note(lex);
}

static void parse_call(struct pd_lexer *lex, struct pd_call *call)
{
    call->name = pd_text(lex);
    pd_lex(lex);
    pd_expect(lex, '(');
    struct pd_value **last = &call->args;
    while (!pd_take(lex, ')')) {
        if (call->arg_count > 0)
            pd_expect(lex, ',');
        if (call->arg_count == ARGS_MAX)
            pd_fail(lex, "more than %u arguments", ARGS_MAX);
        *last = pd_value_parse(lex);
        last = &(*last)->next;
        call->arg_count++;
    }
    parse_result(lex, call);
}

/* ---- events -----------------------------------------------------------------------------------
 */

static void parse_time(struct pd_lexer *lex, struct pd_event *event)
{
    event->line = lex->token_line;
    event->until_us = PD_ANY;
    if (pd_take(lex, '*')) {
        event->time_kind = PD_WHENEVER;
        return;
    }
    event->time_kind = pd_take(lex, '+') ? PD_AFTER : PD_AT;
    event->time_us = pd_seconds(lex);
    if (pd_take(lex, '~')) {
        if (event->time_kind == PD_AFTER)
            pd_expect(lex, '+');
        event->until_us = pd_seconds(lex);
    }
    if (lex->token == PD_T_ELLIPSIS) {
        pd_lex(lex);
        event->call.blocks = true;
        event->call.end_us = pd_seconds(lex);
    }
}

/* A shell line is an event like any other, or stands at the beginning without a time. */
static bool skip_shell(struct pd_lexer *lex, const struct pd_settings *settings)
{
    if (lex->token != PD_T_SHELL)
        return false;
    if (settings->read_shell && lex->script->first == NULL)
        pd_settings_take(lex->script, lex->start, lex->len);
    else if (!settings->ignore_shell)
        pd_fail(lex, "lines in backquotes are for a shell: nothing here runs them");
    pd_lex(lex);
    return true;
}

static void parse_event(struct pd_lexer *lex, struct pd_event *event)
{
    if (pd_is(lex, '<') || pd_is(lex, '>')) {
        event->kind = PD_PACKET;
        parse_packet(lex, &event->packet);
    } else if (lex->token == PD_T_CODE) {
        event->kind = PD_CODE;
        event->code = pd_text(lex);
        pd_lex(lex);
    } else if (lex->token == PD_T_WORD) {
        event->kind = PD_CALL;
        parse_call(lex, &event->call);
    } else {
        pd_fail(lex, "a packet, a call or an assertion is missing");
    }
    if (event->call.blocks && event->kind != PD_CALL)
        pd_fail(lex, "only a call can last");
}

static void parse_script(struct pd_lexer *lex, const struct pd_settings *settings)
{
    struct pd_event **last = &lex->script->first;
    pd_lex(lex);
    while (lex->token == PD_T_OPTION)
        parse_option(lex);
    while (lex->token != PD_T_END) {
        if (skip_shell(lex, settings))
            continue;
        struct pd_event *event = pd_alloc(lex, sizeof *event);
        parse_time(lex, event);
        if (skip_shell(lex, settings))
            continue;
        parse_event(lex, event);
        *last = event;
        last = &event->next;
    }
    if (lex->script->first == NULL)
        pd_fail(lex, "there is nothing in the script");
}

bool pd_script_parse(struct pd_script *script, const char *path, const char *text,
                     const struct pd_settings *settings)
{
    struct pd_lexer lex = {.at = text, .line = 1, .token_line = 1, .script = script};
    memset(script, 0, sizeof *script);
    script->path = path;
    script->tolerance_us = 4000;
    script->tolerance_percent = 1;
    script->mtu = 1500;
    if (setjmp(lex.failed) != 0)
        return false;
    parse_script(&lex, settings);
    return true;
}
