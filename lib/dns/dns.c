/* SPDX-License-Identifier: ISC */
/* A stub resolver: it asks recursive servers for the records of one type of a name.
 *
 * A query is what a caller has: a text, a type, a deadline, a handler. It goes through the names
 * that its text can mean (search.c). For each there is an answer here or in the cache, or a
 * question (ask.c) is under way already and the query joins it, or one begins. A question that
 * nobody waits for any more ends.
 *
 * Handlers are never called inside a call of the user: a query that has its answer waits on
 * dns->queries for work that was posted to the loop. A handler may do anything, also close the
 * resolver.
 *
 * Memory: the structure is one page run; questions, queries and answers come from pools with
 * limits. What does not fit is refused with -MIR_ELIMIT or ends with -MIR_ENOMEM; nothing grows.
 *
 * Not done: recursion from the root, DNSSEC, encrypted transports, answers past their time.
 */
#include "lib/dns/internal.h"

#define PORT 53

/* ---- queries --------------------------------------------------------------------------------- */

static void deliver(void *arg);
static void release_memory(struct mir_dns *dns);

static void release_query(struct mir_dns_query *query)
{
    struct mir_dns *dns = query->dns;
    mir_list_remove(&query->link);
    mir_timer_cancel(&query->deadline);
    mir_work_cancel(&query->work);
    mir_dns_answer_release(query->answer);
    mir_pool_free(&dns->query_pool, query);
}

static void deliver(void *arg)
{
    struct mir_dns_query *query = arg;
    mir_dns_fn handler = query->handler;
    void *handler_arg = query->arg;
    int error = query->error;
    struct mir_dns_answer *answer = query->answer;
    struct mir_dns *dns = query->dns;
    query->answer = NULL;
    release_query(query);
    dns->is_delivering = true;
    handler(handler_arg, error, answer);
    dns->is_delivering = false;
    mir_dns_answer_release(answer);
    if (dns->is_closed)
        release_memory(dns);
}

/* The result is known; the handler follows. @answer is given. */
static void finish(struct mir_dns_query *query, int error, struct mir_dns_answer *answer)
{
    struct mir_dns *dns = query->dns;
    /* A remembered failure has no records to show. */
    if (answer != NULL && answer->error != 0 && answer->error != -MIR_ENOENT) {
        mir_dns_answer_release(answer);
        answer = NULL;
    }
    query->error = error;
    query->answer = answer;
    query->ask = NULL;
    mir_timer_cancel(&query->deadline);
    mir_list_remove(&query->link);
    mir_list_push_back(&dns->queries, &query->link);
    mir_loop_post(dns->stack->loop, &query->work);
}

static void release_ask(struct mir__dns_ask *ask)
{
    mir__dns_ask_stop(ask);
    mir_list_remove(&ask->link);
    mir_pool_free(&ask->dns->ask_pool, ask);
}

/* The query waits no longer; a question that nobody waits for ends. */
static void leave_ask(struct mir_dns_query *query)
{
    struct mir__dns_ask *ask = query->ask;
    if (ask == NULL)
        return;
    query->ask = NULL;
    mir_list_remove(&query->link);
    if (mir_list_is_empty(&ask->queries))
        release_ask(ask);
}

static void on_deadline(void *arg)
{
    struct mir_dns_query *query = arg;
    leave_ask(query);
    finish(query, -MIR_ETIMEDOUT, NULL);
}

void mir_dns_cancel(struct mir_dns_query *query)
{
    leave_ask(query);
    release_query(query);
}

/* ---- questions ------------------------------------------------------------------------------- */

static struct mir__dns_ask *find_ask(struct mir_dns *dns, const struct mir_dns_name *name,
                                     uint16_t type)
{
    mir_list_for_each (node, &dns->asks) {
        struct mir__dns_ask *ask = MIR_CONTAINER_OF(node, struct mir__dns_ask, link);
        if (ask->type == type && mir_dns_name_equal(&ask->name, name))
            return ask;
    }
    return NULL;
}

static void begin_ask(struct mir_dns_query *query, const struct mir_dns_name *name)
{
    struct mir_dns *dns = query->dns;
    struct mir__dns_ask *ask = mir_pool_alloc(&dns->ask_pool);
    if (ask == NULL) {
        dns->stats.no_memory++;
        finish(query, -MIR_ELIMIT, NULL);
        return;
    }
    *ask = (struct mir__dns_ask){
        .dns = dns, .name = *name, .target = *name, .type = query->type, .ttl_s = UINT32_MAX};
    mir_list_init(&ask->queries);
    mir_list_push_back(&dns->asks, &ask->link);
    query->ask = ask;
    mir_list_remove(&query->link);
    mir_list_push_back(&ask->queries, &query->link);
    mir__dns_ask_start(ask);
}

static bool has_next(const struct mir_dns_query *query)
{
    struct mir_dns_name name;
    return mir__dns_candidate(query, query->candidate + 1u, &name);
}

/* Find the answer or begin to ask, from the present candidate on. */
static void go_on(struct mir_dns_query *query)
{
    struct mir_dns *dns = query->dns;
    struct mir_dns_name name;
    for (;; query->candidate++) {
        bool is_there = mir__dns_candidate(query, query->candidate, &name);
        MIR_ASSERT(is_there);
        bool is_local = false;
        struct mir_dns_answer *answer = mir__dns_cache_get(dns, &name, query->type);
        if (answer != NULL)
            dns->stats.answered_by_cache++;
        else
            answer = mir__dns_local(dns, &name, query->type, &is_local);
        if (answer == NULL && is_local) {
            finish(query, -MIR_ENOMEM, NULL);
            return;
        }
        if (answer == NULL)
            break;
        if (!answer->is_nxdomain || !has_next(query)) {
            finish(query, answer->error, answer);
            return;
        }
        mir_dns_answer_release(answer);
    }
    struct mir__dns_ask *ask = find_ask(dns, &name, query->type);
    if (ask == NULL) {
        begin_ask(query, &name);
        return;
    }
    dns->stats.joined++;
    query->ask = ask;
    mir_list_remove(&query->link);
    mir_list_push_back(&ask->queries, &query->link);
}

void mir__dns_ask_done(struct mir__dns_ask *ask, int error, struct mir_dns_answer *answer)
{
    struct mir_list *node;
    struct mir_dns *dns = ask->dns;
    mir__dns_ask_stop(ask);
    mir_list_remove(&ask->link); /* nobody joins it from now on */
    while ((node = mir_list_pop_front(&ask->queries)) != NULL) {
        struct mir_dns_query *query = MIR_CONTAINER_OF(node, struct mir_dns_query, link);
        query->ask = NULL;
        mir_list_push_back(&dns->queries, &query->link);
        if (answer != NULL && answer->is_nxdomain && has_next(query)) {
            query->candidate++;
            go_on(query);
        } else {
            finish(query, error, answer != NULL ? mir_dns_answer_hold(answer) : NULL);
        }
    }
    mir_pool_free(&dns->ask_pool, ask);
}

void mir__dns_restart_queries(struct mir_dns *dns)
{
    struct mir_list waiting, *node;
    mir_list_init(&waiting);
    mir_list_for_each (at, &dns->asks) {
        struct mir__dns_ask *ask = MIR_CONTAINER_OF(at, struct mir__dns_ask, link);
        while ((node = mir_list_pop_front(&ask->queries)) != NULL)
            mir_list_push_back(&waiting, node);
        release_ask(ask);
    }
    while ((node = mir_list_pop_front(&waiting)) != NULL) {
        struct mir_dns_query *query = MIR_CONTAINER_OF(node, struct mir_dns_query, link);
        query->ask = NULL;
        query->candidate = 0;
        mir_list_push_back(&dns->queries, &query->link);
        go_on(query);
    }
}

/* ---- what users call ------------------------------------------------------------------------- */

/* The network may have told other servers since. */
void mir__dns_follow_stack(struct mir_dns *dns)
{
    struct mir_ip ip[MIR_DNS_SERVERS_MAX];
    struct mir_endpoint servers[MIR_DNS_SERVERS_MAX];
    if (!dns->follows_stack || dns->stack->ops->dns_servers == NULL)
        return;
    uint32_t count = dns->stack->ops->dns_servers(dns->stack, ip, MIR_DNS_SERVERS_MAX);
    bool is_same = count == dns->config.server_count;
    for (uint32_t i = 0; i < count; i++) {
        servers[i] = (struct mir_endpoint){.ip = ip[i], .port = PORT};
        is_same = is_same && mir_ip_equal(&ip[i], &dns->servers[i].at.ip);
    }
    if (!is_same && mir_dns_set_servers(dns, servers, count) == 0)
        dns->follows_stack = true;
}

int mir_dns_resolve(struct mir_dns *dns, const char *name, uint16_t type, mir_time_us deadline_us,
                    mir_dns_fn handler, void *arg, struct mir_dns_query **query)
{
    struct mir_dns_query *q = mir_pool_alloc(&dns->query_pool);
    if (q == NULL) {
        dns->stats.no_memory++;
        return -MIR_ELIMIT;
    }
    int r = mir__dns_query_parse(dns, name, type, q);
    if (r < 0) {
        mir_pool_free(&dns->query_pool, q);
        return r;
    }
    dns->stats.queries++;
    q->ask = NULL;
    q->error = 0;
    q->answer = NULL;
    q->handler = handler;
    q->arg = arg;
    mir_work_init(&q->work, deliver, q);
    mir_timer_init(&q->deadline, on_deadline, q);
    mir_timer_set(dns->stack->loop, &q->deadline, deadline_us);
    mir_list_init(&q->link);
    mir__dns_follow_stack(dns);
    mir__dns_follow_domains(dns);
    mir_list_push_back(&dns->queries, &q->link);
    go_on(q);
    if (query != NULL)
        *query = q;
    return 0;
}

int mir_dns_set_servers(struct mir_dns *dns, const struct mir_endpoint *servers, uint32_t count)
{
    if (count > MIR_DNS_SERVERS_MAX)
        return -MIR_EINVAL;
    dns->config.server_count = count;
    dns->follows_stack = false;
    for (uint32_t i = 0; i < count; i++) {
        dns->servers[i] = (struct mir__dns_server){.at = servers[i]};
        if (servers[i].port == 0)
            dns->servers[i].at.port = PORT;
    }
    /* New questions that this begins go to the new servers already: once around is enough. */
    struct mir_list old;
    mir_list_init(&old);
    struct mir_list *node;
    while ((node = mir_list_pop_front(&dns->asks)) != NULL)
        mir_list_push_back(&old, node);
    while ((node = mir_list_pop_front(&old)) != NULL) {
        mir_list_push_back(&dns->asks, node);
        mir__dns_ask_again(MIR_CONTAINER_OF(node, struct mir__dns_ask, link));
    }
    return 0;
}

void mir_dns_get_stats(const struct mir_dns *dns, struct mir_dns_stats *stats)
{
    *stats = dns->stats;
    stats->questions = mir_pool_used(&dns->ask_pool);
    stats->waiting = mir_pool_used(&dns->query_pool);
}

void mir_dns_flush(struct mir_dns *dns)
{
    mir__dns_cache_clear(dns);
}

struct mir_stack *mir_dns_stack(const struct mir_dns *dns)
{
    return dns->stack;
}

/* ---- open and close -------------------------------------------------------------------------- */

static void set_default(uint32_t *value, uint32_t fallback)
{
    if (*value == 0)
        *value = fallback;
}

static void fill_config(struct mir_dns_config *config)
{
    set_default(&config->ndots, 1);
    set_default(&config->cache_max, 256);
    set_default(&config->cache_max_bytes, 256u << 10);
    set_default(&config->questions_max, 64);
    set_default(&config->queries_max, 256);
    set_default(&config->ttl_max_s, 86400);
    set_default(&config->negative_ttl_max_s, 900);
    set_default(&config->try_ms, 1000);
    set_default(&config->rounds, 3);
    config->rounds = MIR_MIN(config->rounds, 16u);
}

static int init_pools(struct mir_dns *dns)
{
    struct mir_page_pool *pages = dns->stack->pages;
    const struct mir_dns_config *c = &dns->config;
    /* Answers that are held, or on their way to a handler, are beyond those of the cache. */
    uint32_t answers = c->cache_max + c->queries_max;
    int r = mir_pool_init(&dns->ask_pool, "dns questions", pages, sizeof(struct mir__dns_ask),
                          c->questions_max);
    if (r == 0)
        r = mir_pool_init(&dns->query_pool, "dns queries", pages, sizeof(struct mir_dns_query),
                          c->queries_max);
    if (r == 0)
        r = mir_pool_init(&dns->answer_pool, "dns answers", pages, sizeof(struct mir_dns_answer),
                          answers);
    return r;
}

int mir_dns_open(const struct mir_dns_config *config, struct mir_dns **out)
{
    struct mir_io_page *page;
    int r = mir_page_alloc(config->stack->pages, sizeof(struct mir_dns), MIR_PAGE_ZERO, &page);
    if (r < 0)
        return r;
    struct mir_dns *dns = (struct mir_dns *)(void *)page->base;
    dns->page = page;
    dns->stack = config->stack;
    dns->config = *config;
    fill_config(&dns->config);
    mir_rng_bytes(config->rng, dns->hash_key, sizeof dns->hash_key);
    mir_list_init(&dns->asks);
    mir_list_init(&dns->queries);
    mir_list_init(&dns->age);
    for (uint32_t i = 0; i < MIR__DNS_BUCKETS; i++)
        mir_list_init(&dns->bucket[i]);
    r = mir__dns_parse_search(dns);
    if (r == 0)
        r = init_pools(dns);
    if (r == 0)
        r = mir_dns_set_servers(dns, dns->config.servers, config->server_count);
    if (r < 0) {
        mir_page_release(page);
        return r;
    }
    dns->follows_stack = config->server_count == 0;
    dns->follows_domains = config->search == NULL;
    *out = dns;
    return 0;
}

static void release_memory(struct mir_dns *dns)
{
    mir_pool_fini(&dns->ask_pool);
    mir_pool_fini(&dns->query_pool);
    mir_pool_fini(&dns->answer_pool);
    mir_page_release(dns->page);
}

void mir_dns_close(struct mir_dns *dns)
{
    while (!mir_list_is_empty(&dns->asks)) {
        struct mir__dns_ask *ask = MIR_CONTAINER_OF(dns->asks.next, struct mir__dns_ask, link);
        mir_dns_cancel(MIR_CONTAINER_OF(ask->queries.next, struct mir_dns_query, link));
    }
    while (!mir_list_is_empty(&dns->queries))
        release_query(MIR_CONTAINER_OF(dns->queries.next, struct mir_dns_query, link));
    mir__dns_cache_clear(dns);
    /* Inside a handler: the answer that it was called with is still in use. */
    dns->is_closed = true;
    if (!dns->is_delivering)
        release_memory(dns);
}
