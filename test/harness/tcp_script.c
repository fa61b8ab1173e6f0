/* SPDX-License-Identifier: ISC */
/* Packet scripts for TCP on a testbed. See tcp_script.h. */
#include "test/harness/tcp_script.h"

#include <stdio.h>
#include <string.h>

#include "lib/net/internal.h"
#include "lib/wire/csum.h"

#include <mirari/bytes.h>

size_t script_memory_bytes = (size_t)16 << 20;

static uint8_t peer_byte(uint32_t seq)
{
    return (uint8_t)(seq * 7 + 3);
}

static uint8_t our_byte(uint64_t offset)
{
    return (uint8_t)(offset * 5 + 1);
}

static void read_all(struct tcp_script *s)
{
    struct mir_view view;
    while (s->tcp != NULL && mir_tcp_recv_view(s->tcp, &view) == 0) {
        for (uint32_t i = 0; i < view.len; i++)
            if (view.data[i] != peer_byte((uint32_t)(s->received + 1 + i)))
                s->is_wrong = true;
        s->received += view.len;
        mir_view_release(&view);
    }
}

static void on_events(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct tcp_script *s = arg;
    s->events |= events;
    if (s->aborts_on_event) {
        mir_tcp_abort(tcp);
        s->tcp = NULL;
        return;
    }
    if (s->reads)
        read_all(s);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    struct tcp_script *s = arg;
    (void)listener;
    s->accepts++;
    if (s->closes_on_accept) {
        mir_tcp_close(tcp);
        return;
    }
    if (s->tcp != NULL)
        mir_tcp_abort(s->tcp);
    s->tcp = tcp;
    mir_tcp_set_handler(tcp, on_events, s);
    if (s->answer_len > 0)
        (void)script_send(s, s->answer_len);
}

void script_open_caps(struct tcp_script *s, const struct mir_net_config *config, uint32_t caps)
{
    memset(s, 0, sizeof *s);
    testbed_init(&s->bed, 42, script_memory_bytes, caps);
    testbed_open(&s->bed, config);
    s->peer_isn = 0xfffff000u; /* wraps soon */
    s->peer_port = 40000;
    s->wnd = 65535;
    s->wscale = -1;
    s->mss = 1460;
    s->tsval = 1000;
    s->tsecr = UINT32_MAX;
    s->reads = true;
}

void script_open(struct tcp_script *s, const struct mir_net_config *config)
{
    script_open_caps(s, config, 0);
}

void script_close(struct tcp_script *s)
{
    if (s->tcp != NULL)
        mir_tcp_abort(s->tcp);
    if (s->listener != NULL)
        mir_tcp_unlisten(s->listener);
    check(!s->is_wrong);
    testbed_close(&s->bed);
}

void script_wait(struct tcp_script *s, mir_time_us span_us)
{
    /* The peer's address stays known, however long nothing is sent. */
    while (span_us > 10 * MIR_US_PER_S) {
        testbed_advance(&s->bed, 10 * MIR_US_PER_S);
        testbed_inject_arp(&s->bed, 2, TESTBED_PEER_IP, testbed_peer_mac, TESTBED_IP);
        span_us -= 10 * MIR_US_PER_S;
    }
    testbed_advance(&s->bed, span_us);
}

unsigned script_events(struct tcp_script *s)
{
    unsigned events = s->events;
    s->events = 0;
    return events;
}

uint64_t script_stat(struct tcp_script *s, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "tcp_%s", name);
    return testbed_stat(&s->bed, full);
}

static uint8_t flags_of(const char *text)
{
    static const char names[] = "FSRPAUEC";
    uint8_t flags = 0;
    for (; *text != '\0'; text++)
        flags |= (uint8_t)(1u << (strchr(names, *text) - names));
    return flags;
}

void script_in_more(struct tcp_script *s, const char *flags, uint32_t seq, uint32_t ack,
                    uint32_t len)
{
    static uint8_t tcp[70000];
    static uint8_t frame[70200];
    struct mir_ip src = mir_ip_from_v4(TESTBED_PEER_IP);
    struct mir_ip dst = mir_ip_from_v4(TESTBED_IP);
    struct mir__tcp_header hdr = {
        .src_port = s->peer_port,
        .dst_port = s->our_port,
        .seq = s->raw ? seq : s->peer_isn + seq,
        .flags = flags_of(flags),
        .wnd = s->wnd,
    };
    struct mir__tcp_options opt = {.has_ts = s->ts, .tsval = s->tsval};
    if (s->ts && (hdr.flags & MIR__TCP_ACK))
        opt.tsecr = s->tsecr != UINT32_MAX ? s->tsecr : s->opt.tsval;
    if (hdr.flags & MIR__TCP_SYN) {
        opt.has_mss = s->mss != 0;
        opt.mss = (uint16_t)s->mss;
        opt.has_wscale = s->wscale >= 0;
        opt.wscale = (uint8_t)s->wscale;
        opt.sack_permitted = s->sack;
        opt.has_cookie = s->has_cookie;
        opt.cookie_len = s->cookie_len;
        opt.cookie = s->cookie;
    }
    for (; opt.sack_count < s->sack_count; opt.sack_count++) {
        opt.sack[opt.sack_count].left = s->our_isn + s->sack_block[opt.sack_count][0];
        opt.sack[opt.sack_count].right = s->our_isn + s->sack_block[opt.sack_count][1];
    }
    s->sack_count = 0;
    while (mir__tcp_options_len(&opt) > MIR__TCP_OPTIONS_MAX)
        opt.sack_count--;
    if (hdr.flags & MIR__TCP_ACK)
        hdr.ack = s->raw ? ack : s->our_isn + ack;
    hdr.hdr_len = (uint8_t)(MIR__TCP_HEADER_BYTES + mir__tcp_options_len(&opt));
    mir__tcp_header_emit(tcp, &hdr);
    mir__tcp_options_emit(tcp + MIR__TCP_HEADER_BYTES, &opt);
    uint32_t first = hdr.flags & MIR__TCP_SYN ? 1 : seq; /* the stream begins behind a SYN */
    for (uint32_t i = 0; i < len; i++)
        tcp[hdr.hdr_len + i] = (uint8_t)(peer_byte(first + i) + s->fill);
    uint16_t sum = mir__csum_add(mir__csum_pseudo(&src, &dst, MIR__PROTO_TCP, hdr.hdr_len + len),
                                 mir__csum_partial(tcp, hdr.hdr_len + len));
    sum = (uint16_t)~sum;
    memcpy(tcp + MIR__TCP_CSUM_OFFSET, &sum, sizeof sum);
    size_t frame_len = testbed_make_ip(frame, MIR__PROTO_TCP, tcp, hdr.hdr_len + len);
    if (s->tos != 0) {
        frame[15] = s->tos;
        mir_put_be16(frame + 24, 0);
        uint16_t ip_sum = (uint16_t)~mir__csum_partial(frame + 14, 20);
        memcpy(frame + 24, &ip_sum, sizeof ip_sum);
    }
    testdev_inject_more(&s->bed.dev, frame, frame_len, s->flags_in);
}

void script_batch_end(struct tcp_script *s)
{
    testdev_end_batch(&s->bed.dev);
    testbed_run(&s->bed);
}

void script_in(struct tcp_script *s, const char *flags, uint32_t seq, uint32_t ack, uint32_t len)
{
    script_in_more(s, flags, seq, ack, len);
    script_batch_end(s);
}

bool script_next(struct tcp_script *s)
{
    const struct testdev_frame *frame;
    testbed_run(&s->bed);
    do {
        frame = testdev_next(&s->bed.dev);
        if (frame == NULL)
            return false;
    } while (frame->len < 54 || mir_get_be16(frame->data + 12) != 0x0800 ||
             frame->data[23] != MIR__PROTO_TCP);
    const uint8_t *ip = frame->data + 14;
    uint32_t ip_len = (uint32_t)(ip[0] & 15) * 4;
    const uint8_t *tcp = ip + ip_len;
    uint32_t tcp_len = mir_get_be16(ip + 2) - ip_len;
    if (frame->flags & (MIR_BUF_GSO_TCP4))
        tcp_len = frame->len - 14 - ip_len;
    struct mir_ip src = mir_ip_from_v4(mir_get_be32(ip + 12));
    struct mir_ip dst = mir_ip_from_v4(mir_get_be32(ip + 16));
    check_int(mir__tcp_header_parse(tcp, tcp_len, &s->hdr), ==, 0);
    check_int(mir__tcp_options_parse(tcp + 20, s->hdr.hdr_len - 20u, &s->opt), ==, 0);
    if (!(frame->flags & MIR_BUF_CSUM_PARTIAL))
        check_int(mir__csum_add(mir__csum_pseudo(&src, &dst, MIR__PROTO_TCP, tcp_len),
                                mir__csum_partial(tcp, tcp_len)),
                  ==, 0xffff);
    s->len = tcp_len - s->hdr.hdr_len;
    s->gso_size = frame->gso_size;
    s->out_tos = ip[1];
    memcpy(s->payload, tcp + s->hdr.hdr_len, s->len);
    return true;
}

static void note_segment(const struct tcp_script *s)
{
    tap_note("we sent flags=%02x seq=%u ack=%u len=%u wnd=%u", s->hdr.flags,
             s->hdr.seq - s->our_isn, s->hdr.ack - s->peer_isn, s->len, s->hdr.wnd);
}

bool script_out(struct tcp_script *s, const char *flags, uint32_t seq, uint32_t ack, uint32_t len,
                const char *file, int line)
{
    uint8_t want = flags_of(flags);
    if (!tap_check(script_next(s), file, line, "we sent a segment"))
        return false;
    if (want & MIR__TCP_SYN)
        s->our_isn = s->hdr.seq;
    uint8_t got = s->hdr.flags;
    if (!(want & MIR__TCP_PSH))
        got &= (uint8_t)~MIR__TCP_PSH;
    bool ok = tap_check(got == want, file, line, flags);
    uint32_t got_seq = s->raw ? s->hdr.seq : s->hdr.seq - s->our_isn;
    ok &= tap_check_int(got_seq, seq, got_seq == seq, file, line, "seq");
    if (want & MIR__TCP_ACK) {
        uint32_t got_ack = s->raw ? s->hdr.ack : s->hdr.ack - s->peer_isn;
        ok &= tap_check_int(got_ack, ack, got_ack == ack, file, line, "ack");
    }
    ok &= tap_check_int(s->len, len, s->len == len, file, line, "len");
    for (uint32_t i = 0; ok && i < s->len; i++)
        ok &= tap_check(s->payload[i] ==
                            our_byte((uint64_t)seq + (want & MIR__TCP_SYN ? 1 : 0) - 1 + i),
                        file, line, "our bytes");
    if (!ok)
        note_segment(s);
    return ok;
}

bool script_quiet(struct tcp_script *s, const char *file, int line)
{
    bool ok = tap_check(!script_next(s), file, line, "we sent nothing");
    if (!ok)
        note_segment(s);
    return ok;
}

size_t script_send(struct tcp_script *s, size_t len)
{
    static uint8_t block[1 << 20];
    struct mir_tcp_info info;
    size_t queued = 0;
    mir_tcp_get_info(s->tcp, &info);
    uint64_t offset = info.bytes_acked + info.send_queue_bytes;
    len = MIR_MIN(len, sizeof block);
    for (size_t i = 0; i < len; i++)
        block[i] = our_byte(offset + i);
    if (mir_tcp_send(s->tcp, block, len, &queued) < 0)
        queued = 0;
    return queued;
}

void script_listen(struct tcp_script *s, uint32_t backlog)
{
    struct mir_tcp_listen_config config = {
        .local = {mir_ip_from_v4(0), 80},
        .backlog = backlog,
        .on_accept = on_accept,
        .arg = s,
        .fastopen_max = s->fastopen_max,
        .rcvbuf_bytes = s->rcvbuf,
    };
    check_int(mir_tcp_listen(s->bed.stack, &config, &s->listener), ==, 0);
    s->our_port = 80;
}

void script_accept(struct tcp_script *s)
{
    uint16_t wnd = s->wnd;
    if (s->listener == NULL)
        script_listen(s, 0);
    in(s, "S", 0, 0, 0);
    out(s, "SA", 0, 1, 0);
    s->tsval++;
    s->wnd = wnd;
    in(s, "A", 1, 1, 0);
    check(s->tcp != NULL);
    quiet(s);
}

void script_start_connect(struct tcp_script *s)
{
    struct mir_endpoint remote = {mir_ip_from_v4(TESTBED_PEER_IP), 80};
    check_int(mir_tcp_connect(s->bed.stack, &remote, on_events, s, &s->tcp), ==, 0);
    s->peer_port = 80;
    out(s, "S", 0, 0, 0);
    s->our_port = s->hdr.src_port;
}

void script_connect_data(struct tcp_script *s, size_t len)
{
    static uint8_t bytes[8192];
    size_t queued = 0;
    struct mir_tcp_connect_config config = {
        .remote = {mir_ip_from_v4(TESTBED_PEER_IP), 80},
        .data = bytes,
        .len = len,
        .handler = on_events,
        .arg = s,
    };
    for (size_t i = 0; i < len; i++)
        bytes[i] = our_byte(i);
    check_int(mir_tcp_connect_data(s->bed.stack, &config, &queued, &s->tcp), ==, 0);
    check_int(queued, ==, len);
    s->peer_port = 80;
}

void script_connect(struct tcp_script *s)
{
    script_start_connect(s);
    in(s, "SA", 0, 1, 0);
    out(s, "A", 1, 1, 0);
    quiet(s);
    check_int(script_events(s), ==, MIR_TCP_CONNECTED);
    s->tsval++;
}
