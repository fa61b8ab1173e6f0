/* SPDX-License-Identifier: ISC */
/* TCP that does nothing, for tests of the layers below while they stand alone. */
#ifndef TEST_FAKE_TCP_H
#define TEST_FAKE_TCP_H

#include "lib/net/internal.h"

int mir__tcp_init(struct mir_net *net, const struct mir_net_config *config)
{
    (void)net;
    (void)config;
    return 0;
}
void mir__tcp_fini(struct mir_net *net)
{
    (void)net;
}
void mir__tcp_input(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *given)
{
    (void)net;
    (void)meta;
    mir_buf_release(given);
}
void mir__tcp_input_end(struct mir_net *net)
{
    (void)net;
}
void mir__tcp_tx_ready(struct mir_net *net)
{
    (void)net;
}
void mir__tcp_icmp_error(struct mir_net *net, const struct mir_ip *local,
                         const struct mir_ip *remote, const uint8_t segment[8], int err,
                         uint16_t mtu)
{
    (void)net, (void)local, (void)remote, (void)segment, (void)err, (void)mtu;
}
int mir__tcp_listen(struct mir_stack *stack, const struct mir_tcp_listen_config *config,
                    struct mir_tcp_listener **listener)
{
    (void)stack, (void)config, (void)listener;
    return -MIR_ENOTSUP;
}
void mir__tcp_unlisten(struct mir_tcp_listener *listener)
{
    (void)listener;
}
int mir__tcp_connect(struct mir_stack *stack, const struct mir_endpoint *remote,
                     mir_tcp_handler_fn handler, void *arg, struct mir_tcp **tcp)
{
    (void)stack, (void)remote, (void)handler, (void)arg, (void)tcp;
    return -MIR_ENOTSUP;
}
void mir__tcp_stats(struct mir_net *net, void (*line)(void *arg, const char *name, uint64_t value),
                    void *arg)
{
    (void)net, (void)line, (void)arg;
}

#endif
