/* SPDX-License-Identifier: ISC */
/* One checker for each kind of value that a manifest or a command line can hold.
 *
 * A checker takes text and says yes, or no with what is wrong and what to do about it; it never
 * prints and never looks at the machine. The manifest (manifest.c) and the options of `mirari run`
 * (run.c) use the same ones, so a value is good in both places or in neither.
 *
 * manifest_check_nets() checks the relations between values of the networks (gateway inside the
 * subnet, the same port twice), and only between values that are good by themselves.
 *
 * nearest() finds the name a user probably meant: optimal string alignment distance (insert,
 * delete, change, swap neighbours), at most a third of the name's length.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <mirari/log.h>

#include "cmd/mirari/tool.h"

#define NEAR_LEN_MAX 40

bool fail(struct why *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (why != NULL)
        vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
    return false;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned row[3][NEAR_LEN_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *before2 = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned change = before[j - 1] + (tolower((unsigned char)a[i - 1]) !=
                                               tolower((unsigned char)b[j - 1]));
            now[j] = min3(before[j] + 1, now[j - 1] + 1, change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before2[j - 2] + 1 < now[j])
                now[j] = before2[j - 2] + 1;
        }
    }
    return row[a_len % 3][b_len];
}

const char *nearest(const char *text, const char *const *names, size_t count)
{
    size_t len = strlen(text);
    const char *best = NULL;
    unsigned best_distance = UINT32_MAX;
    for (size_t i = 0; i < count && len <= NEAR_LEN_MAX; i++) {
        size_t name_len = strlen(names[i]);
        if (name_len > NEAR_LEN_MAX)
            continue;
        unsigned d = distance(text, len, names[i], name_len);
        size_t longer = len > name_len ? len : name_len;
        if (d < best_distance && d <= (longer < 3 ? 1 : (longer + 2) / 3) && d < longer) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

const char *did_you_mean(const char *text, const char *const *names, size_t count)
{
    static char out[NEAR_LEN_MAX + 32];
    const char *name = nearest(text, names, count);
    out[0] = '\0';
    if (name != NULL)
        snprintf(out, sizeof(out), "; did you mean \"%s\"?", name);
    return out;
}

/* Decimal digits only, no sign, no blanks, no leading zero but "0" itself. */
static bool digits(const char *text, size_t len, uint64_t max, uint64_t *value)
{
    uint64_t sum = 0;
    if (len == 0 || len > 19 || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(text[i] - '0');
    }
    *value = sum;
    return sum <= max;
}

bool valid_name(const char *text, struct why *why)
{
    size_t len = strlen(text);
    bool good = len >= 1 && len <= 63 && isalnum((unsigned char)text[0]);
    for (size_t i = 0; i < len && good; i++)
        good = isalnum((unsigned char)text[i]) || text[i] == '-' || text[i] == '_';
    return good || fail(why,
                        "name \"%.64s\" is not usable; take 1 to 63 letters, digits, - and _, "
                        "with a letter or digit first",
                        text);
}

bool valid_label(const char *text, struct why *why)
{
    size_t len = strlen(text);
    bool good = len >= 1 && len <= 31 && isalpha((unsigned char)text[0]);
    for (size_t i = 0; i < len && good; i++)
        good = isalnum((unsigned char)text[i]) || text[i] == '-' || text[i] == '_';
    return good || fail(why,
                        "name \"%.64s\" is not usable; take 1 to 31 letters, digits, - and _, "
                        "with a letter first",
                        text);
}

bool valid_ip4(const char *text, uint32_t *addr, struct why *why)
{
    uint32_t sum = 0;
    const char *at = text;
    for (int i = 0; i < 4; i++) {
        size_t len = strcspn(at, ".");
        uint64_t part;
        if (!digits(at, len, 255, &part) || (at[len] == '.') != (i < 3))
            return fail(why,
                        "\"%.64s\" is not an IPv4 address; write four numbers from 0 to 255, "
                        "as in 10.0.0.2",
                        text);
        sum = sum << 8 | (uint32_t)part;
        at += len + 1;
    }
    if (addr != NULL)
        *addr = sum;
    return true;
}

/* An address that one host can have, without regard to a subnet. */
static bool is_host(const char *text, uint32_t addr, struct why *why)
{
    const char *what = addr == 0             ? "means no address"
                       : addr >> 24 == 0     ? "belongs to 0.0.0.0/8, which no host has"
                       : addr >> 24 == 127   ? "is a loopback address"
                       : addr >> 28 == 0xe   ? "is a multicast address"
                       : addr >= 0xf0000000u ? "is reserved"
                                             : NULL;
    return what == NULL || fail(why, "\"%.64s\" %s; take one such as 10.0.0.2/24", text, what);
}

bool valid_cidr(const char *text, struct cidr *cidr, struct why *why)
{
    char address[20];
    size_t len = strcspn(text, "/");
    if (len >= sizeof(address))
        return valid_ip4(text, NULL, why);
    memcpy(address, text, len);
    address[len] = '\0';
    uint32_t addr = 0;
    uint64_t prefix = 0;
    if (!valid_ip4(address, &addr, why))
        return false;
    if (text[len] == '\0')
        return fail(why, "\"%s\" lacks its prefix length; write %s/24 or another length", text,
                    text);
    if (!digits(text + len + 1, strlen(text + len + 1), 31, &prefix) || prefix == 0)
        return fail(why, "prefix length \"%.16s\" is not usable; write a number from 1 to 31",
                    text + len + 1);
    if (!is_host(text, addr, why))
        return false;
    uint32_t host_bits = UINT32_MAX >> prefix;
    if (prefix < 31 && (addr & host_bits) == 0)
        return fail(why, "\"%s\" is the subnet itself; take a host's address inside it", text);
    if (prefix < 31 && (addr & host_bits) == host_bits)
        return fail(
            why, "\"%s\" is the subnet's broadcast address; take a host's address inside it", text);
    if (cidr != NULL)
        *cidr = (struct cidr){.addr = addr, .len = (unsigned)prefix};
    return true;
}

bool valid_netmask(const char *text, unsigned *len, struct why *why)
{
    uint32_t mask;
    unsigned bits = 0;
    if (!valid_ip4(text, &mask, why))
        return false;
    while (bits < 32 && (mask & 0x80000000u >> bits) != 0)
        bits++;
    if (bits < 1 || bits > 31 || (mask << bits) != 0)
        return fail(why, "\"%s\" is not a mask; write one such as 255.255.255.0", text);
    *len = bits;
    return true;
}

bool mode_is(const char *mode, const char *kind)
{
    size_t len = strlen(kind);
    return mode != NULL && strncmp(mode, kind, len) == 0 && (mode[len] == '\0' || mode[len] == ':');
}

/* Networks of virtual machines: vhost-user:PATH, socket:PATH, socket:listen=ADDR:PORT and so on. */
static bool valid_endpoint(const char *text, struct why *why)
{
    static const char *const kinds[] = {"listen=", "connect=", "mcast="};
    const char *what = text + strcspn(text, ":");
    what += *what == ':';
    bool is_known = what[0] == '/' || (what[0] == '.' && what[1] == '/');
    for (size_t i = 0; i < LEN(kinds) && strncmp(text, "socket:", 7) == 0; i++)
        is_known = is_known || strncmp(what, kinds[i], strlen(kinds[i])) == 0;
    for (const char *at = text; *at != '\0'; at++)
        is_known = is_known && *at > 0x20 && *at != ',' && *at != '"' && *at != 0x7f;
    return is_known || fail(why,
                            "mode \"%.64s\" is not usable; write vhost-user:/PATH, socket:/PATH, "
                            "socket:listen=ADDR:PORT, socket:connect=ADDR:PORT or "
                            "socket:mcast=ADDR:PORT, without commas",
                            text);
}

bool valid_mode(const char *text, struct why *why)
{
    static const char *const modes[] = {"user", "tap",   "packet",    "socket",
                                        "pipe", "passt", "vhost-user"};
    if (strncmp(text, "socket:", 7) == 0 || mode_is(text, "vhost-user"))
        return valid_endpoint(text, why);
    if (mode_is(text, "packet") && strchr(text, ':') == NULL)
        return fail(why, "mode packet needs an interface of this machine; write packet:INTERFACE");
    if (strncmp(text, "tap:", 4) == 0 || strncmp(text, "packet:", 7) == 0) {
        const char *name = strchr(text, ':') + 1;
        size_t len = strlen(name);
        bool good = len >= 1 && len <= 15 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
        for (size_t i = 0; i < len && good; i++)
            good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]) != NULL;
        return good || fail(why,
                            "\"%.64s\" is not an interface name; take 1 to 15 letters, digits, "
                            ". - and _",
                            name);
    }
    for (size_t i = 0; i < LEN(modes); i++)
        if (strcmp(text, modes[i]) == 0)
            return true;
    return fail(why, "unknown network mode \"%.64s\"%s%s", text,
                did_you_mean(text, modes, LEN(modes)),
                nearest(text, modes, LEN(modes)) != NULL
                    ? ""
                    : "; write user, tap, tap:INTERFACE, packet:INTERFACE, socket, pipe, passt "
                      "or vhost-user:PATH");
}

bool valid_mac(const char *text, uint8_t mac[6], struct why *why)
{
    uint8_t bytes[6];
    bool good = strlen(text) == 17;
    for (size_t i = 0; i < 6 && good; i++) {
        const char *at = text + (size_t)3 * i;
        good = isxdigit((unsigned char)at[0]) && isxdigit((unsigned char)at[1]) &&
               (i == 5 || at[2] == ':');
        if (good)
            bytes[i] = (uint8_t)strtoul((char[]){at[0], at[1], '\0'}, NULL, 16);
    }
    if (!good)
        return fail(why,
                    "\"%.64s\" is not a MAC address; write six pairs of hex digits, as in "
                    "02:00:00:00:00:01",
                    text);
    if ((bytes[0] & 1) != 0)
        return fail(why,
                    "\"%s\" is a multicast MAC address; make the first pair even, as in "
                    "02:00:00:00:00:01",
                    text);
    if ((bytes[0] | bytes[1] | bytes[2] | bytes[3] | bytes[4] | bytes[5]) == 0)
        return fail(why, "a MAC address of zeros belongs to nobody; take one such as "
                         "02:00:00:00:00:01");
    if (mac != NULL)
        memcpy(mac, bytes, 6);
    return true;
}

bool valid_mtu(const char *text, uint16_t *mtu, struct why *why)
{
    uint64_t value;
    if (!digits(text, strlen(text), 65535, &value) || value < 576)
        return fail(why, "mtu \"%.64s\" is not usable; write a number from 576 to 65535", text);
    if (mtu != NULL)
        *mtu = (uint16_t)value;
    return true;
}

bool valid_vlan(const char *text, struct why *why)
{
    uint64_t value;
    if (!digits(text, strlen(text), 4094, &value) || value == 0)
        return fail(why, "vlan \"%.64s\" is not usable; write a number from 1 to 4094", text);
    return true;
}

static bool port_of(const char *text, size_t len, uint16_t *port, struct why *why)
{
    uint64_t value;
    if (!digits(text, len, 65535, &value) || value == 0)
        return fail(why, "\"%.*s\" is not a port; write a number from 1 to 65535",
                    (int)(len > 64 ? 64 : len), text);
    *port = (uint16_t)value;
    return true;
}

/* "[ADDRESS]:" in front of the ports; @text moves behind it. */
static bool take_host6(const char **text, size_t *len, struct forward *out, struct why *why)
{
    const char *end = memchr(*text, ']', *len);
    char address[INET6_ADDRSTRLEN] = "";
    size_t address_len = end != NULL ? (size_t)(end - *text) - 1 : 0;
    if (end == NULL || end[1] != ':' || address_len >= sizeof address)
        return fail(why,
                    "forward \"%.64s\" is not usable; write [ADDRESS]:HOSTPORT:PORT, as in "
                    "[::1]:8080:80",
                    *text);
    memcpy(address, *text + 1, address_len);
    if (inet_pton(AF_INET6, address, out->host_addr6) != 1)
        return fail(why, "\"%s\" is not an IPv6 address; write one such as ::1", address);
    out->is_v6 = true;
    *len -= (size_t)(end + 2 - *text);
    *text = end + 2;
    return true;
}

static bool same_host_port(const struct forward *a, const struct forward *b)
{
    return a->is_udp == b->is_udp && a->host_port == b->host_port && a->is_v6 == b->is_v6 &&
           a->host_addr == b->host_addr && memcmp(a->host_addr6, b->host_addr6, 16) == 0;
}

bool valid_forward(const char *text, struct forward *forward, struct why *why)
{
    struct forward out = {0};
    size_t len = strcspn(text, "/");
    if (text[len] == '/') {
        out.is_udp = strcmp(text + len, "/udp") == 0;
        if (!out.is_udp && strcmp(text + len, "/tcp") != 0)
            return fail(why, "\"%.64s\" ends in neither /tcp nor /udp; write HOSTPORT:PORT/udp",
                        text);
    }
    if (text[0] == '[' && !take_host6(&text, &len, &out, why))
        return false;
    const char *colon = memchr(text, ':', len);
    if (colon == NULL)
        return fail(why, "forward \"%.64s\" has no colon; write HOSTPORT:PORT, as in 8080:80",
                    text);
    const char *second = memchr(colon + 1, ':', len - (size_t)(colon + 1 - text));
    const char *host_port = text;
    if (second != NULL && !out.is_v6) {
        char address[20] = "";
        size_t address_len = (size_t)(colon - text);
        memcpy(address, text, address_len < 19 ? address_len : 19);
        if (!valid_ip4(address, &out.host_addr, why))
            return false;
        host_port = colon + 1;
        colon = second;
    }
    const char *port = colon + 1;
    if (!port_of(host_port, (size_t)(colon - host_port), &out.host_port, why) ||
        !port_of(port, len - (size_t)(port - text), &out.port, why))
        return false;
    if (forward != NULL)
        *forward = out;
    return true;
}

bool valid_memory(const char *text, bool bare_is_mib, uint32_t *mib, struct why *why)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"k", 1 << 10},   {"kb", 1 << 10},  {"kib", 1 << 10}, {"m", 1 << 20},
                 {"mb", 1 << 20},  {"mib", 1 << 20}, {"g", 1 << 30},   {"gb", 1 << 30},
                 {"gib", 1 << 30}, {"", 1 << 20}};
    size_t len = strspn(text, "0123456789");
    const char *unit = text + len + strspn(text + len, " ");
    uint64_t number, bytes = 0;
    bool good = digits(text, len, UINT32_MAX, &number);
    for (size_t i = 0; i < LEN(units) && good; i++)
        if (strcasecmp(unit, units[i].unit) == 0 && (unit[0] != '\0' || bare_is_mib))
            bytes = number * units[i].bytes;
    if (!good || bytes == 0)
        return fail(why,
                    "memory \"%.64s\" is not a size; write a number of MiB, as in 64, 64M or "
                    "1G",
                    text);
    if (bytes % (1 << 20) != 0 || bytes >> 20 < 4 || bytes >> 20 > 1048576)
        return fail(why, "memory \"%.64s\" is not usable; take whole MiB from 4M to 1024G", text);
    if (mib != NULL)
        *mib = (uint32_t)(bytes >> 20);
    return true;
}

bool valid_log(const char *text, struct why *why)
{
    static const char *const levels[] = {"error", "warn", "info", "debug", "trace"};
    static const char *const modules[] = {
#define X(name, label) label,
        MIR_LOG_MODULES(X)
#undef X
    };
    const char *at = text;
    do {
        char word[64];
        size_t len = strcspn(at, ",");
        if (len >= sizeof(word))
            return fail(why, "log \"%.64s\" is too long a word; write LEVEL[,module=LEVEL]", at);
        memcpy(word, at, len);
        word[len] = '\0';
        char *equal = strchr(word, '=');
        const char *level = equal != NULL ? equal + 1 : word;
        bool good = false;
        for (size_t i = 0; i < LEN(levels); i++)
            good = good || strcmp(level, levels[i]) == 0;
        if (!good)
            return fail(why, "unknown log level \"%s\"; write error, warn, info, debug or trace%s",
                        level, did_you_mean(level, levels, LEN(levels)));
        if (equal != NULL) {
            *equal = '\0';
            good = false;
            for (size_t i = 0; i < LEN(modules); i++)
                good = good || strcmp(word, modules[i]) == 0;
            if (!good)
                return fail(why, "no module \"%s\" writes a log%s", word,
                            nearest(word, modules, LEN(modules)) != NULL
                                ? did_you_mean(word, modules, LEN(modules))
                                : "; the modules are app base page run dev net arp ip icmp udp "
                                  "tcp dhcp http kv target sim");
        }
        at += len;
    } while (*at++ == ',');
    return true;
}

bool valid_int(const char *text, int64_t *value, struct why *why)
{
    errno = 0;
    char *end;
    size_t sign = text[0] == '-';
    long long number = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)text[sign]) || *end != '\0')
        return fail(why, "\"%.64s\" is not a whole number; write digits only, as in 42", text);
    if (errno == ERANGE)
        return fail(why, "\"%.64s\" is too large; take a number of 64 bits", text);
    if (value != NULL)
        *value = number;
    return true;
}

bool valid_bool(const char *text, bool *value, struct why *why)
{
    static const char *const words[] = {"true", "yes", "on", "1", "false", "no", "off", "0"};
    for (size_t i = 0; i < LEN(words); i++) {
        if (strcmp(text, words[i]) != 0)
            continue;
        if (value != NULL)
            *value = i < 4;
        return true;
    }
    return fail(why, "\"%.64s\" is neither true nor false; write one of these words", text);
}

/* ---- networks ----------------------------------------------------------------------------------
 */

static void check_forwards(const struct manifest *m, size_t index, struct diag *diag)
{
    const struct manifest_net *net = &m->net[index];
    struct list seen = {0};
    if (net->forward.text == NULL)
        return;
    if (net->mode.text != NULL && !mode_is(net->mode.text, "user") &&
        !mode_is(net->mode.text, "passt"))
        diag_warn(diag, net->forward.line,
                  "forward has no meaning with mode %s: the network "
                  "reaches the appliance by its address",
                  net->mode.text);
    char *copy = need_text(net->forward.text, strlen(net->forward.text)), *save = NULL;
    for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
        struct why why;
        if (valid_forward(word, NULL, &why))
            list_add(&seen, word);
        else
            diag_error(diag, net->forward.line, "%s", why.text);
    }
    free(copy);
    /* Compare with itself and with the nets before it. */
    for (size_t i = 0; i < seen.count; i++) {
        struct forward a = {0}, b = {0};
        bool is_twice = false;
        if (!valid_forward(seen.item[i], &a, NULL))
            continue;
        for (size_t k = 0; k < i; k++)
            is_twice =
                is_twice || (valid_forward(seen.item[k], &b, NULL) && same_host_port(&a, &b));
        for (size_t n = 0; n < index; n++) {
            const char *at = m->net[n].forward.text;
            while (at != NULL && *at != '\0' && !is_twice) {
                size_t len = strcspn(at, ",");
                char *word = need_text(at, len);
                is_twice = valid_forward(word, &b, NULL) && same_host_port(&a, &b);
                free(word);
                at += len + (at[len] == ',');
            }
        }
        if (is_twice)
            diag_error(diag, net->forward.line,
                       "port %u/%s of this machine is forwarded twice; "
                       "choose another for \"%s\"",
                       a.host_port, a.is_udp ? "udp" : "tcp", seen.item[i]);
    }
    for (size_t i = 0; i < seen.count; i++)
        free(seen.item[i]);
    free(seen.item);
}

bool valid_ip6(const char *text, struct why *why)
{
    struct in6_addr addr;
    return inet_pton(AF_INET6, text, &addr) == 1 ||
           fail(why, "\"%.64s\" is not an IPv6 address; write one such as fd00::2", text);
}

bool valid_cidr6(const char *text, struct why *why)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    uint64_t prefix = 0;
    size_t len = strcspn(text, "/");
    snprintf(address, sizeof address, "%.*s",
             (int)(len < sizeof address ? len : sizeof address - 1), text);
    if (!valid_ip6(address, why))
        return false;
    if (text[len] == '\0')
        return fail(why, "\"%s\" lacks its prefix length; write %s/64 or another length", text,
                    text);
    if (!digits(text + len + 1, strlen(text + len + 1), 128, &prefix) || prefix == 0)
        return fail(why, "prefix length \"%.16s\" is not usable; write a number from 1 to 128",
                    text + len + 1);
    if (inet_pton(AF_INET6, address, &addr) != 1 || IN6_IS_ADDR_MULTICAST(&addr) ||
        IN6_IS_ADDR_UNSPECIFIED(&addr) || IN6_IS_ADDR_LOOPBACK(&addr) ||
        IN6_IS_ADDR_V4MAPPED(&addr))
        return fail(why, "\"%.64s\" is not one host's address; take one such as fd00::2/64", text);
    return true;
}

/* PREFIX/LEN=ADDRESS, both of one family. */
static bool valid_route(const char *text, struct why *why)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return fail(why, "\"%.64s\" is not a route; write PREFIX/LENGTH=ADDRESS", text);
    char *prefix = need_text(text, (size_t)(equals - text)), *slash = strchr(prefix, '/');
    uint64_t len;
    bool is_v6 = strchr(prefix, ':') != NULL;
    bool good = slash != NULL && digits(slash + 1, strlen(slash + 1), is_v6 ? 128 : 32, &len);
    if (!good)
        fail(why, "route \"%.64s\" lacks a prefix length", text);
    if (slash != NULL)
        *slash = '\0';
    good = good && (is_v6 ? valid_ip6(prefix, why) && valid_ip6(equals + 1, why)
                          : valid_ip4(prefix, NULL, why) && valid_ip4(equals + 1, NULL, why));
    free(prefix);
    return good;
}

static bool valid_ip6_mode(const char *text, struct why *why)
{
    static const char *const words[] = {"off", "link-local", "static", "auto", "temporary"};
    for (size_t i = 0; i < LEN(words); i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return fail(why, "ip6 \"%.64s\" is none of off, link-local, static, auto, temporary", text);
}

static bool valid_acd(const char *text, struct why *why)
{
    return strcmp(text, "quick") == 0 || strcmp(text, "full") == 0 || strcmp(text, "off") == 0 ||
           fail(why, "acd \"%.64s\" is none of quick, full, off", text);
}

static bool valid_link_local4(const char *text, struct why *why)
{
    return strcmp(text, "on") == 0 || strcmp(text, "off") == 0 ||
           fail(why, "link-local4 \"%.64s\" is neither on nor off", text);
}

/* Calls @check for every word of a list with commas. */
static void each_word(const struct field *list, struct diag *diag, const char *key,
                      bool (*check)(const char *word, struct why *why))
{
    struct why why;
    char *copy, *save = NULL;
    if (list->text == NULL)
        return;
    copy = need_text(list->text, strlen(list->text));
    for (char *word = strtok_r(copy, ", ", &save); word != NULL; word = strtok_r(NULL, ", ", &save))
        if (!check(word, &why))
            diag_error(diag, list->line, "%s%s%s", key, key[0] != '\0' ? ": " : "", why.text);
    free(copy);
}

/* The IPv4 word of a list that is first, or NULL; the IPv6 words are checked by @check6. Further
 * IPv4 words by @check4. */
static char *first_v4(const struct field *list, struct diag *diag, const char *key,
                      bool (*check4)(const char *word, struct why *why),
                      bool (*check6)(const char *word, struct why *why))
{
    char *first = NULL, *save = NULL;
    char *copy = need_text(list->text, strlen(list->text));
    for (char *word = strtok_r(copy, ", ", &save); word != NULL;
         word = strtok_r(NULL, ", ", &save)) {
        struct why why;
        bool is_v6 = strchr(word, ':') != NULL;
        if (!is_v6 && first == NULL)
            first = need_text(word, strlen(word));
        else if (!(is_v6 ? check6 : check4)(word, &why))
            diag_error(diag, list->line, "%s: %s", key, why.text);
    }
    free(copy);
    return first;
}

static bool valid_server(const char *text, struct why *why)
{
    return strchr(text, ':') != NULL ? valid_ip6(text, why) : valid_ip4(text, NULL, why);
}

bool valid_dns(const char *text, struct why *why)
{
    char *copy = need_text(text, strlen(text)), *save = NULL;
    int count = 0;
    bool good = true;
    for (char *word = strtok_r(copy, ",", &save); word != NULL && good;
         word = strtok_r(NULL, ",", &save)) {
        good = ++count <= 4 ? valid_server(word, why)
                            : fail(why, "more than 4 name servers; leave some out");
    }
    free(copy);
    return good && (count > 0 || fail(why, "the value is empty; write an address"));
}

static bool valid_more_cidr(const char *text, struct why *why)
{
    return valid_cidr(text, NULL, why);
}

static bool valid_more_gateway(const char *text, struct why *why)
{
    return fail(why, "\"%.64s\" is a second IPv4 gateway; use route for it", text);
}

static void check_gateway(const struct manifest_net *net, const char *own, const char *text,
                          bool ip_good, struct cidr ip, struct diag *diag)
{
    struct why why;
    uint32_t gateway = 0;
    int line = net->gateway.line;
    if (!valid_ip4(text, &gateway, &why)) {
        diag_error(diag, line, "gateway: %s", why.text);
        return;
    }
    if (own == NULL) {
        diag_error(diag, line, "gateway %s without an address; add ip = ADDRESS/LENGTH", text);
        return;
    }
    if (strcmp(own, "dhcp") == 0) {
        if (line > 0 || net->ip.line > 0)
            diag_warn(diag, line, "gateway %s has no meaning with ip = dhcp: DHCP gives one", text);
        return;
    }
    if (!ip_good)
        return;
    uint32_t host_bits = UINT32_MAX >> ip.len;
    if ((gateway ^ ip.addr) & ~host_bits)
        diag_error(diag, line, "gateway %s is outside the subnet of %s; choose one inside it", text,
                   own);
    else if (gateway == ip.addr)
        diag_error(diag, line, "gateway %s is the appliance's own address; name the router", text);
    else if (ip.len < 31 && ((gateway & host_bits) == 0 || (gateway & host_bits) == host_bits))
        diag_error(diag, line, "gateway %s is the subnet's own or broadcast address; name a host",
                   text);
}

/* Addresses and gateways of both families, and how they go together. */
static void check_addresses(const struct manifest_net *net, struct diag *diag)
{
    struct why why;
    struct cidr ip = {0};
    bool ip_good = false;
    char *own = NULL, *gateway = NULL;
    if (net->ip.text != NULL)
        own = first_v4(&net->ip, diag, "ip", valid_more_cidr, valid_cidr6);
    if (own != NULL && strcmp(own, "dhcp") != 0) {
        ip_good = valid_cidr(own, &ip, &why);
        if (!ip_good)
            diag_error(diag, net->ip.line, "ip: %s%s", why.text,
                       isalpha((unsigned char)own[0]) ? ", or dhcp" : "");
    }
    if (net->gateway.text != NULL)
        gateway = first_v4(&net->gateway, diag, "gateway", valid_more_gateway, valid_ip6);
    if (gateway != NULL)
        check_gateway(net, own, gateway, ip_good, ip, diag);
    free(own);
    free(gateway);
    each_word(&net->route, diag, "", valid_route);
    each_word(&net->ip6, diag, "", valid_ip6_mode);
    each_word(&net->acd, diag, "", valid_acd);
    each_word(&net->link_local4, diag, "", valid_link_local4);
    if (net->dns.text != NULL && !valid_dns(net->dns.text, &why))
        diag_error(diag, net->dns.line, "dns: %s", why.text);
}

void manifest_check_nets(const struct manifest *m, struct diag *diag)
{
    for (size_t i = 0; i < m->net_count; i++) {
        const struct manifest_net *net = &m->net[i];
        struct why why;
        uint8_t mac[6], other[6];
        if (net->mode.text != NULL && !valid_mode(net->mode.text, &why))
            diag_error(diag, net->mode.line, "%s", why.text);
        check_addresses(net, diag);
        if (net->mtu.text != NULL && !valid_mtu(net->mtu.text, NULL, &why))
            diag_error(diag, net->mtu.line, "%s", why.text);
        if (net->vlan.text != NULL && !valid_vlan(net->vlan.text, &why))
            diag_error(diag, net->vlan.line, "%s", why.text);
        if (net->mac.text != NULL && !valid_mac(net->mac.text, mac, &why)) {
            diag_error(diag, net->mac.line, "%s", why.text);
        } else if (net->mac.text != NULL) {
            for (size_t k = 0; k < i; k++)
                if (m->net[k].mac.text != NULL && valid_mac(m->net[k].mac.text, other, NULL) &&
                    memcmp(mac, other, 6) == 0)
                    diag_error(diag, net->mac.line,
                               "mac %s is that of net \"%s\" as well; choose "
                               "another",
                               net->mac.text, m->net[k].name);
        }
        check_forwards(m, i, diag);
    }
}
