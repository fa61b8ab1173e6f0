/* SPDX-License-Identifier: ISC */
/* Asking from a task: calls that look blocking.
 *
 * What the cache has is returned without a wait. Else the task sleeps until the handler of the
 * query has run; a task that is canceled takes its query back, so the handler never finds a stack
 * that is gone.
 */
#include "lib/dns/internal.h"

/* A new IPv6 address is tested for up to two seconds (RFC 4862 section 5.4). */
#define LOOK_US MIR_US_PER_S /* between looks whether somebody may still tell a server */
#define WAY_US  (3 * MIR_US_PER_S)

struct waiting {
    struct mir_wait wait;
    bool is_done;
    int error;
    struct mir_dns_answer *answer;
};

static void on_done(void *arg, int error, const struct mir_dns_answer *answer)
{
    struct waiting *w = arg;
    w->is_done = true;
    w->error = error;
    w->answer = answer != NULL ? mir_dns_answer_hold(answer) : NULL;
    mir_wait_wake_all(&w->wait);
}

/* The answer of the first name that the text can mean, if the cache has it. */
static struct mir_dns_answer *find_at_once(struct mir_dns *dns, const char *name, uint16_t type)
{
    struct mir_dns_query query;
    struct mir_dns_name first;
    if (mir__dns_query_parse(dns, name, type, &query) < 0 || !mir__dns_candidate(&query, 0, &first))
        return NULL;
    struct mir_dns_answer *answer = mir__dns_cache_get(dns, &first, type);
    if (answer != NULL && answer->error == 0) {
        dns->stats.queries++;
        dns->stats.answered_by_cache++;
        return answer;
    }
    mir_dns_answer_release(answer);
    return NULL;
}

int mir_dns_resolve_wait(struct mir_dns *dns, const char *name, uint16_t type,
                         mir_time_us deadline_us, struct mir_dns_answer **answer)
{
    struct waiting w = {.is_done = false};
    struct mir_dns_query *query;
    *answer = find_at_once(dns, name, type);
    if (*answer != NULL)
        return 0;
    mir_wait_init(&w.wait);
    int r = mir_dns_resolve(dns, name, type, deadline_us, on_done, &w, &query);
    while (r == 0 && !w.is_done)
        r = mir_wait_on(mir_dns_stack(dns)->loop, &w.wait, MIR_TIME_NEVER);
    if (w.is_done) {
        *answer = w.answer;
        return w.error;
    }
    if (r == -MIR_ECANCELED)
        mir_dns_cancel(query);
    return r;
}

/* Is there a way to one of the servers? */
static bool has_way(struct mir_dns *dns)
{
    struct mir_ip src;
    for (uint32_t i = 0; i < dns->config.server_count; i++) {
        if (mir__dns_source(dns->stack, &dns->servers[i].at.ip, &src))
            return true;
    }
    return false;
}

/* Is there somebody who may tell a server later on? */
static bool may_learn(struct mir_dns *dns)
{
    const struct mir_stack_ops *ops = dns->stack->ops;
    return dns->follows_stack && ops->dns_servers != NULL && ops->dns_may_come != NULL &&
           ops->dns_may_come(dns->stack);
}

int mir_dns_wait_servers(struct mir_dns *dns, mir_time_us deadline_us)
{
    mir_time_us way_until_us = 0;
    int r = 0;
    mir__dns_follow_stack(dns);
    while (r == 0 && !has_way(dns)) {
        if (way_until_us == 0 && dns->config.server_count > 0)
            way_until_us = mir__dns_now(dns) + WAY_US;
        if (way_until_us == 0 && !may_learn(dns))
            return -MIR_ENETUNREACH;
        mir_time_us look_us = way_until_us != 0 ? way_until_us : mir__dns_now(dns) + LOOK_US;
        r = mir_wait_on(dns->stack->loop, &dns->stack->address_ready,
                        MIR_MIN(deadline_us, look_us));
        if (r == -MIR_ETIMEDOUT && way_until_us == 0 && mir__dns_now(dns) < deadline_us)
            r = 0;
        mir__dns_follow_stack(dns);
    }
    return dns->config.server_count > 0 ? 0 : r;
}
