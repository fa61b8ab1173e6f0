/* SPDX-License-Identifier: ISC */
/* A network device around another one that says every frame in one line:
 *
 *   net0 > 66 10.0.0.2:80 > 10.0.0.1:51234 tcp S. seq 12 ack 34 win 65535 len 0
 *   net0 < 42 arp who-has 10.0.0.2 tell 10.0.0.1
 *
 * For eyes: sizes and headers of what this system speaks, nothing of the payload. It reads the
 * first bytes of the frame into a local copy and checks every length itself, since a trace is
 * wanted most when frames are wrong. Full decoding is what --pcap and tshark are for.
 */
#include "dev/net/trace/trace.h"

#include <mirari/bytes.h>
#include <mirari/format.h>
#include <mirari/log.h>

#define HEAD_MAX   128u
#define ETH_HEADER 14u

struct line {
    char *out;
    size_t size;
    size_t len;
};

static void put(struct line *line, const char *fmt, ...) MIR_PRINTF(2, 3);
static void put(struct line *line, const char *fmt, ...)
{
    va_list args;
    size_t used = MIR_MIN(line->len, line->size);
    va_start(args, fmt);
    line->len += mir_vformat(line->out + used, line->size - used, fmt, args);
    va_end(args);
}

static void put_ip4(struct line *line, const uint8_t *p)
{
    put(line, "%u.%u.%u.%u", p[0], p[1], p[2], p[3]);
}

static void put_arp(struct line *line, const uint8_t *p, uint32_t len)
{
    if (len < 28) {
        put(line, "arp short");
        return;
    }
    uint16_t operation = mir_get_be16(p + 6);
    put(line, operation == 1 ? "arp who-has " : "arp reply ");
    put_ip4(line, operation == 1 ? p + 24 : p + 14);
    if (operation == 1) {
        put(line, " tell ");
        put_ip4(line, p + 14);
    } else {
        put(line, " is-at %02x:%02x:%02x:%02x:%02x:%02x", p[8], p[9], p[10], p[11], p[12], p[13]);
    }
}

static void put_tcp(struct line *line, const uint8_t *p, uint32_t len, uint32_t total)
{
    static const char letters[] = "FSRP.UEC";
    uint32_t header = len >= 20 ? (uint32_t)(p[12] >> 4) * 4 : 0;
    if (len < 20 || header < 20 || header > total) {
        put(line, " tcp short");
        return;
    }
    put(line, " tcp ");
    for (unsigned i = 0; i < 8; i++) {
        if (p[13] >> i & 1)
            put(line, "%c", letters[i]);
    }
    put(line, " seq %u ack %u win %u len %u", mir_get_be32(p + 4), mir_get_be32(p + 8),
        mir_get_be16(p + 14), total - header);
}

static void put_ports(struct line *line, const uint8_t *ip, const uint8_t *ports)
{
    put_ip4(line, ip + 12);
    if (ports != NULL)
        put(line, ":%u", mir_get_be16(ports));
    put(line, " > ");
    put_ip4(line, ip + 16);
    if (ports != NULL)
        put(line, ":%u", mir_get_be16(ports + 2));
}

static void put_ip(struct line *line, const uint8_t *p, uint32_t len)
{
    uint32_t header = len >= 20 ? (uint32_t)(p[0] & 15) * 4 : 0;
    uint32_t total = len >= 20 ? mir_get_be16(p + 2) : 0;
    if (len < 20 || header < 20 || p[0] >> 4 != 4 || header > len || total < header) {
        put(line, "ip4 malformed");
        return;
    }
    uint32_t fragment = mir_get_be16(p + 6);
    const uint8_t *payload = p + header;
    uint32_t left = len - header, payload_total = total - header;
    bool has_header = (fragment & 0x1fff) == 0 && left >= 8;
    bool has_ports = has_header && (p[9] == 6 || p[9] == 17);
    put_ports(line, p, has_ports ? payload : NULL);
    if (fragment & 0x3fff)
        put(line, " frag id %u at %u%s", mir_get_be16(p + 4), (fragment & 0x1fff) * 8,
            fragment & 0x2000 ? "+" : "");
    if (!has_header)
        put(line, " protocol %u len %u", p[9], payload_total);
    else if (p[9] == 6)
        put_tcp(line, payload, left, payload_total);
    else if (p[9] == 17)
        put(line, " udp len %u", mir_get_be16(payload + 4));
    else if (p[9] == 1)
        put(line, " icmp type %u code %u len %u", payload[0], payload[1], payload_total);
    else
        put(line, " protocol %u len %u", p[9], payload_total);
}

size_t mir_trace_format(const struct mir_buf *buf, char *out, size_t size)
{
    uint8_t head[HEAD_MAX];
    uint32_t len = MIR_MIN(mir_buf_total(buf), HEAD_MAX);
    struct line line = {out, size, 0};
    int r = mir_buf_copy_out(buf, 0, head, len);
    MIR_ASSERT(r == 0);
    put(&line, "%u ", mir_buf_total(buf));
    if (len < ETH_HEADER) {
        put(&line, "short");
        return line.len;
    }
    uint16_t type = mir_get_be16(head + 12);
    if (type == 0x0806)
        put_arp(&line, head + ETH_HEADER, len - ETH_HEADER);
    else if (type == 0x0800)
        put_ip(&line, head + ETH_HEADER, len - ETH_HEADER);
    else
        put(&line, "ethertype %04x", type);
    if (buf->gso_size != 0)
        put(&line, " gso %u", buf->gso_size);
    return line.len;
}

static void say(struct mir_trace *trace, const struct mir_buf *buf, char direction)
{
    char text[240];
    size_t len = mir_format(text, sizeof text, "%s %c ", trace->name, direction);
    len = MIR_MIN(len, sizeof text - 1);
    len += mir_trace_format(buf, text + len, sizeof text - len);
    if (trace->line != NULL)
        trace->line(trace->arg, text, MIR_MIN(len, sizeof text - 1));
    else
        MIR_LOG(DEV, INFO, "%s", text);
}

static void trace_rx(struct mir__wrap *wrap, struct mir_buf *buf_given)
{
    say((struct mir_trace *)(void *)wrap, buf_given, '<');
    mir__wrap_up(wrap, buf_given);
}

static int trace_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    say((struct mir_trace *)(void *)dev, buf_given, '>');
    return mir__wrap_tx(dev, buf_given);
}

void mir_trace_init(struct mir_trace *trace, struct mir_net_dev *inner, const char *name,
                    void (*line)(void *arg, const char *line, size_t len), void *arg)
{
    static const struct mir_net_dev_ops ops = {
        .start = mir__wrap_start,
        .stop = mir__wrap_stop,
        .tx = trace_tx,
        .flush = mir__wrap_flush,
        .tx_room = mir__wrap_tx_room,
        .stats = mir__wrap_stats,
        .close = mir__wrap_close,
    };
    *trace = (struct mir_trace){.name = name, .line = line, .arg = arg};
    mir__wrap_init(&trace->wrap, inner, &ops);
    trace->wrap.rx = trace_rx;
}
