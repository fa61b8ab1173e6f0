/* SPDX-License-Identifier: ISC */
/* Names below .local: everybody on the link is asked (RFC 6762 section 5.1). Our own responder
 * answers on the other stack; silence, servers behind it, forged and foreign answers. */
#include <string.h>

#include <mirari/mdns.h>

#include "test/harness/dnsbed.h"
#include "test/harness/tap.h"

enum { BY_SERVER = 0x0a010101, PORT = 5353 };

static struct dnsbed bed;
static struct mir_mdns *responder;
static struct {
    uint32_t calls;
    int error;
    bool is_nxdomain;
    uint32_t ip;
    char name[MIR_DNS_NAME_TEXT_MAX];
} got;

static void on_answer(void *arg, int error, const struct mir_dns_answer *answer)
{
    struct mir_dns_rdata rdata;
    uint32_t at = 0;
    (void)arg;
    got.calls++;
    got.error = error;
    got.ip = 0;
    got.is_nxdomain = answer != NULL && answer->is_nxdomain;
    if (answer == NULL || !mir_dns_answer_next(answer, &at, &rdata))
        return;
    if (rdata.type == MIR_DNS_A)
        got.ip = mir_ip_to_v4(&rdata.ip);
    else if (rdata.type == MIR_DNS_PTR)
        mir_dns_name_text(&rdata.name, got.name);
}

static int ask(const char *name, uint16_t type, mir_time_us run_us)
{
    uint32_t before = got.calls;
    check_int(mir_dns_resolve(bed.dns, name, type, MIR_TIME_NEVER, on_answer, NULL, NULL), ==, 0);
    dnsbed_run(&bed, run_us);
    return got.calls == before ? -MIR_EAGAIN : got.error;
}

static struct mir_dns_stats stats(void)
{
    struct mir_dns_stats s;
    mir_dns_get_stats(bed.dns, &s);
    return s;
}

static bool answer_server(struct dnsbed_query *q)
{
    dnsbed_a(q, q->name, 60, BY_SERVER);
    return true;
}

static void respond(void)
{
    struct mir_mdns_config config = {.stack = mir_net_stack(bed.server_net),
                                     .rng = &bed.client.rng,
                                     .host = "camera",
                                     .type = "_http._tcp",
                                     .instance = "The Camera",
                                     .port = 80};
    check_int(mir_mdns_open(&config, &responder), ==, 0);
    dnsbed_run(&bed, 3 * MIR_US_PER_S);
}

static void test_link(void)
{
    tap_case("a host on the link is found without any server");
    dnsbed_open(&bed, NULL, 0, answer_server);
    respond();
    check_int(ask("camera.local", MIR_DNS_A, 100 * MIR_US_PER_MS), ==, 0);
    check_int(got.ip, ==, DNSBED_SERVER_IP);
    check_int(ask("CAMERA.LOCAL.", MIR_DNS_A, 100 * MIR_US_PER_MS), ==, 0);
    check_int(stats().sent_udp, ==, 1); /* the second one is known already */
    tap_case("an answer is kept as long as it says, ten seconds for a plain question");
    dnsbed_run(&bed, 11 * MIR_US_PER_S);
    check_int(ask("camera.local", MIR_DNS_A, 100 * MIR_US_PER_MS), ==, 0);
    check_int(stats().sent_udp, ==, 2);
    tap_case("a service is found");
    check_int(ask("_http._tcp.local", MIR_DNS_PTR, 200 * MIR_US_PER_MS), ==, 0);
    check_str(got.name, "The\\032Camera._http._tcp.local");
    tap_case("a host that has the name, but nothing of the type, says so at once");
    check_int(ask("camera.local", MIR_DNS_TXT, 100 * MIR_US_PER_MS), ==, -MIR_ENOENT);
    check(!got.is_nxdomain);
    tap_case("where all stay silent there is no such name, after 1.2 s");
    check_int(ask("nobody.local", MIR_DNS_A, 1100 * MIR_US_PER_MS), ==, -MIR_EAGAIN);
    dnsbed_run(&bed, 200 * MIR_US_PER_MS);
    check_int(got.error, ==, -MIR_ENOENT);
    check(got.is_nxdomain);
    tap_case("other names are not asked of the link");
    uint64_t sent = stats().sent_udp;
    check_int(ask("camera.example", MIR_DNS_A, MIR_US_PER_S), ==, -MIR_ENETUNREACH);
    check_int(stats().sent_udp, ==, sent);
    tap_case("a question that is under way when all is closed leaves nothing behind");
    check_int(ask("nobody2.local", MIR_DNS_A, 0), ==, -MIR_EAGAIN);
    mir_mdns_close(responder);
    dnsbed_close(&bed);
}

static void test_servers(void)
{
    struct mir_dns_config config = {.no_multicast = true};
    tap_case("no server hears of such a name");
    dnsbed_open(&bed, NULL, 1, answer_server);
    check_int(ask("intra.local", MIR_DNS_A, 1300 * MIR_US_PER_MS), ==, -MIR_ENOENT);
    check_int(ask("local", MIR_DNS_A, 0), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 0);
    tap_case("other names go to servers at once");
    check_int(ask("www.example", MIR_DNS_A, 100 * MIR_US_PER_MS), ==, 0);
    dnsbed_close(&bed);
    tap_case("no_multicast: such names do not exist");
    dnsbed_open(&bed, &config, 1, answer_server);
    check_int(ask("intra.local", MIR_DNS_A, 0), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 0);
    dnsbed_close(&bed);
}

/* ---- those who should not be believed ----------------------------------------------------------
 */

static struct mir_udp *liar;
static struct {
    uint16_t id_change, port_of;
    uint8_t ttl;
    const char *name; /* NULL: the one asked for */
    uint32_t answers;
} lie;

static void on_question(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    uint8_t in[512], out[512];
    struct mir__dns_reader reader;
    struct mir__dns_question question;
    struct mir__dns_writer w;
    uint32_t len = mir_buf_total(buf_given);
    (void)arg;
    check_int(mir_buf_copy_out(buf_given, 0, in, len), ==, 0);
    mir_buf_release(buf_given);
    if (mir__dns_read(&reader, in, len) < 0 || mir__dns_read_question(&reader, &question) < 0)
        return;
    check_int(meta->ttl, ==, 255);
    if (lie.name != NULL)
        check_int(mir_dns_name_parse(lie.name, strlen(lie.name), &question.name), ==, 0);
    mir__dns_write(&w, out, sizeof out, (uint16_t)(reader.id + lie.id_change),
                   MIR__DNS_QR | MIR__DNS_AA);
    check_int(mir__dns_write_question(&w, &question.name, question.type, MIR__DNS_IN), ==, 0);
    struct mir_dns_rdata rdata = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(0x06060606)};
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &question.name, MIR__DNS_IN, 60, &rdata),
              ==, 0);
    check_int(mir_udp_set_option(udp, MIR_UDP_TTL, lie.ttl), ==, 0);
    check_int(mir_udp_send(udp, &meta->from, out, mir__dns_write_end(&w)), ==, 0);
    lie.answers++;
}

static void test_lies(void)
{
    static const struct {
        const char *what;
        uint16_t id_change;
        uint8_t ttl;
        const char *name;
        int error;
    } cases[] = {
        {"an honest answer, to compare with", 0, 255, NULL, 0},
        {"another id", 1, 255, NULL, -MIR_ENOENT},
        {"from beyond the link", 0, 254, NULL, -MIR_ENOENT},
        {"of another name", 0, 255, "other.local", -MIR_ENOENT},
    };
    const struct mir_udp_group group = {.group = mir_ip_from_v4(0xe00000fb)};
    struct mir_endpoint any = {.port = PORT};
    for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        tap_case("%s", cases[i].what);
        dnsbed_open(&bed, NULL, 0, answer_server);
        lie.id_change = cases[i].id_change;
        lie.ttl = cases[i].ttl;
        lie.name = cases[i].name;
        lie.answers = 0;
        check_int(mir_udp_open(mir_net_stack(bed.server_net), &any, on_question, NULL, &liar), ==,
                  0);
        check_int(mir_udp_join(liar, &group), ==, 0);
        check_int(ask("victim.local", MIR_DNS_A, 2 * MIR_US_PER_S), ==, cases[i].error);
        check_int(lie.answers, ==, cases[i].error == 0 ? 1 : 2);
        mir_udp_close(liar);
        dnsbed_close(&bed);
    }
}

int main(void)
{
    tap_begin("dns_group");
    test_link();
    test_servers();
    test_lies();
    return tap_done();
}
