/* SPDX-License-Identifier: ISC */
/* The network stack over the devices that devices.c opened.
 *
 * Only in images that have networks: nothing but devices.c refers to it.
 */
#include "target/virt/internal.h"

int mir__net_open_stack(struct mir__virt *v)
{
    struct mir_net_config config = {
        .loop = &v->loop, .pages = &v->pages, .bufs = &v->bufs, .rng = &v->rng};
    int r = mir_net_open(&config, &v->net);
    if (r < 0)
        return r;
    v->app.stack = mir_net_stack(v->net);
    for (uint32_t i = 0; i < v->options.net_count && r == 0; i++)
        r = mir_net_add_interface(v->net, v->nets[i].dev, &v->nets[i].config);
    for (uint32_t i = 0; i < v->options.net_count && r == 0; i++)
        r = mir__app_add_routes(&v->options.net[i], v->net, i + 1);
    return r;
}

/* An address by DHCP comes later than the other lines. */
static void say_address(void *arg)
{
    struct mir__virt *v = arg;
    struct mir_ip ip;
    char text[MIR_IP_TEXT_MAX];
    if (mir_stack_wait_address(v->app.stack, MIR_TIME_NEVER, &ip) == 0)
        mir_app_print(&v->app, "address: %s\n", mir_ip_text(&ip, text));
}

void mir__net_announce(struct mir__virt *v)
{
    for (uint32_t i = 0; i < v->options.net_count; i++) {
        const struct mir__virt_net *net = &v->nets[i];
        mir__app_print_net(&v->app, net->kind, &net->config, net->place);
    }
    if (v->nets[0].config.use_dhcp && mir_app_spawn(&v->app, "address", say_address, v) < 0)
        MIR_LOG(TARGET, WARN, "no memory for the task that says the address");
}

void mir__net_close_stack(struct mir__virt *v)
{
    if (v->net != NULL)
        mir_net_close(v->net);
    v->net = NULL;
}
