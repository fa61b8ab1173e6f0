/* SPDX-License-Identifier: ISC */
/* A network device around another one that writes every frame to a capture (pcapng). */
#ifndef DEV_NET_PCAP_PCAP_H
#define DEV_NET_PCAP_PCAP_H

#include <mirari/dev_clock.h>
#include <mirari/dev_net.h>
#include <mirari/run.h>

#include "dev/net/wrap/wrap.h"

struct mir_pcap_config {
    struct mir_net_dev *inner; /**< given: closed with this device */
    struct mir_loop *loop;
    struct mir_clock *clock;
    struct mir_page_pool *pages; /**< one run of 17 pages is taken for the buffer */
    const char *name;            /**< of the interface, in the capture */
    uint32_t snaplen;            /**< bytes kept of a frame; 0 = all */
    /** Take [len] bytes of the file, in order. Returns 0 or an error, after which the capture ends
     *  (counted; the network goes on). */
    int (*sink)(void *arg, const void *data, size_t len);
    void *arg;
};

struct mir_pcap {
    struct mir__wrap wrap; /**< the device is wrap.dev; first */
    uint64_t frames;       /**< captured */
    uint64_t lost;         /**< not captured: the sink had failed */
    /* private: */
    struct mir_pcap_config config;
    struct mir_timer timer;
    struct mir_io_page *buffer;
    uint32_t used;
    int error;
};

/**
 * mir_pcap_init() - put a capture around a device.
 *
 * @pcap  caller's memory, lent until the device, &pcap->wrap.dev, is closed
 *
 * Returns 0, -MIR_ENOMEM or the sink's error; then the inner device is closed.
 * Source  draft-ietf-opsawg-pcapng
 */
int mir_pcap_init(struct mir_pcap *pcap, const struct mir_pcap_config *config) MIR_CHECK;

#endif
