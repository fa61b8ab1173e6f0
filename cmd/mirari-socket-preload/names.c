/* SPDX-License-Identifier: ISC */
/* getaddrinfo and getnameinfo over the server's resolver.
 *
 * In the order of a usual nsswitch.conf: numbers (the C library parses them; nothing is asked), the
 * file /etc/hosts, then the DNS by way of our stack. Services are looked up in the C library. What
 * getaddrinfo() returns is made as the C library makes it, one allocation for each entry, so that
 * its freeaddrinfo() frees ours.
 *
 * What it does not do: other sources of nsswitch.conf (mdns, LDAP), the functions of libresolv
 * (res_query), which open sockets inside the C library where no preload library sees them.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/mirari-socket-preload/names.h"

bool pre_names_are_ours(void)
{
    return pre_is_on && (sock_rules_initial(&pre_rules, false) == SOCK_OURS ||
                         sock_rules_initial(&pre_rules, true) == SOCK_OURS);
}

/* ---- /etc/hosts
 * ------------------------------------------------------------------------------------ */

static bool parse_ip(const char *text, struct sock_addr *out)
{
    memset(out, 0, sizeof(*out));
    out->family = AF_INET;
    if (inet_pton(AF_INET, text, out->ip) == 1)
        return true;
    out->family = AF_INET6;
    return inet_pton(AF_INET6, text, out->ip) == 1;
}

/* One line of the file, cut into words: the address and a name in @words. */
static char *next_line(FILE *file, char *line, int size, struct sock_addr *addr, char **rest)
{
    while (fgets(line, size, file) != NULL) {
        line[strcspn(line, "#\n")] = '\0';
        char *word = strtok_r(line, " \t", rest);
        if (word != NULL && parse_ip(word, addr))
            return word;
    }
    return NULL;
}

static void add_address(struct pre_answer *out, const struct sock_addr *addr)
{
    for (uint32_t i = 0; i < out->count; i++)
        if (memcmp(&out->addr[i], addr, sizeof(*addr)) == 0)
            return;
    if (out->count < PRE_ADDRS)
        out->addr[out->count++] = *addr;
}

static bool find_in_file(const char *name, int family, struct pre_answer *out)
{
    char line[1024], *rest, *word;
    struct sock_addr addr;
    FILE *file = fopen("/etc/hosts", "re");
    memset(out, 0, sizeof(*out));
    if (file == NULL)
        return false;
    bool is_known = false;
    while (next_line(file, line, sizeof(line), &addr, &rest) != NULL) {
        const char *canonical = NULL;
        while ((word = strtok_r(NULL, " \t", &rest)) != NULL) {
            canonical = canonical == NULL ? word : canonical;
            if (strcasecmp(word, name) != 0)
                continue;
            is_known = true;
            if (out->name[0] == '\0')
                snprintf(out->name, sizeof(out->name), "%s", canonical);
            if (family == AF_UNSPEC || family == addr.family)
                add_address(out, &addr);
        }
    }
    fclose(file);
    return is_known;
}

static bool find_name_in_file(const struct sock_addr *wanted, char name[PRE_NAME_MAX])
{
    char line[1024], *rest;
    struct sock_addr addr;
    FILE *file = fopen("/etc/hosts", "re");
    bool is_found = false;
    if (file == NULL)
        return false;
    while (!is_found && next_line(file, line, sizeof(line), &addr, &rest) != NULL) {
        const char *word = strtok_r(NULL, " \t", &rest);
        is_found = word != NULL && addr.family == wanted->family &&
                   memcmp(addr.ip, wanted->ip, sizeof(addr.ip)) == 0;
        if (is_found)
            snprintf(name, PRE_NAME_MAX, "%s", word);
    }
    fclose(file);
    return is_found;
}

/* ---- the server
 * ------------------------------------------------------------------------------------ */

struct resolved {
    struct sock_resolved head;
    uint8_t rest[PRE_ADDRS * sizeof(struct sock_addr) + PRE_NAME_MAX];
};

/* The answer of RESOLVE and NAMEINFO, checked. */
static int take_resolved(const struct pre_ask *ask, const struct resolved *in,
                         struct pre_answer *out)
{
    size_t len = ask->reply_len < sizeof(*in) ? ask->reply_len : sizeof(*in);
    if (len < sizeof(in->head))
        return EAI_FAIL;
    if (in->head.eai != 0)
        return in->head.eai;
    size_t room = len - sizeof(in->head), addrs = in->head.count * sizeof(struct sock_addr);
    if (in->head.count > SOCK_MESSAGE_MAX || addrs > ask->reply_len)
        return EAI_FAIL;
    out->count = (uint32_t)((addrs < room ? addrs : room) / sizeof(struct sock_addr));
    out->count = out->count < PRE_ADDRS ? out->count : PRE_ADDRS;
    memcpy(out->addr, in->rest, out->count * sizeof(struct sock_addr));
    if (addrs < room && in->head.name_len <= room - addrs && in->head.name_len < PRE_NAME_MAX) {
        memcpy(out->name, in->rest + addrs, in->head.name_len);
        out->name[in->head.name_len] = '\0';
    }
    return 0;
}

static int ask_server(struct pre_ask *ask, struct pre_answer *out)
{
    struct resolved in;
    memset(&in.head, 0, sizeof(in.head));
    memset(out, 0, sizeof(*out));
    ask->reply = &in;
    ask->reply_room = sizeof(in);
    int r = pre_ask(ask);
    if (r == -ENETDOWN || r == -EAGAIN)
        return EAI_AGAIN;
    if (r != 0)
        return pre_fail(r), EAI_SYSTEM;
    return take_resolved(ask, &in, out);
}

int pre_resolve(const char *name, int family, int flags, struct pre_answer *out)
{
    size_t len = strlen(name);
    if (len == 0 || len >= PRE_NAME_MAX)
        return EAI_NONAME;
    if (find_in_file(name, family, out))
        return out->count > 0 ? 0 : EAI_NODATA;
    struct sock_resolve body = {.flags = flags, .family = family, .name_len = (uint32_t)len};
    struct pre_ask ask = {.op = SOCK_RESOLVE,
                          .body = {{&body, sizeof(body)}, {(void *)(uintptr_t)name, len}},
                          .body_count = 2};
    int r = ask_server(&ask, out);
    return r == 0 && out->count == 0 ? EAI_NONAME : r;
}

int pre_name_of(const struct sock_addr *addr, char name[PRE_NAME_MAX])
{
    struct pre_answer out;
    struct sock_addr body = *addr;
    body.port = 0;
    if (find_name_in_file(&body, name))
        return 0;
    struct pre_ask ask = {.op = SOCK_NAMEINFO, .body = {{&body, sizeof(body)}}, .body_count = 1};
    int r = ask_server(&ask, &out);
    if (r == 0 && out.name[0] == '\0')
        return EAI_NONAME;
    if (r == 0)
        memcpy(name, out.name, PRE_NAME_MAX);
    return r;
}

/* ---- getaddrinfo
 * ----------------------------------------------------------------------------------- */

struct kind {
    int type, protocol;
    const char *name; /* in the list of services; NULL: services do not apply */
    bool is_named;    /* also when the program did not ask for this kind */
};

static const struct kind kinds[] = {
    {SOCK_STREAM, IPPROTO_TCP, "tcp", true},
    {SOCK_DGRAM, IPPROTO_UDP, "udp", true},
    {SOCK_RAW, 0, NULL, true},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static bool fits(const struct kind *kind, const struct addrinfo *hints)
{
    return (hints->ai_socktype == 0 || hints->ai_socktype == kind->type) &&
           (hints->ai_protocol == 0 || kind->protocol == 0 || hints->ai_protocol == kind->protocol);
}

static bool is_number(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Port of a service for one kind, network order; -1: there is none. */
static int port_of(const struct kind *kind, const char *service, int flags)
{
    struct servent entry, *found = NULL;
    char room[2048];
    if (service == NULL)
        return 0;
    if (is_number(service))
        return htons((uint16_t)strtoul(service, NULL, 10));
    if ((flags & AI_NUMERICSERV) || kind->name == NULL)
        return -1;
    if (getservbyname_r(service, kind->name, &entry, room, sizeof(room), &found) != 0 ||
        found == NULL)
        return -1;
    return entry.s_port;
}

static struct addrinfo *make_entry(const struct sock_addr *addr, const struct kind *kind, int port,
                                   const struct addrinfo *hints)
{
    struct sockaddr_storage whole;
    socklen_t len = pre_addr_make(addr->family, addr, &whole);
    struct addrinfo *entry = calloc(1, sizeof(*entry) + len);
    if (entry == NULL)
        return NULL;
    entry->ai_flags = hints->ai_flags;
    entry->ai_family = addr->family;
    entry->ai_socktype = kind->type;
    entry->ai_protocol = kind->protocol != 0 ? kind->protocol : hints->ai_protocol;
    entry->ai_addrlen = len;
    entry->ai_addr = (struct sockaddr *)(void *)(entry + 1);
    ((struct sockaddr_in *)(void *)&whole)->sin_port = (in_port_t)port; /* same place in both */
    memcpy(entry->ai_addr, &whole, len);
    return entry;
}

static int make_list(const struct pre_answer *answer, const char *service,
                     const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo *first = NULL, **last = &first;
    int ports[KINDS];
    bool has_any = false;
    for (unsigned k = 0; k < KINDS; k++) {
        ports[k] = fits(&kinds[k], hints) ? port_of(&kinds[k], service, hints->ai_flags) : -1;
        has_any = has_any || ports[k] >= 0;
    }
    if (!has_any)
        return EAI_SERVICE;
    for (uint32_t i = 0; i < answer->count; i++)
        for (unsigned k = 0; k < KINDS; k++) {
            if (ports[k] < 0)
                continue;
            *last = make_entry(&answer->addr[i], &kinds[k], ports[k], hints);
            if (*last == NULL) {
                freeaddrinfo(first);
                return EAI_MEMORY;
            }
            last = &(*last)->ai_next;
        }
    *out = first;
    return 0;
}

static bool is_numeric(const char *node)
{
    struct sock_addr addr;
    struct in_addr old;
    char copy[INET6_ADDRSTRLEN + 1];
    size_t len = strcspn(node, "%");
    if (inet_aton(node, &old))
        return true;
    if (len >= sizeof(copy))
        return false;
    memcpy(copy, node, len);
    copy[len] = '\0';
    return parse_ip(copy, &addr);
}

/* "fe80::1%net0": the C library would ask the host for the number. Ours is put into @room. */
static const char *with_number(const char *node, char *room, size_t size)
{
    const char *scope = node != NULL ? strchr(node, '%') : NULL;
    unsigned index = scope != NULL && !is_number(scope + 1) ? if_nametoindex(scope + 1) : 0;
    if (index == 0)
        return node;
    snprintf(room, size, "%.*s%%%u", (int)(scope - node), node, index);
    return room;
}

HOOK int getaddrinfo(const char *restrict node, const char *restrict service,
                     const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
    static const struct addrinfo any = {.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG};
    struct pre_answer answer;
    const struct addrinfo *wanted = hints != NULL ? hints : &any;
    bool is_simple = node == NULL || is_numeric(node) || (wanted->ai_flags & AI_NUMERICHOST);
    int family = wanted->ai_family;
    if (is_simple || !pre_names_are_ours() ||
        (family != AF_UNSPEC && family != AF_INET && family != AF_INET6)) {
        struct addrinfo plain;
        if (is_simple && hints != NULL && pre_names_are_ours()) {
            plain = *hints; /* the host's addresses do not count */
            plain.ai_flags &= ~AI_ADDRCONFIG;
            hints = &plain;
        }
        char room[INET6_ADDRSTRLEN + 16];
        if (is_simple && pre_names_are_ours())
            node = with_number(node, room, sizeof(room));
        return pre_real.getaddrinfo(node, service, hints, out);
    }
    int r = pre_resolve(node, family, wanted->ai_flags, &answer);
    if (r == 0)
        r = make_list(&answer, service, wanted, out);
    if (r == 0 && (wanted->ai_flags & AI_CANONNAME)) {
        (*out)->ai_canonname = strdup(answer.name[0] != '\0' ? answer.name : node);
        if ((*out)->ai_canonname == NULL) {
            freeaddrinfo(*out);
            r = EAI_MEMORY;
        }
    }
    return r;
}

/* ---- getnameinfo
 * ----------------------------------------------------------------------------------- */

/* The address as a number, with the name of our interface behind it if it needs one. */
static int number_of(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_len,
                     int flags)
{
    struct sockaddr_in6 in6;
    char name[IF_NAMESIZE] = "";
    int numeric = flags | NI_NUMERICHOST;
    if (addr->sa_family != AF_INET6 || len < sizeof(in6))
        return pre_real.getnameinfo(addr, len, host, host_len, NULL, 0, numeric);
    memcpy(&in6, addr, sizeof(in6));
    unsigned scope = in6.sin6_scope_id;
    bool is_link_local =
        IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&in6.sin6_addr);
    in6.sin6_scope_id = 0;
    int r = pre_real.getnameinfo((const void *)&in6, sizeof(in6), host, host_len, NULL, 0, numeric);
    if (r != 0 || scope == 0)
        return r;
    if (!is_link_local || if_indextoname(scope, name) == NULL)
        snprintf(name, sizeof(name), "%u", scope);
    size_t at = strlen(host);
    if (at + 1 + strlen(name) >= host_len)
        return EAI_OVERFLOW;
    snprintf(host + at, host_len - at, "%%%s", name);
    return 0;
}

HOOK int getnameinfo(const struct sockaddr *restrict addr, socklen_t len, char *restrict host,
                     socklen_t host_len, char *restrict service, socklen_t service_len, int flags)
{
    struct pre_sock any = {.domain = AF_INET6, .is_udp = true}; /* takes both families */
    struct sock_addr which;
    char name[PRE_NAME_MAX];
    bool is_ours = host != NULL && host_len > 0 && pre_names_are_ours() &&
                   (addr->sa_family == AF_INET || addr->sa_family == AF_INET6);
    if (!is_ours)
        return pre_real.getnameinfo(addr, len, host, host_len, service, service_len, flags);
    if (pre_addr_in(&any, addr, len, &which) != 0)
        return EAI_FAMILY;
    bool is_number_wanted = (flags & NI_NUMERICHOST) != 0;
    int r = is_number_wanted ? EAI_NONAME : pre_name_of(&which, name);
    if (r != 0 && !is_number_wanted && (flags & NI_NAMEREQD))
        return r;
    if (r != 0)
        r = number_of(addr, len, host, host_len, flags);
    else if (strlen(name) >= host_len)
        r = EAI_OVERFLOW;
    else
        memcpy(host, name, strlen(name) + 1);
    return r != 0 || service == NULL || service_len == 0
               ? r
               : pre_real.getnameinfo(addr, len, NULL, 0, service, service_len, flags);
}
