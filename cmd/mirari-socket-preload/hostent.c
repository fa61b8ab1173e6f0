/* SPDX-License-Identifier: ISC */
/* gethostbyname and its relatives, for programs from before getaddrinfo.
 *
 * All are written with the two that end in _r: addresses, then names, are laid into the buffer of
 * the caller; too small is ERANGE, and the caller comes again. Those without a buffer have one for
 * each thread.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "cmd/mirari-socket-preload/names.h"

static int h_error(int eai)
{
    switch (eai) {
    case 0:
        return 0;
    case EAI_AGAIN:
        return TRY_AGAIN;
    case EAI_NODATA:
        return NO_DATA;
    case EAI_NONAME:
    case EAI_ADDRFAMILY:
        return HOST_NOT_FOUND;
    default:
        return NO_RECOVERY;
    }
}

/* Lay an answer out in [size] bytes. Returns 0 or ERANGE. */
static int lay_out(const struct pre_answer *answer, const char *name, int family,
                   struct hostent *out, char *room, size_t size)
{
    size_t len = family == AF_INET ? 4 : 16, count = 0, text = strlen(name) + 1;
    for (uint32_t i = 0; i < answer->count; i++)
        count += answer->addr[i].family == family;
    size_t skew = (size_t)(-(uintptr_t)room & (sizeof(char *) - 1));
    size_t lists = (count + 2) * sizeof(char *);
    if (size < skew + lists + count * len + text)
        return ERANGE;
    char **addrs = (char **)(void *)(room + skew);
    char **aliases = addrs + count + 1;
    char *at = room + skew + lists;
    *aliases = NULL;
    for (uint32_t i = 0, n = 0; i < answer->count; i++) {
        if (answer->addr[i].family != family)
            continue;
        memcpy(at, answer->addr[i].ip, len);
        addrs[n++] = at;
        at += len;
    }
    addrs[count] = NULL;
    memcpy(at, name, text);
    *out = (struct hostent){.h_name = at,
                            .h_aliases = aliases,
                            .h_addrtype = family,
                            .h_length = (int)len,
                            .h_addr_list = addrs};
    return 0;
}

HOOK int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict out,
                          char *restrict room, size_t size, struct hostent **restrict result,
                          int *restrict h_err)
{
    struct pre_answer answer;
    struct in6_addr ip;
    struct in_addr old;
    if (!pre_names_are_ours() || (family != AF_INET && family != AF_INET6) ||
        inet_aton(name, &old) || inet_pton(AF_INET6, name, &ip) == 1)
        return pre_real.gethostbyname2_r(name, family, out, room, size, result, h_err);
    int eai = pre_resolve(name, family, AI_CANONNAME, &answer);
    *result = NULL;
    *h_err = h_error(eai);
    if (eai != 0)
        return eai == EAI_AGAIN ? EAGAIN : 0;
    int r = lay_out(&answer, answer.name[0] != '\0' ? answer.name : name, family, out, room, size);
    if (r == 0)
        *result = out;
    else
        *h_err = NETDB_INTERNAL;
    return r;
}

HOOK int gethostbyname_r(const char *restrict name, struct hostent *restrict out,
                         char *restrict room, size_t size, struct hostent **restrict result,
                         int *restrict h_err)
{
    return gethostbyname2_r(name, AF_INET, out, room, size, result, h_err);
}

HOOK int gethostbyaddr_r(const void *restrict addr, socklen_t len, int family,
                         struct hostent *restrict out, char *restrict room, size_t size,
                         struct hostent **restrict result, int *restrict h_err)
{
    struct pre_answer answer = {.count = 1};
    socklen_t wanted = family == AF_INET ? 4 : 16;
    if (!pre_names_are_ours() || (family != AF_INET && family != AF_INET6) || len != wanted)
        return pre_real.gethostbyaddr_r(addr, len, family, out, room, size, result, h_err);
    answer.addr[0].family = (uint16_t)family;
    memcpy(answer.addr[0].ip, addr, len);
    int eai = pre_name_of(&answer.addr[0], answer.name);
    *result = NULL;
    *h_err = h_error(eai);
    if (eai != 0)
        return 0;
    int r = lay_out(&answer, answer.name, family, out, room, size);
    if (r == 0)
        *result = out;
    else
        *h_err = NETDB_INTERNAL;
    return r;
}

static __thread struct hostent thread_entry;
static __thread char thread_room[4096];

HOOK struct hostent *gethostbyname2(const char *name, int family)
{
    struct hostent *result = NULL;
    int h_err = 0;
    int r = gethostbyname2_r(name, family, &thread_entry, thread_room, sizeof(thread_room), &result,
                             &h_err);
    h_errno = r == ERANGE ? NETDB_INTERNAL : h_err;
    return result;
}

HOOK struct hostent *gethostbyname(const char *name)
{
    return gethostbyname2(name, AF_INET);
}

HOOK struct hostent *gethostbyaddr(const void *addr, socklen_t len, int family)
{
    struct hostent *result = NULL;
    int h_err = 0;
    int r = gethostbyaddr_r(addr, len, family, &thread_entry, thread_room, sizeof(thread_room),
                            &result, &h_err);
    h_errno = r == ERANGE ? NETDB_INTERNAL : h_err;
    return result;
}
