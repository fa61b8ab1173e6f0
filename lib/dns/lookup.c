/* SPDX-License-Identifier: ISC */
/* Addresses of a name: A and AAAA are asked at the same time, and sorted as destinations.
 *
 * The handler is called when both questions are over. One family without addresses is no error if
 * the other has some; if neither has, a failure says more than "no such name".
 */
#include "lib/dns/internal.h"

static const uint16_t types[2] = {MIR_DNS_AAAA, MIR_DNS_A};

int mir__dns_worse(int a, int b)
{
    return a == 0 || a == -MIR_ENOENT ? b : a;
}

static void end(struct mir_dns_lookup *lookup)
{
    int error = 0;
    if (lookup->found.count == 0)
        error = mir__dns_worse(lookup->error[0], lookup->error[1]);
    else
        mir_dns_sort(lookup->dns->stack, lookup->found.ip, lookup->found.count);
    lookup->handler(lookup->arg, error, error == 0 ? &lookup->found : NULL);
}

static void take(struct mir_dns_lookup *lookup, uint32_t family, int error,
                 const struct mir_dns_answer *answer)
{
    struct mir_dns_addresses *found = &lookup->found;
    struct mir_dns_rdata rdata;
    uint32_t at = 0;
    /* Half the room for each family, so that neither hides the other. */
    uint32_t end_count = MIR_MIN(found->count + MIR_DNS_ADDRESSES_MAX / 2, MIR_DNS_ADDRESSES_MAX);
    lookup->query[family] = NULL;
    lookup->error[family] = error;
    if (error == 0)
        found->canonical = answer->canonical;
    while (error == 0 && found->count < end_count && mir_dns_answer_next(answer, &at, &rdata))
        found->ip[found->count++] = rdata.ip;
    if (lookup->query[1 - family] == NULL)
        end(lookup);
}

static void on_aaaa(void *arg, int error, const struct mir_dns_answer *answer)
{
    take(arg, 0, error, answer);
}

static void on_a(void *arg, int error, const struct mir_dns_answer *answer)
{
    take(arg, 1, error, answer);
}

int mir_dns_lookup(struct mir_dns_lookup *lookup, struct mir_dns *dns, const char *name,
                   mir_time_us deadline_us, mir_dns_addresses_fn handler, void *arg)
{
    lookup->dns = dns;
    lookup->query[0] = lookup->query[1] = NULL;
    lookup->found.count = 0;
    lookup->handler = handler;
    lookup->arg = arg;
    int r = mir_dns_resolve(dns, name, types[0], deadline_us, on_aaaa, lookup, &lookup->query[0]);
    if (r < 0)
        return r;
    r = mir_dns_resolve(dns, name, types[1], deadline_us, on_a, lookup, &lookup->query[1]);
    if (r < 0)
        mir_dns_lookup_cancel(lookup);
    return r;
}

void mir_dns_lookup_cancel(struct mir_dns_lookup *lookup)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (lookup->query[i] != NULL)
            mir_dns_cancel(lookup->query[i]);
        lookup->query[i] = NULL;
    }
}

/* ---- from a task ------------------------------------------------------------------------------
 */

struct waiting {
    struct mir_wait wait;
    bool is_done;
    int error;
    struct mir_dns_addresses *addresses;
};

static void on_done(void *arg, int error, const struct mir_dns_addresses *addresses)
{
    struct waiting *w = arg;
    w->is_done = true;
    w->error = error;
    if (error == 0)
        *w->addresses = *addresses;
    mir_wait_wake_all(&w->wait);
}

int mir_dns_lookup_wait(struct mir_dns *dns, const char *name, mir_time_us deadline_us,
                        struct mir_dns_addresses *addresses)
{
    struct waiting w = {.addresses = addresses};
    struct mir_dns_lookup lookup;
    mir_wait_init(&w.wait);
    int r = mir_dns_lookup(&lookup, dns, name, deadline_us, on_done, &w);
    while (r == 0 && !w.is_done)
        r = mir_wait_on(dns->stack->loop, &w.wait, MIR_TIME_NEVER);
    if (w.is_done)
        return w.error;
    if (r == -MIR_ECANCELED)
        mir_dns_lookup_cancel(&lookup);
    return r;
}
