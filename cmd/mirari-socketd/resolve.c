/* SPDX-License-Identifier: ISC */
/* Names: questions of clients to the appliance's resolver.
 *
 * The answer comes later, so each question is an object that belongs to its control connection;
 * when that closes its questions are taken back. They count against SOCK_OUTSTANDING.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <netdb.h>

#define LOOKUPS_MAX 1024u
#define PATIENCE_US (15 * MIR_US_PER_S)

struct question {
    struct mir_list link;
    struct sd_control *control;
    struct sock_request head;
    struct mir_dns_lookup lookup;
    struct mir_dns_query *query; /* of NAMEINFO */
    int32_t family;
    bool is_reverse;
};

static struct mir_pool pool;

void sd_resolve_init(void)
{
    int r = mir_pool_init(&pool, "questions", sd.app->pages, sizeof(struct question), LOOKUPS_MAX);
    MIR_ASSERT_OP(r, ==, 0);
}

void sd_resolve_fini(void)
{
    if (sd.dns != NULL)
        mir_dns_close(sd.dns);
    sd.dns = NULL;
    mir_pool_fini(&pool);
}

static struct question *begin(struct sd_call *call)
{
    if (call->control->outstanding >= SOCK_OUTSTANDING)
        return NULL;
    struct question *q = mir_pool_alloc(&pool);
    if (q == NULL)
        return NULL;
    memset(q, 0, sizeof *q);
    q->control = call->control;
    q->head = call->head;
    mir_list_push_back(&call->control->lookups, &q->link);
    call->control->outstanding++;
    return q;
}

static void end(struct question *q)
{
    q->control->outstanding--;
    mir_list_remove(&q->link);
    mir_pool_free(&pool, q);
}

void sd_lookups_cancel(struct sd_control *control)
{
    while (!mir_list_is_empty(&control->lookups)) {
        struct question *q = MIR_CONTAINER_OF(control->lookups.next, struct question, link);
        if (!q->is_reverse)
            mir_dns_lookup_cancel(&q->lookup);
        else if (q->query != NULL)
            mir_dns_cancel(q->query);
        end(q);
    }
}

static int eai_of(int error)
{
    switch (error) {
    case 0:
        return 0;
    case -MIR_ENOENT:
    case -MIR_EMALFORMED:
    case -MIR_ETOOBIG:
    case -MIR_EINVAL:
        return EAI_NONAME;
    case -MIR_ENOMEM:
    case -MIR_ELIMIT:
        return EAI_MEMORY;
    case -MIR_EIO:
        return EAI_FAIL;
    default:
        return EAI_AGAIN;
    }
}

/* Head, addresses, name. */
static uint8_t body[sizeof(struct sock_resolved) +
                    MIR_DNS_ADDRESSES_MAX * sizeof(struct sock_addr) + MIR_DNS_NAME_TEXT_MAX];

static uint32_t fill(int eai, int32_t family, const struct mir_ip *ip, uint32_t count,
                     const struct mir_dns_name *name)
{
    struct sock_resolved head = {.eai = eai};
    uint32_t at = sizeof head;
    for (uint32_t i = 0; i < count && eai == 0; i++) {
        struct mir_endpoint ep = {.ip = ip[i]};
        struct sock_addr addr;
        uint16_t own = mir_ip_is_v4(&ip[i]) ? AF_INET : AF_INET6;
        if (family != AF_UNSPEC && family != own)
            continue;
        sd_addr(own, &ep, 0, &addr);
        memcpy(body + at, &addr, sizeof addr);
        at += (uint32_t)sizeof addr;
        head.count++;
    }
    if (ip != NULL && head.count == 0 && eai == 0)
        head.eai = EAI_NONAME;
    if (name != NULL && name->len > 0 && head.eai == 0) {
        char text[MIR_DNS_NAME_TEXT_MAX];
        mir_dns_name_text(name, text);
        head.name_len = (uint32_t)strlen(text);
        memcpy(body + at, text, head.name_len);
        at += head.name_len;
    }
    memcpy(body, &head, sizeof head);
    return at;
}

static void on_addresses(void *arg, int error, const struct mir_dns_addresses *found)
{
    struct question *q = arg;
    struct sd_control *control = q->control;
    struct sock_request head = q->head;
    uint32_t len = error == 0 ? fill(0, q->family, found->ip, found->count, &found->canonical)
                              : fill(eai_of(error), q->family, NULL, 0, NULL);
    end(q);
    sd_answer(control, &head, 0, 0, body, len);
}

static bool has_resolver(void)
{
    if (sd.dns == NULL && mir_app_dns_open(sd.app, NULL, &sd.dns) < 0)
        sd.dns = NULL;
    return sd.dns != NULL;
}

/* Nothing to ask anybody for. */
static int refuse(struct sd_call *call, int eai)
{
    uint32_t len = fill(eai, AF_UNSPEC, NULL, 0, NULL);
    sd_reply(call, 0, body, len);
    return 0;
}

int sd_op_resolve(struct sd_call *call)
{
    struct sock_resolve ask;
    char name[MIR_DNS_NAME_TEXT_MAX + 1];
    struct mir_ip ip;
    memcpy(&ask, call->body, sizeof ask);
    if (ask.name_len != call->len - sizeof ask || ask.name_len >= sizeof name)
        return -EBADMSG;
    memcpy(name, call->body + sizeof ask, ask.name_len);
    name[ask.name_len] = '\0';
    if (strlen(name) != ask.name_len)
        return refuse(call, EAI_NONAME);
    if (mir_ip_parse(name, ask.name_len, &ip) == 0) {
        uint32_t len = fill(0, ask.family, &ip, 1, NULL);
        sd_reply(call, 0, body, len);
        return 0;
    }
    if (ask.flags & AI_NUMERICHOST)
        return refuse(call, EAI_NONAME);
    if (!has_resolver())
        return refuse(call, EAI_AGAIN);
    struct question *q = begin(call);
    if (q == NULL)
        return -ENOBUFS;
    q->family = ask.family;
    int r = mir_dns_lookup(&q->lookup, sd.dns, name, mir_loop_now(sd.app->loop) + PATIENCE_US,
                           on_addresses, q);
    if (r < 0) {
        end(q);
        return refuse(call, eai_of(r));
    }
    call->is_deferred = true;
    return 0;
}

static void on_name(void *arg, int error, const struct mir_dns_answer *answer)
{
    struct question *q = arg;
    struct sd_control *control = q->control;
    struct sock_request head = q->head;
    struct mir_dns_rdata rdata;
    uint32_t at = 0, len;
    if (error == 0 && mir_dns_answer_next(answer, &at, &rdata) && rdata.type == MIR_DNS_PTR)
        len = fill(0, AF_UNSPEC, NULL, 0, &rdata.name);
    else
        len = fill(error != 0 ? eai_of(error) : EAI_NONAME, AF_UNSPEC, NULL, 0, NULL);
    end(q);
    sd_answer(control, &head, 0, 0, body, len);
}

int sd_op_nameinfo(struct sd_call *call)
{
    struct sock_addr addr;
    struct mir_endpoint ep;
    struct mir_dns_name name;
    char text[MIR_DNS_NAME_TEXT_MAX];
    memcpy(&addr, call->body, sizeof addr);
    if ((addr.family != AF_INET && addr.family != AF_INET6) ||
        sd_endpoint(addr.family, &addr, &ep) < 0)
        return -EAFNOSUPPORT;
    if (!has_resolver())
        return refuse(call, EAI_AGAIN);
    mir_dns_name_of_ip(&ep.ip, &name);
    struct question *q = begin(call);
    if (q == NULL)
        return -ENOBUFS;
    q->is_reverse = true;
    int r = mir_dns_resolve(sd.dns, mir_dns_name_text(&name, text), MIR_DNS_PTR,
                            mir_loop_now(sd.app->loop) + PATIENCE_US, on_name, q, &q->query);
    if (r < 0) {
        end(q);
        return refuse(call, eai_of(r));
    }
    call->is_deferred = true;
    return 0;
}
