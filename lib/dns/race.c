/* SPDX-License-Identifier: ISC */
/* Connecting by name: happy eyeballs (RFC 8305).
 *
 *   AAAA and A are asked at once
 *     AAAA first, or both                 begin
 *     A first                             begin 50 ms later at the latest
 *   begin: the addresses, sorted (sort.c) and interlaced by family, wait in todo[]
 *     an attempt every 250 ms, and at once when one fails
 *     addresses that come later are sorted in among those not tried yet
 *   the first that connects is given to the handler, the others are aborted
 *   no attempt left and both questions over: the error of the attempt that got furthest
 *
 * "Furthest": a peer that refused was reached, which says more than silence, and silence says more
 * than a missing route.
 */
#include "lib/dns/internal.h"

#define RESOLUTION_DELAY_US (50 * MIR_US_PER_MS)
#define ATTEMPT_DELAY_US    (250 * MIR_US_PER_MS)

static void go_on(struct mir_tcp_race *race);

static int rank_of(int error)
{
    switch (error) {
    case -MIR_ECONNREFUSED:
    case -MIR_ECONNRESET:
        return 5;
    case -MIR_ETIMEDOUT:
        return 4;
    case -MIR_EHOSTUNREACH:
    case -MIR_ENETUNREACH:
        return 3;
    case -MIR_ENOENT:
        return 1;
    default:
        return 2;
    }
}

static void note_error(struct mir_tcp_race *race, int error)
{
    int rank = rank_of(error);
    if (rank > race->rank) {
        race->rank = rank;
        race->error = error;
    }
}

/* Stop everything; from here on nothing of the race is used any more. */
static void stop(struct mir_tcp_race *race)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (race->query[i] != NULL)
            mir_dns_cancel(race->query[i]);
        race->query[i] = NULL;
    }
    for (uint32_t i = 0; i < race->attempt_count; i++) {
        if (race->attempt[i].tcp != NULL)
            mir_tcp_abort(race->attempt[i].tcp);
        race->attempt[i].tcp = NULL;
    }
    mir_timer_cancel(&race->next);
    mir_timer_cancel(&race->deadline);
}

void mir_tcp_race_cancel(struct mir_tcp_race *race)
{
    stop(race);
}

static void end(struct mir_tcp_race *race, int error, struct mir_tcp *tcp)
{
    stop(race);
    race->handler(race->arg, error, tcp);
}

static void on_deadline(void *arg)
{
    struct mir_tcp_race *race = arg;
    note_error(race, -MIR_ETIMEDOUT);
    end(race, race->error, NULL);
}

/* ---- attempts ----------------------------------------------------------------------------------
 */

static void on_attempt(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_tcp_attempt *attempt = arg;
    struct mir_tcp_race *race = attempt->race;
    if (events & MIR_TCP_CONNECTED) {
        attempt->tcp = NULL;
        mir_tcp_set_handler(tcp, NULL, NULL);
        end(race, 0, tcp);
        return;
    }
    if ((events & MIR_TCP_FAILED) == 0)
        return;
    int error = mir_tcp_error(tcp);
    attempt->tcp = NULL;
    race->open_count--;
    mir_tcp_close(tcp);
    note_error(race, error < 0 ? error : -MIR_ECONNRESET);
    go_on(race);
}

static void on_next(void *arg)
{
    go_on(arg);
}

/* Begin the next attempt that can begin. False: there is none. */
static bool begin_attempt(struct mir_tcp_race *race)
{
    while (race->todo_count > 0 && race->attempt_count < MIR_ARRAY_LEN(race->attempt)) {
        struct mir_endpoint remote = {.ip = race->todo[0], .port = race->port};
        struct mir_tcp_attempt *attempt = &race->attempt[race->attempt_count];
        race->todo_count--;
        mir_memmove(race->todo, race->todo + 1, race->todo_count * sizeof race->todo[0]);
        attempt->race = race;
        attempt->tcp = NULL;
        int r = mir_tcp_connect(race->dns->stack, &remote, on_attempt, attempt, &attempt->tcp);
        if (r == 0) {
            race->attempt_count++;
            race->open_count++;
            race->last_was_v4 = mir_ip_is_v4(&remote.ip);
            return true;
        }
        note_error(race, r);
    }
    return false;
}

static void go_on(struct mir_tcp_race *race)
{
    struct mir_loop *loop = race->dns->stack->loop;
    race->has_begun = true;
    mir_timer_cancel(&race->next);
    bool has_tried = begin_attempt(race);
    if (has_tried) /* addresses that are still to come wait, too */
        mir_timer_set(loop, &race->next, mir_loop_now(loop) + ATTEMPT_DELAY_US);
    if (race->open_count == 0 && race->query[0] == NULL && race->query[1] == NULL)
        end(race, race->error, NULL);
}

/* ---- addresses ----------------------------------------------------------------------------------
 */

/* Families in turn. */
static void interlace(struct mir_ip *ip, uint32_t count, bool wants_v4)
{
    struct mir_ip sorted[2 * MIR_DNS_ADDRESSES_MAX];
    uint32_t at[2] = {0, 0};
    mir_memcpy(sorted, ip, count * sizeof *ip);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t *from = &at[wants_v4];
        while (*from < count && mir_ip_is_v4(&sorted[*from]) != wants_v4)
            ++*from;
        if (*from == count) { /* none of this family left */
            wants_v4 = !wants_v4;
            from = &at[wants_v4];
            while (mir_ip_is_v4(&sorted[*from]) != wants_v4)
                ++*from;
        }
        ip[i] = sorted[(*from)++];
        wants_v4 = !wants_v4;
    }
}

static void add_addresses(struct mir_tcp_race *race, const struct mir_dns_answer *answer)
{
    struct mir_dns_rdata rdata;
    uint32_t at = 0, added = 0;
    while (added < MIR_DNS_ADDRESSES_MAX && race->todo_count < MIR_ARRAY_LEN(race->todo) &&
           mir_dns_answer_next(answer, &at, &rdata)) {
        race->todo[race->todo_count++] = rdata.ip;
        added++;
    }
    if (race->todo_count < 2)
        return;
    mir_dns_sort(race->dns->stack, race->todo, race->todo_count);
    /* It begins with the best, and goes on with the other family than that of the last attempt. */
    bool wants_v4 = race->has_begun ? !race->last_was_v4 : mir_ip_is_v4(&race->todo[0]);
    interlace(race->todo, race->todo_count, wants_v4);
}

static void take(struct mir_tcp_race *race, uint32_t family, int error,
                 const struct mir_dns_answer *answer)
{
    struct mir_loop *loop = race->dns->stack->loop;
    bool is_last = race->query[1 - family] == NULL;
    race->query[family] = NULL;
    if (error == 0)
        add_addresses(race, answer);
    else
        note_error(race, error);
    if (!race->has_begun && race->todo_count > 0 && !is_last && family == 1)
        mir_timer_set(loop, &race->next, mir_loop_now(loop) + RESOLUTION_DELAY_US);
    else if (!race->has_begun && (race->todo_count > 0 || is_last))
        go_on(race);
    else if (race->has_begun && !mir_timer_is_set(&race->next))
        go_on(race); /* everything known was begun: with the new ones it goes on at once */
}

static void on_aaaa(void *arg, int error, const struct mir_dns_answer *answer)
{
    take(arg, 0, error, answer);
}

static void on_a(void *arg, int error, const struct mir_dns_answer *answer)
{
    take(arg, 1, error, answer);
}

int mir_tcp_connect_name(struct mir_tcp_race *race, struct mir_dns *dns, const char *name,
                         uint16_t port, mir_time_us deadline_us, mir_tcp_race_fn handler, void *arg)
{
    mir_memset(race, 0, sizeof *race);
    race->dns = dns;
    race->port = port;
    race->handler = handler;
    race->arg = arg;
    mir_timer_init(&race->next, on_next, race);
    mir_timer_init(&race->deadline, on_deadline, race);
    if (port == 0)
        return -MIR_EINVAL;
    int r = mir_dns_resolve(dns, name, MIR_DNS_AAAA, deadline_us, on_aaaa, race, &race->query[0]);
    if (r == 0)
        r = mir_dns_resolve(dns, name, MIR_DNS_A, deadline_us, on_a, race, &race->query[1]);
    if (r < 0) {
        stop(race);
        return r;
    }
    mir_timer_set(dns->stack->loop, &race->deadline, deadline_us);
    return 0;
}

/* ---- from a task ------------------------------------------------------------------------------
 */

struct waiting {
    struct mir_wait wait;
    bool is_done;
    int error;
    struct mir_tcp_task *flow;
};

static void on_done(void *arg, int error, struct mir_tcp *tcp_given)
{
    struct waiting *w = arg;
    w->is_done = true;
    w->error = error;
    if (error == 0)
        mir_tcp_task_init(w->flow, tcp_given);
    mir_wait_wake_all(&w->wait);
}

int mir_tcp_connect_name_wait(struct mir_dns *dns, const char *name, uint16_t port,
                              mir_time_us deadline_us, struct mir_tcp_task *flow)
{
    struct waiting w = {.flow = flow};
    struct mir_tcp_race race;
    flow->tcp = NULL;
    mir_wait_init(&w.wait);
    int r = mir_tcp_connect_name(&race, dns, name, port, deadline_us, on_done, &w);
    while (r == 0 && !w.is_done)
        r = mir_wait_on(dns->stack->loop, &w.wait, MIR_TIME_NEVER);
    if (w.is_done) {
        if (r == -MIR_ECANCELED && w.error == 0)
            mir_tcp_task_close(flow);
        return r == -MIR_ECANCELED ? r : w.error;
    }
    if (r == -MIR_ECANCELED)
        mir_tcp_race_cancel(&race);
    return r;
}
