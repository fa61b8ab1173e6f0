/* SPDX-License-Identifier: ISC */
/* The devices of target virt. */
#include "target/virt/internal.h"

static void find(struct mir__virt *v)
{
    (void)v;
}

static int read_entropy(struct mir__virt *v, void *out, size_t len)
{
    (void)v;
    (void)out;
    (void)len;
    return -MIR_ENOENT;
}

static int open_all(struct mir__virt *v, char error[MIR__ERROR_MAX])
{
    (void)v;
    (void)error;
    return -MIR_ENOTSUP;
}

static void close_all(struct mir__virt *v)
{
    (void)v;
}

const struct mir__devices mir__devices = {
    .find = find,
    .entropy = read_entropy,
    .open = open_all,
    .close = close_all,
    .open_stack = mir__net_open_stack,
    .announce = mir__net_announce,
    .close_stack = mir__net_close_stack,
};
