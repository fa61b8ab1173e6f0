/* SPDX-License-Identifier: ISC */
/* A network device around another one that writes every frame to a capture (pcapng).
 *
 *   stack -> tx -> record OUT -> inner device        inner device -> rx -> record IN -> stack
 *
 * Frames are recorded as they pass: one that leaves with a partial checksum or as a 64 KiB segment
 * is in the capture like that, as in a capture taken at a real interface with offloads. One that
 * the inner device refuses is in the capture too: it was sent as far as the stack knows.
 *
 * Blocks collect in one run of pages. It is handed to the sink when the next block does not fit,
 * FLUSH_US after its first byte, and at stop, so that a capture of an idle appliance is complete.
 * A sink that fails (disk full) ends the capture, never the network.
 */
#include "dev/net/pcap/pcap.h"

#include <mirari/log.h>

#include "lib/wire/pcapng.h"

#define BUFFER_SIZE ((size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
#define FLUSH_US    (200 * MIR_US_PER_MS)
#define SNAPLEN_MAX (65535u + 14u)

static struct mir_pcap *of_dev(struct mir_net_dev *dev)
{
    return (struct mir_pcap *)(void *)dev;
}

static void flush_buffer(struct mir_pcap *pcap)
{
    mir_timer_cancel(&pcap->timer);
    if (pcap->used == 0 || pcap->error != 0)
        return;
    pcap->error = pcap->config.sink(pcap->config.arg, pcap->buffer->base, pcap->used);
    pcap->used = 0;
    if (pcap->error != 0)
        MIR_LOG(DEV, ERROR, "capture of %s ends: %s", pcap->config.name, mir_strerror(pcap->error));
}

static void on_timer(void *arg)
{
    flush_buffer(arg);
}

static void record(struct mir_pcap *pcap, const struct mir_buf *buf,
                   enum mir__pcapng_direction direction)
{
    uint32_t len = MIR_MIN(mir_buf_total(buf), pcap->config.snaplen);
    size_t need = len + 3 + MIR__PCAPNG_PACKET_OVERHEAD;
    if (pcap->used + need > BUFFER_SIZE)
        flush_buffer(pcap);
    if (pcap->error != 0) {
        pcap->lost++;
        return;
    }
    if (!mir_timer_is_set(&pcap->timer))
        mir_timer_set(pcap->config.loop, &pcap->timer, mir_loop_now(pcap->config.loop) + FLUSH_US);
    mir_time_us wall_us = pcap->config.clock->wall(pcap->config.clock);
    pcap->used += (uint32_t)mir__pcapng_put_packet(pcap->buffer->base + pcap->used, buf, len,
                                                   wall_us, direction);
    pcap->frames++;
}

static void pcap_rx(struct mir__wrap *wrap, struct mir_buf *buf_given)
{
    record((struct mir_pcap *)(void *)wrap, buf_given, MIR__PCAPNG_IN);
    mir__wrap_up(wrap, buf_given);
}

static int pcap_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    record(of_dev(dev), buf_given, MIR__PCAPNG_OUT);
    return mir__wrap_tx(dev, buf_given);
}

static void pcap_stop(struct mir_net_dev *dev)
{
    mir__wrap_stop(dev);
    flush_buffer(of_dev(dev));
}

static void pcap_close(struct mir_net_dev *dev)
{
    struct mir_pcap *pcap = of_dev(dev);
    mir__wrap_close(dev);
    flush_buffer(pcap);
    mir_page_release(pcap->buffer);
    pcap->buffer = NULL;
}

static const struct mir_net_dev_ops pcap_ops = {
    .start = mir__wrap_start,
    .stop = pcap_stop,
    .tx = pcap_tx,
    .flush = mir__wrap_flush,
    .tx_room = mir__wrap_tx_room,
    .stats = mir__wrap_stats,
    .close = pcap_close,
};

int mir_pcap_init(struct mir_pcap *pcap, const struct mir_pcap_config *config)
{
    *pcap = (struct mir_pcap){.config = *config};
    MIR_ASSERT(config->sink != NULL);
    mir__wrap_init(&pcap->wrap, config->inner, &pcap_ops);
    pcap->wrap.rx = pcap_rx;
    mir_timer_init(&pcap->timer, on_timer, pcap);
    if (config->snaplen == 0 || config->snaplen > SNAPLEN_MAX)
        pcap->config.snaplen = SNAPLEN_MAX;
    int r = mir_page_alloc(config->pages, BUFFER_SIZE, MIR_PAGE_OVERWRITE, &pcap->buffer);
    if (r == 0) {
        uint8_t *out = pcap->buffer->base;
        pcap->used = (uint32_t)mir__pcapng_put_section(out, "Mirari");
        pcap->used +=
            (uint32_t)mir__pcapng_put_interface(out + pcap->used, config->name, config->snaplen);
        /* Head blocks go out at once: a file that cannot be written is known now. */
        flush_buffer(pcap);
        r = pcap->error;
        if (r == 0)
            return 0;
        mir_page_release(pcap->buffer);
    }
    mir_net_dev_close(config->inner);
    return r;
}
