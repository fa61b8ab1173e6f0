/* SPDX-License-Identifier: ISC */
/* A resolver on one stack and name servers on another; see dnsbed.h. */
#include <string.h>

#include "test/harness/dnsbed.h"
#include "test/harness/tap.h"

/* ---- the cable ------------------------------------------------------------------------------ */

static bool carry(struct dnsbed *bed, struct testdev *from, struct testdev *to)
{
    const struct testdev_frame *frame;
    bool any = false;
    while ((frame = testdev_next(from)) != NULL) {
        any = true;
        if (!bed->is_cut)
            testdev_inject_more(to, frame->data, frame->len, 0);
    }
    if (any)
        testdev_end_batch(to);
    return any;
}

void dnsbed_run(struct dnsbed *bed, mir_time_us delta_us)
{
    struct testbed *client = &bed->client;
    mir_time_us end_us = client->now_us + delta_us, next;
    for (;;) {
        bool is_moving;
        do {
            testbed_run(client);
            is_moving = carry(bed, &client->dev, &bed->server_dev);
            is_moving = carry(bed, &bed->server_dev, &client->dev) || is_moving;
        } while (is_moving);
        mir_loop_step(&client->loop, client->now_us, &next);
        if (client->now_us >= end_us)
            return;
        client->now_us = MIR_MIN(MIR_MAX(next, client->now_us), end_us);
    }
}

/* ---- the servers ---------------------------------------------------------------------------- */

/* Read a question and let the test answer it. Returns the length of the answer, 0: silence. */
static uint32_t serve(struct dnsbed_query *q, const uint8_t *msg, uint32_t len, uint8_t *out,
                      uint32_t size)
{
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    if (mir__dns_read(&reader, msg, len) < 0 || mir__dns_read_question(&reader, &q->question) < 0) {
        check_str("no question", "a question");
        return 0;
    }
    while (mir__dns_read_record(&reader, &record) == 0)
        q->has_edns = q->has_edns || record.type == MIR_DNS_OPT;
    q->id = reader.id;
    mir_dns_name_text(&q->question.name, q->name);
    for (size_t i = 0; i < sizeof q->name; i++)
        q->lower[i] =
            (char)(q->name[i] >= 'A' && q->name[i] <= 'Z' ? q->name[i] | 0x20 : q->name[i]);
    mir__dns_write(&q->w, out, size, q->id, MIR__DNS_QR | MIR__DNS_RD | MIR__DNS_RA);
    check_int(mir__dns_write_question(&q->w, &q->question.name, q->question.type, 1), ==, 0);
    if (!q->bed->answer(q))
        return 0;
    uint32_t end = mir__dns_write_end(&q->w);
    mir_put_be16(out, q->id);
    return end;
}

static uint32_t server_of(struct mir_udp *udp)
{
    struct mir_endpoint local;
    udp->ops->local(udp, &local);
    return local.port - 53u;
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf_given,
                   void *arg)
{
    const struct mir_endpoint *from = &meta->from;
    struct dnsbed *bed = arg;
    struct dnsbed_query q = {.bed = bed, .server = server_of(udp), .from = *from};
    bed->ports[bed->asked_udp++ % MIR_ARRAY_LEN(bed->ports)] = from->port;
    uint32_t len = serve(&q, buf_given->data, buf_given->len, bed->out, sizeof bed->out);
    if (bed->udp_limit != 0 && len > bed->udp_limit) {
        mir__dns_write(&q.w, bed->out, 512, q.id, MIR__DNS_QR | MIR__DNS_TC);
        check_int(mir__dns_write_question(&q.w, &q.question.name, q.question.type, 1), ==, 0);
        len = mir__dns_write_end(&q.w);
    }
    if (len > 0)
        check_int(mir_udp_send(udp, from, bed->out, len), ==, 0);
    mir_buf_release(buf_given);
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct dnsbed *bed = arg;
    struct mir_endpoint local;
    struct mir_view view;
    if (events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) {
        mir_tcp_close(tcp);
        return;
    }
    int r = mir_tcp_recv_view(tcp, &view);
    if (r == -MIR_EAGAIN)
        return;
    if (r < 0) {
        mir_tcp_close(tcp);
        return;
    }
    struct dnsbed_query q = {.bed = bed, .is_tcp = true};
    mir_tcp_get_endpoints(tcp, &local, &q.from);
    q.server = local.port - 53u;
    bed->asked_tcp++;
    check_int(view.len, ==, 2 + mir_get_be16(view.data));
    uint32_t len = serve(&q, view.data + 2, view.len - 2, bed->out + 2, 65535);
    mir_view_release(&view);
    if (len == 0)
        return;
    size_t queued = 0;
    mir_put_be16(bed->out, (uint16_t)len);
    check_int(mir_tcp_send(tcp, bed->out, len + 2, &queued), ==, 0);
    check_int(queued, ==, len + 2);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    mir_tcp_set_handler(tcp_given, on_tcp, arg);
    on_tcp(tcp_given, MIR_TCP_READABLE, arg);
}

static void open_servers(struct dnsbed *bed)
{
    struct mir_net_config config = {.loop = &bed->client.loop,
                                    .pages = &bed->client.pages,
                                    .bufs = &bed->client.bufs,
                                    .rng = &bed->client.rng};
    struct mir_net_if_config interface = {.ip = mir_ip_from_v4(DNSBED_SERVER_IP), .prefix_len = 24};
    testdev_init(&bed->server_dev, &bed->client.bufs, 1500, 0);
    bed->server_dev.dev.info.mac[5] = 9;
    check_int(mir_net_open(&config, &bed->server_net), ==, 0);
    check_int(mir_net_add_interface(bed->server_net, &bed->server_dev.dev, &interface), ==, 0);
    for (uint32_t i = 0; i < DNSBED_SERVERS; i++) {
        struct mir_endpoint local = {.ip = interface.ip, .port = (uint16_t)(53 + i)};
        struct mir_tcp_listen_config listen = {.local = local, .on_accept = on_accept, .arg = bed};
        check_int(mir_udp_open(mir_net_stack(bed->server_net), &local, on_udp, bed, &bed->udp[i]),
                  ==, 0);
        check_int(mir_tcp_listen(mir_net_stack(bed->server_net), &listen, &bed->tcp[i]), ==, 0);
    }
}

void dnsbed_open(struct dnsbed *bed, const struct mir_dns_config *config, uint32_t servers,
                 dnsbed_answer_fn answer)
{
    struct mir_dns_config c = config != NULL ? *config : (struct mir_dns_config){.ndots = 0};
    memset(bed, 0, sizeof *bed);
    testbed_init(&bed->client, 7, 16 << 20, MIR_NET_TX_SG);
    testbed_open(&bed->client, NULL);
    test_stacks_init(&bed->stacks, 16);
    bed->answer = answer;
    open_servers(bed);
    c.stack = bed->client.stack;
    c.rng = &bed->client.rng;
    c.server_count = servers;
    for (uint32_t i = 0; i < servers; i++)
        c.servers[i] = (struct mir_endpoint){.ip = mir_ip_from_v4(DNSBED_SERVER_IP),
                                             .port = (uint16_t)(53 + i)};
    check_int(mir_dns_open(&c, &bed->dns), ==, 0);
    dnsbed_run(bed, MIR_US_PER_S);
}

void dnsbed_close(struct dnsbed *bed)
{
    if (bed->dns != NULL)
        mir_dns_close(bed->dns);
    dnsbed_run(bed, 300 * MIR_US_PER_S);
    mir_net_close(bed->server_net);
    testbed_close(&bed->client);
    testdev_fini(&bed->server_dev);
    check_int(bed->stacks.used, ==, 0);
}

void dnsbed_spawn(struct dnsbed *bed, void (*entry)(void *arg), void *arg)
{
    check_int(mir_task_spawn(&bed->client.loop, &bed->stacks.source, "test", 0, entry, arg, NULL),
              ==, 0);
}

/* ---- records --------------------------------------------------------------------------------- */

void dnsbed_record(struct dnsbed_query *query, enum mir__dns_section section, const char *name,
                   uint32_t ttl_s, const struct mir_dns_rdata *rdata)
{
    struct mir_dns_name parsed;
    check_int(mir_dns_name_parse(name, strlen(name), &parsed), ==, 0);
    check_int(mir__dns_write_record(&query->w, section, &parsed, 1, ttl_s, rdata), ==, 0);
}

void dnsbed_a(struct dnsbed_query *query, const char *name, uint32_t ttl_s, uint32_t ip)
{
    struct mir_dns_rdata rdata = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(ip)};
    dnsbed_record(query, MIR__DNS_ANSWER, name, ttl_s, &rdata);
}

void dnsbed_cname(struct dnsbed_query *query, const char *name, uint32_t ttl_s, const char *target)
{
    struct mir_dns_rdata rdata = {.type = MIR_DNS_CNAME};
    check_int(mir_dns_name_parse(target, strlen(target), &rdata.name), ==, 0);
    dnsbed_record(query, MIR__DNS_ANSWER, name, ttl_s, &rdata);
}

void dnsbed_soa(struct dnsbed_query *query, const char *zone, uint32_t ttl_s, uint32_t minimum_s)
{
    struct mir_dns_rdata rdata = {.type = MIR_DNS_SOA, .soa = {.minimum_s = minimum_s}};
    check_int(mir_dns_name_parse("ns", 2, &rdata.soa.primary), ==, 0);
    check_int(mir_dns_name_parse("host", 4, &rdata.soa.mailbox), ==, 0);
    dnsbed_record(query, MIR__DNS_AUTHORITY, zone, ttl_s, &rdata);
}

void dnsbed_send(struct dnsbed_query *query, uint32_t server, struct mir__dns_writer *w)
{
    uint32_t len = mir__dns_write_end(w);
    check_int(mir_udp_send(query->bed->udp[server], &query->from, w->out, len), ==, 0);
}
