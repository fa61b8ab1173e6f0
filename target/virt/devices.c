/* SPDX-License-Identifier: ISC */
/* The devices of target virt: what the machine has -> implementation.
 *
 *   network i of the manifest   the i-th virtio network device, whatever mode the manifest names:
 *                               how the machine is connected is decided outside
 *   disks                       disks.c, if the appliance has some
 *   channels                    channels.c, if the appliance has some
 *   random numbers              the first virtio entropy device
 *   console                     the first virtio console, else the serial port; log lines and
 *                               crash reports always go to the serial port
 *   control channel             control.c, if the appliance has one
 *
 * Middlewares go around a network device in the order device, fault, vlan, trace, as in target
 * unix; there is no file for a capture.
 *
 * A network without an address asks for one by DHCP. Its MAC address is the device's, so that the
 * machine's monitor knows it.
 */
#include <mirari/format.h>

#include "dev/console/virtio/console.h"
#include "dev/entropy/virtio/entropy.h"
#include "dev/net/fault/fault.h"
#include "dev/net/trace/trace.h"
#include "dev/net/virtio/virtio.h"
#include "dev/net/vlan/vlan.h"
#include "target/virt/internal.h"

/* Pages for frames on their way in: an eighth of small machines, 1 MiB of large ones. */
#define RX_PAGES_MIN 32u
#define RX_PAGES_MAX 256u

static struct mir_virtio_entropy entropy;
static bool has_entropy;
static struct mir_virtio_console virtio_console;
static bool has_console;

/* ---- random numbers
 * ------------------------------------------------------------------------------ */

static int read_entropy(struct mir__virt *v, void *out, size_t len)
{
    (void)v;
    struct mir_virtio *virtio = mir__virtio_get(MIR_VIRTIO_ENTROPY, 0, NULL);
    if (virtio == NULL)
        return -MIR_ENOENT;
    if (!has_entropy) {
        int r = mir_virtio_entropy_open(&entropy, virtio);
        if (r < 0)
            return r;
        has_entropy = true;
    }
    return entropy.entropy.read(&entropy.entropy, out, len);
}

/* ---- networks
 * ------------------------------------------------------------------------------------ */

static int set_address(struct mir__virt_net *net, char error[MIR__ERROR_MAX])
{
    const struct mir__app_net *options = net->options;
    if (mir__app_net_config(options, net->dev->info.mtu, &net->config) < 0) {
        mir_format(error, MIR__ERROR_MAX, "--ip6 off, but %s has an IPv6 address or gateway",
                   options->name);
        return -MIR_EINVAL;
    }
    net->config.use_dhcp = options->use_dhcp;
    if (options->use_dhcp)
        return 0;
    if (!options->has_ip) {
        net->config.use_dhcp = !options->link_local4 && options->address_count == 0;
        return 0;
    }
    net->config.ip = options->ip;
    net->config.prefix_len = options->prefix_len;
    if (options->has_gateway)
        net->config.gateway = options->gateway;
    return 0;
}

static uint16_t rx_pages(const struct mir__virt *v)
{
    size_t pages = mir_page_pool_free_bytes(&v->pages) / MIR_PAGE_SIZE / 8;
    return (uint16_t)MIR_MAX(RX_PAGES_MIN, MIR_MIN(pages, (size_t)RX_PAGES_MAX));
}

static int open_device(struct mir__virt *v, uint32_t index, char error[MIR__ERROR_MAX])
{
    struct mir__virt_net *net = &v->nets[index];
    const struct mir__app_net *options = net->options;
    const char *place;
    struct mir_virtio *virtio = mir__virtio_get(MIR_VIRTIO_NET, index, &place);
    if (virtio == NULL) {
        mir_format(error, MIR__ERROR_MAX,
                   "network %s: the machine has %u network devices that are known here (virtio); "
                   "give it one more",
                   options->name, index);
        return -MIR_ENOENT;
    }
    struct mir_virtio_net_config config = {
        .virtio = virtio,
        .loop = &v->loop,
        .bufs = &v->bufs,
        .has_mac = options->has_mac,
        .mtu = options->mtu,
        .rx_pages = rx_pages(v),
        /* Faults happen to frames of the wire, not to segments of 64 KiB. */
        .is_plain = options->fault != NULL,
    };
    mir_memcpy(config.mac, options->mac, 6);
    int r = mir_virtio_net_open(&config, &net->dev);
    if (r < 0) {
        mir_format(error, MIR__ERROR_MAX, "network %s: the device at %s: %s", options->name, place,
                   mir_strerror(r));
        return r == -MIR_EINVAL ? -MIR_EIO : r;
    }
    net->device = net->dev;
    net->kind = net->dev->info.kind;
    mir_format(net->place, sizeof net->place, "%s", place);
    mir__virtio_serve(v, mir_virtio_net_driver(net->dev));
    return 0;
}

/* Memory of a middleware, from the pool; NULL: none. */
static void *middleware_memory(struct mir__virt *v, struct mir__virt_net *net, size_t size)
{
    MIR_ASSERT_OP(net->memory_count, <, MIR_ARRAY_LEN(net->memory));
    struct mir_io_page **page = &net->memory[net->memory_count];
    if (mir_page_alloc(&v->pages, size, MIR_PAGE_ZERO, page) < 0)
        return NULL;
    net->memory_count++;
    return (*page)->base;
}

static int add_fault(struct mir__virt *v, struct mir__virt_net *net, char error[MIR__ERROR_MAX])
{
    char why[MIR_FAULT_ERROR_MAX];
    struct mir_fault_config config = {.inner = net->dev, .loop = &v->loop, .bufs = &v->bufs};
    int r = mir_fault_parse(net->options->fault, &config.spec, why);
    if (r < 0) {
        mir_format(error, MIR__ERROR_MAX, "--fault: %s", why);
        return r;
    }
    struct mir_fault *fault = middleware_memory(v, net, sizeof *fault);
    if (fault == NULL)
        return -MIR_ENOMEM;
    mir_fault_init(fault, &config);
    mir_fault_control_add(&v->faults, net->options->name, fault);
    net->dev = &fault->wrap.dev;
    return 0;
}

static int add_vlan(struct mir__virt *v, struct mir__virt_net *net)
{
    struct mir_vlan *vlan = middleware_memory(v, net, sizeof *vlan);
    if (vlan == NULL)
        return -MIR_ENOMEM;
    mir_vlan_init(vlan, net->dev, &v->bufs, net->options->vlan);
    net->dev = &vlan->wrap.dev;
    return 0;
}

static int add_trace(struct mir__virt *v, struct mir__virt_net *net)
{
    struct mir_trace *trace = middleware_memory(v, net, sizeof *trace);
    if (trace == NULL)
        return -MIR_ENOMEM;
    mir_trace_init(trace, net->dev, net->options->name, mir__log_line, NULL);
    net->dev = &trace->wrap.dev;
    return 0;
}

static int add_middlewares(struct mir__virt *v, struct mir__virt_net *net,
                           char error[MIR__ERROR_MAX])
{
    int r = 0;
    if (net->options->pcap != NULL) {
        mir_format(error, MIR__ERROR_MAX,
                   "--pcap: a virtual machine has no file to write to; capture outside, with "
                   "-object filter-dump of QEMU or on the tap");
        return -MIR_EINVAL;
    }
    if (net->options->fault != NULL)
        r = add_fault(v, net, error);
    if (r == 0 && net->options->vlan != 0)
        r = add_vlan(v, net);
    if (r == 0 && net->options->is_traced)
        r = add_trace(v, net);
    if (r == -MIR_ENOMEM)
        mir_format(error, MIR__ERROR_MAX, "network %s: not enough memory", net->options->name);
    return r;
}

/* For whoever looks into how a device was used: 64 KiB frames, notifications, trouble. */
static void log_counters(const struct mir__virt_net *net)
{
    struct mir_virtio_net_counters c;
    mir_virtio_net_counters(net->device, &c);
    MIR_LOG(TARGET, INFO,
            "network=%s rx_large=%llu tx_large=%llu notifications=%llu interrupts=%llu "
            "tx_stalls=%llu resets=%llu faults=%llu",
            net->options->name, (unsigned long long)c.rx_large, (unsigned long long)c.tx_large,
            (unsigned long long)c.notifications,
            (unsigned long long)mir__virtio_interrupts(mir_virtio_net_driver(net->device)),
            (unsigned long long)c.tx_stalls, (unsigned long long)c.resets,
            (unsigned long long)c.faults);
}

static int open_net(struct mir__virt *v, uint32_t index, char error[MIR__ERROR_MAX])
{
    struct mir__virt_net *net = &v->nets[index];
    net->options = &v->options.net[index];
    int r = open_device(v, index, error);
    if (r == 0)
        r = add_middlewares(v, net, error);
    return r == 0 ? set_address(net, error) : r;
}

/* ---- console
 * ------------------------------------------------------------------------------ */

static void open_console(struct mir__virt *v)
{
    unsigned index = 0;
    struct mir_virtio *virtio = mir__virtio_get(MIR_VIRTIO_CONSOLE, index, NULL);
    while (&mir__virt_control != NULL && virtio != NULL && mir__virt_control.has(virtio))
        virtio = mir__virtio_get(MIR_VIRTIO_CONSOLE, ++index, NULL);
    if (virtio == NULL)
        return;
    int r = mir_virtio_console_open(&virtio_console, virtio);
    if (r < 0) {
        MIR_LOG(TARGET, WARN, "virtio console: %s, not used", mir_strerror(r));
        return;
    }
    has_console = true;
    v->app.console = &virtio_console.console;
}

/* ---- the whole
 * ----------------------------------------------------------------------------------- */

static int open_all(struct mir__virt *v, char error[MIR__ERROR_MAX])
{
    int r = &mir__disks != NULL ? mir__disks.open(v, error) : 0;
    for (uint32_t i = 0; i < v->options.net_count && r == 0; i++)
        r = open_net(v, i, error);
    if (r == 0 && &mir__virt_control != NULL)
        mir__virt_control.open(v);
    if (r == 0 && &mir__channels != NULL)
        r = mir__channels.open(v, error);
    if (r == 0)
        open_console(v);
    return r;
}

/* Captures of the control channel hang on the stack. */
static void close_stack(struct mir__virt *v)
{
    if (&mir__virt_control != NULL)
        mir__virt_control.close();
    mir__net_close_stack(v);
}

static void close_all(struct mir__virt *v)
{
    for (uint32_t i = 0; i < v->options.net_count; i++) {
        if (v->nets[i].device != NULL)
            log_counters(&v->nets[i]);
    }
    if (&mir__virt_control != NULL)
        mir__virt_control.close();
    mir__virtio_end();
    for (uint32_t i = 0; i < v->options.net_count; i++) {
        struct mir__virt_net *net = &v->nets[i];
        if (net->dev != NULL)
            mir_net_dev_close(net->dev);
        net->dev = NULL;
        while (net->memory_count > 0)
            mir_page_release(net->memory[--net->memory_count]);
    }
    if (&mir__disks != NULL)
        mir__disks.close(v);
    if (&mir__channels != NULL)
        mir__channels.close();
    if (has_entropy)
        mir_virtio_entropy_close(&entropy);
    if (has_console)
        mir_virtio_console_close(&virtio_console);
    has_entropy = false;
    has_console = false;
}

const struct mir__devices mir__devices = {
    .find = mir__virtio_find,
    .entropy = read_entropy,
    .open = open_all,
    .close = close_all,
    .open_stack = mir__net_open_stack,
    .announce = mir__net_announce,
    .close_stack = close_stack,
};
