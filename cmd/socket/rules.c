/* SPDX-License-Identifier: ISC */
/* Parses and applies the rules of rules.h.
 *
 * One pass over the words of a rule; the text is not changed and nothing is allocated, so that the
 * preload library can parse in its constructor. A rule is added only when all of the text is good.
 *
 * What it does not do: names of hosts and services, which would need a resolver before there is a
 * stack; rules by user or by program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/socket/rules.h"

struct parse {
    const char *at;
    char word[96];
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct parse *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (p->why_size > 0)
        vsnprintf(p->why, p->why_size, fmt, args);
    va_end(args);
    return -EINVAL;
}

/* The next word of this rule into p->word, "" at its end. Returns false for one that is too long.
 */
static bool next_word(struct parse *p)
{
    p->at += strspn(p->at, " \t\r");
    size_t len = strcspn(p->at, " \t\r\n;");
    if (len >= sizeof(p->word)) {
        refuse(p, "\"%.40s...\" is too long for a word of a rule", p->at);
        return false;
    }
    memcpy(p->word, p->at, len);
    p->word[len] = '\0';
    p->at += len;
    return true;
}

static bool is_word(const struct parse *p, const char *text)
{
    return strcmp(p->word, text) == 0;
}

static bool parse_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    *out = strtoul(text, &end, 10);
    return *end == '\0' && *out <= max;
}

static int parse_ports(struct parse *p, char *text, struct sock_rule *rule)
{
    unsigned long min, max;
    char *dash = strchr(text, '-');
    if (dash != NULL)
        *dash++ = '\0';
    if (!parse_number(text, 65535, &min) || !parse_number(dash != NULL ? dash : text, 65535, &max))
        return refuse(p, "\"%s\" is no port; write 0 to 65535, or two with a dash between them",
                      dash != NULL ? dash : text);
    if (max < min)
        return refuse(p, "the ports %lu-%lu go backwards; write the lower one first", min, max);
    rule->port_min = (uint16_t)min;
    rule->port_max = (uint16_t)max;
    return 0;
}

static int parse_address(struct parse *p, char *text, struct sock_rule *rule)
{
    unsigned long len;
    char *slash = strchr(text, '/');
    if (slash != NULL)
        *slash++ = '\0';
    if (inet_pton(AF_INET, text, rule->ip) == 1)
        rule->family = 4;
    else if (inet_pton(AF_INET6, text, rule->ip) == 1)
        rule->family = 6;
    else
        return refuse(p, "\"%s\" is no address; write one like 10.0.0.0/8 or [fd00::/8]:80, or any",
                      text);
    unsigned long most = rule->family == 4 ? 32 : 128;
    if (!parse_number(slash != NULL ? slash : (most == 32 ? "32" : "128"), most, &len))
        return refuse(p, "\"/%s\" is no length of a prefix; write 0 to %lu", slash, most);
    rule->prefix_len = (uint8_t)len;
    return 0;
}

/* The word after "dst" or "bind". */
static int parse_place(struct parse *p, struct sock_rule *rule)
{
    char *text = p->word, *ports = NULL;
    if (text[0] == '\0')
        return refuse(p, "a place is missing; write an address, any, or a port like :80");
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return refuse(p, "\"%s\" has no closing bracket before its port", text);
        *end = '\0';
        ports = end[1] == ':' ? end + 2 : NULL;
        text++;
    } else {
        char *colon = strchr(text, ':');
        if (colon != NULL && strchr(colon + 1, ':') == NULL) { /* two colons: IPv6 without port */
            *colon = '\0';
            ports = colon + 1;
        }
    }
    if (ports != NULL) {
        int r = parse_ports(p, ports, rule);
        if (r != 0)
            return r;
    }
    if (text[0] == '\0' || strcmp(text, "any") == 0 || strcmp(text, "*") == 0)
        return 0;
    return parse_address(p, text, rule);
}

static int parse_stack(struct parse *p, uint8_t *stack)
{
    if (!is_word(p, "ours") && !is_word(p, "host"))
        return refuse(p, "\"%s\" is no stack; a rule ends with ours or host", p->word);
    *stack = is_word(p, "ours") ? SOCK_OURS : SOCK_HOST;
    if (!next_word(p))
        return -EINVAL;
    return p->word[0] == '\0'
               ? 0
               : refuse(p, "\"%s\" stands behind the end of a rule; put a ; before it", p->word);
}

static int parse_rule(struct parse *p, struct sock_rules *rules)
{
    struct sock_rule rule = {.is_tcp = true, .is_udp = true, .port_max = 65535};
    if (is_word(p, "default"))
        return next_word(p) ? parse_stack(p, &rules->default_stack) : -EINVAL;
    if (is_word(p, "unix")) {
        int r = next_word(p) ? parse_stack(p, &rule.stack) : -EINVAL;
        return r != 0 || rule.stack == SOCK_HOST
                   ? r
                   : refuse(p, "unix sockets are the host's; our stack has none");
    }
    if (is_word(p, "tcp") || is_word(p, "udp") || is_word(p, "inet")) {
        rule.is_tcp = !is_word(p, "udp");
        rule.is_udp = !is_word(p, "tcp");
        if (!next_word(p))
            return -EINVAL;
    }
    if (is_word(p, "dst") || is_word(p, "bind")) {
        rule.use = is_word(p, "dst") ? SOCK_RULE_DST : SOCK_RULE_BIND;
        int r = next_word(p) ? parse_place(p, &rule) : -EINVAL;
        if (r != 0)
            return r;
        if (!next_word(p))
            return -EINVAL;
    } else if (!is_word(p, "ours") && !is_word(p, "host")) {
        return refuse(p,
                      "\"%s\" is not known; write tcp, udp, inet, unix, default, dst, bind, ours "
                      "or host",
                      p->word);
    }
    int r = parse_stack(p, &rule.stack);
    if (r != 0)
        return r;
    if (rules->count == SOCK_RULES_MAX) {
        (void)refuse(p, "more than %d rules", SOCK_RULES_MAX);
        return -E2BIG;
    }
    rules->rule[rules->count++] = rule;
    return 0;
}

void sock_rules_init(struct sock_rules *rules)
{
    memset(rules, 0, sizeof(*rules));
    rules->default_stack = SOCK_OURS;
}

int sock_rules_add(struct sock_rules *rules, const char *text, char *why, size_t why_size)
{
    struct parse parse = {.at = text, .why = why, .why_size = why_size};
    struct sock_rules result = *rules;
    for (;;) {
        if (!next_word(&parse))
            return -EINVAL;
        if (parse.word[0] != '\0') {
            int r = parse_rule(&parse, &result);
            if (r != 0)
                return r;
        }
        if (*parse.at == '\0')
            break;
        parse.at++; /* ";" or newline */
    }
    *rules = result;
    return 0;
}

enum sock_stack sock_rules_initial(const struct sock_rules *rules, bool is_udp)
{
    for (unsigned i = 0; i < rules->count; i++) {
        const struct sock_rule *rule = &rules->rule[i];
        if (rule->use == SOCK_RULE_ANY && (is_udp ? rule->is_udp : rule->is_tcp))
            return (enum sock_stack)rule->stack;
    }
    return (enum sock_stack)rules->default_stack;
}

static bool has_prefix(const uint8_t *ip, const uint8_t *prefix, unsigned len)
{
    if (memcmp(ip, prefix, len / 8) != 0)
        return false;
    return len % 8 == 0 || ((ip[len / 8] ^ prefix[len / 8]) & (0xff00u >> (len % 8)) & 0xff) == 0;
}

/* Family (4 or 6, 0: neither), address and port. */
static unsigned take_address(const struct sockaddr *addr, size_t len, const uint8_t **ip,
                             uint16_t *port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (len >= sizeof(struct sockaddr_in) && addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        *ip = (const uint8_t *)&in->sin_addr;
        *port = ntohs(in->sin_port);
        return 4;
    }
    if (len >= offsetof(struct sockaddr_in6, sin6_scope_id) && addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)addr;
        *ip = in6->sin6_addr.s6_addr;
        *port = ntohs(in6->sin6_port);
        if (memcmp(*ip, mapped, sizeof(mapped)) != 0)
            return 6;
        *ip += sizeof(mapped);
        return 4;
    }
    return 0;
}

static bool is_loopback(unsigned family, const uint8_t *ip)
{
    static const uint8_t one[16] = {[15] = 1};
    return family == 4 ? ip[0] == 127 : memcmp(ip, one, sizeof(one)) == 0;
}

enum sock_stack sock_rules_decide(const struct sock_rules *rules, bool is_udp,
                                  enum sock_rule_use use, const struct sockaddr *addr,
                                  size_t addr_len)
{
    const uint8_t *ip;
    uint16_t port;
    unsigned family = take_address(addr, addr_len, &ip, &port);
    if (family == 0)
        return sock_rules_initial(rules, is_udp);
    for (unsigned i = 0; i < rules->count; i++) {
        const struct sock_rule *rule = &rules->rule[i];
        if (!(is_udp ? rule->is_udp : rule->is_tcp) ||
            (rule->use != SOCK_RULE_ANY && rule->use != use) || port < rule->port_min ||
            port > rule->port_max)
            continue;
        if (rule->family == 0 ||
            (rule->family == family && has_prefix(ip, rule->ip, rule->prefix_len)))
            return (enum sock_stack)rule->stack;
    }
    return is_loopback(family, ip) ? SOCK_HOST : (enum sock_stack)rules->default_stack;
}
