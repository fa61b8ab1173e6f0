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

static void announce_net(struct mir__virt *v, const struct mir__virt_net *net)
{
    char ip[MIR_IP_TEXT_MAX];
    struct mir_app *app = &v->app;
    if (net->config.use_dhcp)
        mir_app_print(app, "net: %s dhcp", net->kind);
    else if (mir_ip_is_any(&net->config.ip))
        mir_app_print(app, "net: %s", net->kind);
    else
        mir_app_print(app, "net: %s %s/%u", net->kind, mir_ip_text(&net->config.ip, ip),
                      net->config.prefix_len);
    for (uint32_t i = 0; i < net->config.address_count; i++)
        mir_app_print(app, " %s/%u", mir_ip_text(&net->config.addresses[i].ip, ip),
                      net->config.addresses[i].prefix_len);
    mir_app_print(app, net->place[0] != '\0' ? " (%s)\n" : "%s\n", net->place);
}

void mir__net_announce(struct mir__virt *v)
{
    for (uint32_t i = 0; i < v->options.net_count; i++)
        announce_net(v, &v->nets[i]);
    if (v->nets[0].config.use_dhcp && mir_app_spawn(&v->app, "address", say_address, v) < 0)
        MIR_LOG(TARGET, WARN, "no memory for the task that says the address");
}

void mir__net_close_stack(struct mir__virt *v)
{
    if (v->net != NULL)
        mir_net_close(v->net);
    v->net = NULL;
}
