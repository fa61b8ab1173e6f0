/* SPDX-License-Identifier: ISC */
/* One question under way: which server is asked, over what, and when it is given up.
 *
 * Servers are asked one at a time, in their order, those that failed lately last. In the first
 * round each has config.try_ms to answer, in the next twice as long, and so on for config.rounds
 * rounds. A server that is silent or says that it cannot is asked last for a while, longer each
 * time; if all servers say so in one round, that is the result.
 *
 *   UDP --answer--> judged            (judge.c)
 *       --truncated--> TCP to the same server
 *       --letters changed--> TCP to the same server, where nobody else can answer
 *       --16 responses that are none--> TCP: somebody guesses
 *       --EDNS refused--> UDP again without EDNS
 *       --silence--> the next server
 *
 * What makes an answer hard to forge (RFC 5452): every datagram goes from a socket of its own with
 * a random port, which is closed after the try; the id is random; letters of the question have
 * random case, which a server copies; the source must be the server. One question is under way
 * once, whoever asks it, so that a forger has one chance a round and not many.
 *
 * A server whose answer over TCP has other letters than the question does not copy them: it is
 * asked in lower case for ten minutes. The same holds for one that refuses EDNS.
 *
 * Names below .local belong to the link (RFC 6762 section 3). Everybody there is asked, twice
 * within 1.2 s, as a plain resolver asks (section 5.1): one question, the first answer counts. It
 * comes straight back; a hop limit of 255 says that no router has seen it (section 11). Anybody on
 * the link may answer: such names are not to be trusted more than the link is. If all stay silent
 * there is no such name; servers are not asked for it.
 */
#include "lib/dns/internal.h"

#define MISMATCHES_MAX 16u
#define DEMOTED_US     (5 * MIR_US_PER_S) /* doubled with each failure in a row, up to 64 times */
#define HABITS_US      (600 * MIR_US_PER_S)
#define REFUSED_US     (5 * MIR_US_PER_S)
#define SILENT_US      MIR_US_PER_S
#define GROUP_TRIES    2u
#define GROUP_TRY_US   (400 * MIR_US_PER_MS) /* doubled for the second */
#define GROUP_PORT     5353u
#define TCP_PATIENCE   3u /* a TCP try may take so many times as long as one of UDP */

static void try_next(struct mir__dns_ask *ask);
static void try_udp(struct mir__dns_ask *ask);
static void try_tcp(struct mir__dns_ask *ask);
static void group_is_silent(struct mir__dns_ask *ask);

static struct mir__dns_server *server_of(struct mir__dns_ask *ask)
{
    return &ask->dns->servers[ask->server];
}

void mir__dns_ask_stop(struct mir__dns_ask *ask)
{
    if (ask->udp != NULL)
        mir_udp_close(ask->udp);
    if (ask->tcp != NULL)
        mir_tcp_abort(ask->tcp);
    if (ask->tcp_page != NULL)
        mir_page_release(ask->tcp_page);
    ask->udp = NULL;
    ask->tcp = NULL;
    ask->tcp_page = NULL;
    mir_timer_cancel(&ask->timer);
}

static void set_patience(struct mir__dns_ask *ask, uint32_t factor)
{
    struct mir_dns *dns = ask->dns;
    uint64_t us = (uint64_t)dns->config.try_ms * MIR_US_PER_MS << MIR_MIN(ask->round, 4u);
    mir_timer_set(dns->stack->loop, &ask->timer, mir__dns_now(dns) + us * factor);
}

/* ---- the message ---------------------------------------------------------------------------- */

static void mix_case(struct mir__dns_ask *ask)
{
    uint32_t bits = 0;
    ask->sent = ask->target;
    bool is_plain = ask->dns->config.no_case_mix || ask->to_group || server_of(ask)->no_case;
    /* Octets below 64 are lengths or no letters. */
    for (uint32_t i = 0; i < ask->sent.len; i++) {
        uint8_t c = ask->sent.wire[i] | 0x20;
        if (i % 32 == 0)
            bits = mir_rng_u32(ask->dns->config.rng);
        if (ask->sent.wire[i] < 'A' || c < 'a' || c > 'z')
            continue;
        ask->sent.wire[i] = is_plain || (bits >> i % 32 & 1) == 0 ? c : (uint8_t)(c & ~0x20u);
    }
}

static uint32_t write_question(struct mir__dns_ask *ask, uint8_t *out, size_t size)
{
    struct mir_dns *dns = ask->dns;
    struct mir__dns_writer w;
    struct mir__dns_edns edns = {.udp_bytes = MIR__DNS_UDP_BYTES};
    ask->id = (uint16_t)mir_rng_u32(dns->config.rng);
    /* A path that drops what it does not know is as silent as a dead server. */
    bool is_last_round = ask->round > 0 && ask->round + 1u == dns->config.rounds;
    ask->has_edns =
        !dns->config.no_edns && !ask->to_group && !server_of(ask)->no_edns && !is_last_round;
    mix_case(ask);
    mir__dns_write(&w, out, size, ask->id, ask->to_group ? 0 : MIR__DNS_RD);
    int r = mir__dns_write_question(&w, &ask->sent, ask->type, MIR__DNS_IN);
    if (r == 0 && ask->has_edns)
        r = mir__dns_write_edns(&w, &edns);
    MIR_ASSERT_OP(r, ==, 0);
    return mir__dns_write_end(&w);
}

/* ---- results of a try ------------------------------------------------------------------------ */

/* The server did not help: it is asked last for a while. */
static void demote(struct mir__dns_ask *ask)
{
    struct mir__dns_server *server = server_of(ask);
    uint32_t shift = MIR_MIN(server->failures, 6u);
    server->bad_until_us = mir__dns_now(ask->dns) + (DEMOTED_US << shift);
    server->failures++;
}

static void fail_try(struct mir__dns_ask *ask, int error)
{
    mir__dns_ask_stop(ask);
    ask->error = error;
    /* There is no way to this one, whatever the others do. */
    if (error != -MIR_ETIMEDOUT && error != -MIR_EIO)
        ask->failed |= (uint8_t)(1u << ask->server);
    try_next(ask);
}

static void on_timeout(void *arg)
{
    struct mir__dns_ask *ask = arg;
    ask->dns->stats.timeouts++;
    if (ask->to_group) {
        group_is_silent(ask);
        return;
    }
    demote(ask);
    fail_try(ask, -MIR_ETIMEDOUT);
}

static void take_verdict(struct mir__dns_ask *ask, struct mir__dns_reader *reader)
{
    struct mir_dns *dns = ask->dns;
    struct mir__dns_server *server = server_of(ask);
    struct mir_dns_answer *answer = NULL;
    enum mir__dns_verdict verdict = mir__dns_judge(ask, reader, &answer);
    mir__dns_ask_stop(ask);
    switch (verdict) {
    case MIR__DNS_IS_ANSWER:
        server->failures = 0;
        server->bad_until_us = 0;
        if (answer->expires_us > mir__dns_now(dns))
            mir__dns_cache_put(answer);
        mir__dns_ask_done(ask, answer->error, answer);
        mir_dns_answer_release(answer);
        return;
    case MIR__DNS_IS_ALIAS:
        try_udp(ask);
        return;
    case MIR__DNS_IS_NO_EDNS:
        server->no_edns = true;
        server->plain_until_us = mir__dns_now(dns) + HABITS_US;
        try_udp(ask);
        return;
    case MIR__DNS_IS_REFUSAL:
        dns->stats.server_failures++;
        ask->failed |= (uint8_t)(1u << ask->server);
        demote(ask);
        fail_try(ask, -MIR_EIO);
        return;
    case MIR__DNS_IS_NO_MEMORY:
        mir__dns_ask_done(ask, -MIR_ENOMEM, NULL);
        return;
    }
}

enum match { IS_OURS, IS_OTHER_CASE, IS_NOT };

/* Is this the response to what was sent? The reader is behind the question then. */
static enum match match_response(struct mir__dns_ask *ask, struct mir__dns_reader *reader,
                                 const uint8_t *msg, uint32_t len)
{
    struct mir_dns_stats *stats = &ask->dns->stats;
    struct mir__dns_question question;
    if (mir__dns_read(reader, msg, len) < 0 || reader->id != ask->id ||
        (reader->flags & (MIR__DNS_QR | MIR__DNS_OPCODE_MASK)) != MIR__DNS_QR) {
        stats->refused_id++;
        return IS_NOT;
    }
    uint32_t code = reader->flags & MIR__DNS_RCODE_MASK;
    /* A server that could not read the question need not repeat it. */
    if (reader->count[MIR__DNS_QUESTION] == 0 && code != MIR__DNS_NOERROR &&
        code != MIR__DNS_NXDOMAIN)
        return IS_OURS;
    if (reader->count[MIR__DNS_QUESTION] != 1 || mir__dns_read_question(reader, &question) < 0 ||
        question.type != ask->type || question.class != MIR__DNS_IN ||
        !mir_dns_name_equal(&question.name, &ask->sent)) {
        stats->refused_question++;
        return IS_NOT;
    }
    bool is_same = mir_memcmp(question.name.wire, ask->sent.wire, ask->sent.len) == 0;
    return is_same ? IS_OURS : IS_OTHER_CASE;
}

/* ---- UDP ------------------------------------------------------------------------------------- */

/* The bytes of a datagram in one piece, borrowed. NULL: too long. */
static const uint8_t *in_one_piece(struct mir_dns *dns, const struct mir_buf *buf, uint32_t *len)
{
    *len = mir_buf_total(buf);
    if (buf->frag_count == 0)
        return buf->data;
    if (*len > sizeof dns->scratch || mir_buf_copy_out(buf, 0, dns->scratch, *len) < 0)
        return NULL;
    return dns->scratch;
}

static void go_to_tcp(struct mir__dns_ask *ask)
{
    mir__dns_ask_stop(ask);
    try_tcp(ask);
}

static void take_datagram(struct mir__dns_ask *ask, const struct mir_endpoint *from,
                          const struct mir_buf *buf)
{
    struct mir_dns *dns = ask->dns;
    const struct mir__dns_server *server = server_of(ask);
    struct mir__dns_reader reader;
    uint32_t len;
    if (from->port != server->at.port || !mir_ip_equal(&from->ip, &server->at.ip)) {
        dns->stats.refused_source++;
        return;
    }
    const uint8_t *msg = in_one_piece(dns, buf, &len);
    enum match match = msg != NULL ? match_response(ask, &reader, msg, len) : IS_NOT;
    if (match == IS_NOT) {
        if (++ask->mismatches >= MISMATCHES_MAX)
            go_to_tcp(ask);
        return;
    }
    dns->stats.responses++;
    if (match == IS_OTHER_CASE) {
        dns->stats.refused_case++;
        go_to_tcp(ask);
        return;
    }
    if (reader.flags & MIR__DNS_TC) {
        dns->stats.truncated++;
        go_to_tcp(ask);
        return;
    }
    take_verdict(ask, &reader);
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf_given,
                   void *arg)
{
    struct mir__dns_ask *ask = arg;
    MIR_ASSERT(ask->udp == udp);
    take_datagram(ask, &meta->from, buf_given);
    mir_buf_release(buf_given);
}

/* ICMP says that nobody is there: no need to wait. */
static void on_udp_error(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    struct mir__dns_ask *ask = arg;
    MIR_ASSERT(ask->udp == udp);
    if (error->err == -MIR_ETOOBIG)
        return;
    demote(ask);
    fail_try(ask, error->err);
}

static void try_udp(struct mir__dns_ask *ask)
{
    const struct mir_udp_config config = {.handler = on_udp, .on_error = on_udp_error, .arg = ask};
    struct mir_dns *dns = ask->dns;
    uint8_t out[512];
    ask->mismatches = 0;
    int r = mir_udp_open_config(dns->stack, &config, &ask->udp);
    if (r == 0) {
        uint32_t len = write_question(ask, out, sizeof out);
        dns->stats.sent_udp++;
        r = mir_udp_send(ask->udp, &server_of(ask)->at, out, len);
    }
    if (r == 0 || r == -MIR_EAGAIN) /* dropped here is like lost on the way */
        set_patience(ask, 1);
    else
        fail_try(ask, r);
}

/* ---- the link -------------------------------------------------------------------------------- */

static bool is_of_link(const struct mir__dns_ask *ask)
{
    static const struct mir_dns_name local = {.len = 7, .wire = "\5local"};
    return !ask->dns->config.no_multicast && ask->target.len > local.len &&
           mir_dns_name_is_in(&ask->target, &local);
}

static void try_group(struct mir__dns_ask *ask);

/* Nobody on the link has such a name: no server is asked, whose business it is not. */
static void say_nobody(struct mir__dns_ask *ask)
{
    struct mir_dns_answer *answer = mir__dns_answer_new(ask->dns, &ask->name, ask->type, 0);
    if (answer != NULL) {
        answer->error = -MIR_ENOENT;
        answer->is_nxdomain = true;
        answer->canonical = ask->target;
    }
    mir__dns_ask_done(ask, answer != NULL ? -MIR_ENOENT : -MIR_ENOMEM, answer);
    mir_dns_answer_release(answer);
}

static void group_is_silent(struct mir__dns_ask *ask)
{
    mir__dns_ask_stop(ask);
    if (ask->group_tries < GROUP_TRIES)
        try_group(ask);
    else
        say_nobody(ask);
}

/* An alias leads on, to the link or elsewhere. */
static void follow_alias(struct mir__dns_ask *ask)
{
    ask->group_tries = 0;
    ask->to_group = is_of_link(ask);
    if (ask->to_group)
        try_group(ask);
    else if (ask->dns->config.server_count > 0)
        try_next(ask);
    else
        mir__dns_ask_done(ask, -MIR_ENETUNREACH, NULL);
}

static void take_group_verdict(struct mir__dns_ask *ask, struct mir__dns_reader *reader)
{
    struct mir_dns_answer *answer = NULL;
    enum mir__dns_verdict verdict = mir__dns_judge(ask, reader, &answer);
    if (verdict == MIR__DNS_IS_REFUSAL || verdict == MIR__DNS_IS_NO_EDNS)
        return; /* somebody else may know it */
    mir__dns_ask_stop(ask);
    if (verdict == MIR__DNS_IS_ALIAS) {
        follow_alias(ask);
    } else if (verdict == MIR__DNS_IS_NO_MEMORY) {
        mir__dns_ask_done(ask, -MIR_ENOMEM, NULL);
    } else {
        if (answer->expires_us > mir__dns_now(ask->dns))
            mir__dns_cache_put(answer);
        mir__dns_ask_done(ask, answer->error, answer);
        mir_dns_answer_release(answer);
    }
}

static void on_group(struct mir_udp *udp, const struct mir_udp_meta *meta,
                     struct mir_buf *buf_given, void *arg)
{
    struct mir__dns_ask *ask = arg;
    struct mir_dns *dns = ask->dns;
    struct mir__dns_reader reader;
    uint32_t len;
    MIR_ASSERT(ask->udp == udp);
    const uint8_t *msg = in_one_piece(dns, buf_given, &len);
    if (meta->from.port != GROUP_PORT || meta->ttl != 255) {
        dns->stats.refused_source++;
    } else if (msg != NULL && match_response(ask, &reader, msg, len) != IS_NOT) {
        dns->stats.responses++;
        take_group_verdict(ask, &reader);
    }
    mir_buf_release(buf_given);
}

/* To the groups of both families, as far as there is a way to them. */
static int send_to_group(struct mir__dns_ask *ask)
{
    const struct mir_endpoint groups[] = {
        {.ip = {{[10] = 0xff, [11] = 0xff, [12] = 224, [15] = 251}}, .port = GROUP_PORT},
        {.ip = {{0xff, 0x02, [15] = 0xfb}}, .port = GROUP_PORT}};
    uint8_t out[512];
    uint32_t len = write_question(ask, out, sizeof out);
    int result = -MIR_ENETUNREACH;
    for (size_t i = 0; i < MIR_ARRAY_LEN(groups); i++) {
        int r = mir_udp_send(ask->udp, &groups[i], out, len);
        if (r == 0 || r == -MIR_EAGAIN)
            result = 0;
    }
    return result;
}

static void try_group(struct mir__dns_ask *ask)
{
    const struct mir_udp_config config = {.handler = on_group, .arg = ask};
    struct mir_dns *dns = ask->dns;
    ask->to_group = true;
    mir_time_us patience_us = GROUP_TRY_US << MIR_MIN(ask->group_tries, GROUP_TRIES);
    ask->group_tries++;
    int r = mir_udp_open_config(dns->stack, &config, &ask->udp);
    if (r == 0)
        r = mir_udp_set_option(ask->udp, MIR_UDP_GROUP_TTL, 255);
    if (r == 0) {
        dns->stats.sent_udp++;
        r = send_to_group(ask);
    }
    if (r == 0) {
        mir_timer_set(dns->stack->loop, &ask->timer, mir__dns_now(dns) + patience_us);
        return;
    }
    mir__dns_ask_stop(ask);
    mir__dns_ask_done(ask, r, NULL);
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static int send_over_tcp(struct mir__dns_ask *ask)
{
    uint8_t out[2 + 512];
    size_t queued = 0;
    uint32_t len = write_question(ask, out + 2, sizeof out - 2);
    mir_put_be16(out, (uint16_t)len);
    int r = mir_tcp_send(ask->tcp, out, len + 2, &queued);
    /* An empty send buffer takes this much. */
    return r < 0 ? r : queued == len + 2 ? 0 : -MIR_EIO;
}

static void take_tcp_message(struct mir__dns_ask *ask)
{
    struct mir__dns_reader reader;
    /* The page is held while it is judged: the verdict closes everything. */
    struct mir_io_page *page = mir_page_acquire(ask->tcp_page);
    enum match match = match_response(ask, &reader, page->base, ask->tcp_len);
    if (match == IS_NOT) {
        demote(ask);
        fail_try(ask, -MIR_EIO);
    } else {
        struct mir__dns_server *server = server_of(ask);
        ask->dns->stats.responses++;
        if (match == IS_OTHER_CASE && !server->no_case) {
            server->no_case = true;
            server->plain_until_us = mir__dns_now(ask->dns) + HABITS_US;
        }
        take_verdict(ask, &reader);
    }
    mir_page_release(page);
}

/* Take bytes of @view into the prefix or the message. Returns 0 or an error. */
static int gather(struct mir__dns_ask *ask, struct mir_view *view)
{
    while (view->len > 0) {
        bool is_prefix = ask->tcp_page == NULL;
        uint8_t *to = is_prefix ? ask->tcp_prefix : ask->tcp_page->base;
        uint32_t wanted = (is_prefix ? 2 : ask->tcp_len) - ask->tcp_got;
        uint32_t n = MIR_MIN(wanted, view->len);
        if (n == 0)
            return 0; /* more than one message: not ours */
        mir_memcpy(to + ask->tcp_got, view->data, n);
        mir_view_shrink_front(view, n);
        ask->tcp_got += n;
        if (!is_prefix || ask->tcp_got < 2)
            continue;
        ask->tcp_len = mir_get_be16(ask->tcp_prefix);
        ask->tcp_got = 0;
        if (ask->tcp_len < MIR__DNS_HEADER_LEN)
            return -MIR_EIO;
        int r = mir_page_alloc(ask->dns->stack->pages, ask->tcp_len, MIR_PAGE_OVERWRITE,
                               &ask->tcp_page);
        if (r < 0)
            return r;
    }
    return 0;
}

static int receive(struct mir__dns_ask *ask)
{
    struct mir_view view;
    int r;
    while ((r = mir_tcp_recv_view(ask->tcp, &view)) == 0) {
        r = gather(ask, &view);
        mir_view_release(&view);
        if (r < 0)
            return r;
        if (ask->tcp_page != NULL && ask->tcp_got == ask->tcp_len)
            return 0;
    }
    return r;
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir__dns_ask *ask = arg;
    int r = 0;
    if (events & MIR_TCP_FAILED)
        r = mir_tcp_error(tcp) < 0 ? mir_tcp_error(tcp) : -MIR_ECONNRESET;
    if (r == 0 && events & MIR_TCP_CONNECTED)
        r = send_over_tcp(ask);
    if (r == 0)
        r = receive(ask);
    if (r == 0) {
        take_tcp_message(ask);
    } else if (r != -MIR_EAGAIN) {
        demote(ask);
        fail_try(ask, r == -MIR_EEOF ? -MIR_EIO : r);
    }
}

static void try_tcp(struct mir__dns_ask *ask)
{
    struct mir_dns *dns = ask->dns;
    ask->tcp_got = 0;
    ask->tcp_len = 0;
    dns->stats.sent_tcp++;
    int r = mir_tcp_connect(dns->stack, &server_of(ask)->at, on_tcp, ask, &ask->tcp);
    if (r == 0)
        set_patience(ask, TCP_PATIENCE);
    else
        fail_try(ask, r);
}

/* ---- servers --------------------------------------------------------------------------------- */

/* The first that was not tried in this round, the demoted ones last. */
static int choose(struct mir__dns_ask *ask)
{
    struct mir_dns *dns = ask->dns;
    int second = -1;
    for (uint32_t i = 0; i < dns->config.server_count; i++) {
        if (ask->tried >> i & 1)
            continue;
        if (dns->servers[i].bad_until_us <= mir__dns_now(dns))
            return (int)i;
        if (second < 0)
            second = (int)i;
    }
    return second;
}

/* Failures are remembered too, for a little while (RFC 9520 section 3.2). */
static void give_up(struct mir__dns_ask *ask)
{
    struct mir_dns *dns = ask->dns;
    struct mir_dns_answer *answer = NULL;
    int error = ask->error;
    if (error == -MIR_EIO || error == -MIR_ETIMEDOUT)
        answer = mir__dns_answer_new(dns, &ask->name, ask->type, 0);
    if (answer != NULL) {
        answer->error = error;
        answer->expires_us = mir__dns_now(dns) + (error == -MIR_EIO ? REFUSED_US : SILENT_US);
        mir__dns_cache_put(answer);
        mir_dns_answer_release(answer);
    }
    mir__dns_ask_done(ask, error, NULL);
}

static void try_next(struct mir__dns_ask *ask)
{
    struct mir_dns *dns = ask->dns;
    uint32_t all = (1u << dns->config.server_count) - 1;
    if (ask->tried == all) {
        ask->tried = 0;
        ask->round++;
        if (ask->failed == all || ask->round >= dns->config.rounds) {
            give_up(ask);
            return;
        }
    }
    int server = choose(ask);
    MIR_ASSERT_OP(server, >=, 0);
    ask->server = (uint8_t)server;
    ask->tried |= (uint8_t)(1u << server);
    struct mir__dns_server *s = server_of(ask);
    if (s->plain_until_us <= mir__dns_now(dns)) {
        s->no_edns = false;
        s->no_case = false;
    }
    try_udp(ask);
}

void mir__dns_ask_start(struct mir__dns_ask *ask)
{
    mir_timer_init(&ask->timer, on_timeout, ask);
    mir__dns_ask_again(ask);
}

void mir__dns_ask_again(struct mir__dns_ask *ask)
{
    mir__dns_ask_stop(ask);
    ask->tried = ask->failed = ask->round = 0;
    ask->group_tries = 0;
    ask->to_group = false;
    if (is_of_link(ask)) {
        try_group(ask);
        return;
    }
    if (ask->dns->config.server_count == 0) {
        mir__dns_ask_done(ask, -MIR_ENETUNREACH, NULL);
        return;
    }
    try_next(ask);
}
