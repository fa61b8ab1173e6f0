/* SPDX-License-Identifier: ISC */
/* Channels to processes and machines of the same host: ivshmem devices.
 *
 * Only in images of appliances whose manifest has channels: everything here is reached through
 * mir__channels, a weak reference. The channels of the manifest are the machine's devices in the
 * order of the bus.
 *
 * The shared memory is mapped as other memory, cached. Bells are messages (MSI-X), all of one slot;
 * a machine that is busy takes no interrupts, so the ends are looked at as well: a few words each.
 */
#include <mirari/channel.h>
#include <mirari/format.h>

#include "dev/channel/ivshmem/ivshmem.h"
#include "target/virt/internal.h"

struct place {
    struct mir_ivshmem device;
    struct mir_region_port port;
    struct mir__source source;
    bool is_open;
};

static struct place places[MIR_APP_CHANNELS_MAX];
static struct mir_channel_port *ports[MIR_APP_CHANNELS_MAX];
static uint32_t found_count;

static void found(const struct mir_pci_device *device)
{
    if (!mir_ivshmem_is(device))
        return;
    if (found_count == MIR_APP_CHANNELS_MAX) {
        MIR_LOG(TARGET, WARN, "more than %u ivshmem devices: not all are used",
                MIR_APP_CHANNELS_MAX);
        return;
    }
    int r = mir_ivshmem_init(&places[found_count].device, device);
    if (r == 0)
        found_count++;
    else
        MIR_LOG(TARGET, WARN, "ivshmem device: %s, not used", mir_strerror(r));
}

static bool look(void *arg, bool is_interrupted)
{
    struct place *place = arg;
    if (!is_interrupted)
        return mir_region_poll(&place->device.region);
    mir_region_heard(&place->device.region);
    return true;
}

/* All bells are one: whoever rings, everything is looked at. */
static int connect_interrupts(struct place *place)
{
    struct mir_pci_msix msix;
    uint64_t address;
    uint32_t data;
    int r = mir_pci_msix_open(&place->device.pci, &msix);
    if (r == 0)
        r = mir__arch_irq_msi(&address, &data, &place->source.slot);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < msix.count; i++)
        mir_pci_msix_set(&msix, i, address, data);
    mir_pci_msix_enable(&place->device.pci, &msix);
    return 0;
}

static int open_place(struct mir__virt *v, struct place *place)
{
    const struct mir_pci_bar *bar = &place->device.bar;
    if (mir__virtio_is_memory(bar->address, bar->size_bytes))
        return -MIR_ERANGE;
    void *memory = mir__arch_map_physical(bar->address, (size_t)bar->size_bytes, MIR__MAP_WRITE);
    if (memory == NULL)
        return -MIR_ENOMEM;
    mir_region_port_init(&place->port, &place->device.region);
    int r = mir_ivshmem_open(&place->device, memory, mir_region_port_changed, &place->port);
    if (r == 0)
        r = connect_interrupts(place);
    if (r < 0)
        return r;
    place->source.look = look;
    place->source.arg = place;
    place->is_open = true;
    mir__poll_add(&v->poll, &place->source);
    return 0;
}

static int open_all(struct mir__virt *v, char error[MIR__ERROR_MAX])
{
    for (uint32_t i = 0; i < mir_manifest.channel_count; i++) {
        const struct mir_manifest_channel *channel = &mir_manifest.channels[i];
        int r = i < found_count ? open_place(v, &places[i]) : -MIR_ENOENT;
        if (r == -MIR_ENOENT && channel->is_optional)
            continue;
        if (r == -MIR_ENOENT) {
            mir_format(error, MIR__ERROR_MAX,
                       "channel %s: the machine has %u ivshmem devices; give it one more "
                       "(`mirari run -t virt` does)",
                       channel->name, found_count);
            return r;
        }
        if (r < 0) {
            mir_format(error, MIR__ERROR_MAX, "channel %s: the ivshmem device: %s%s", channel->name,
                       mir_strerror(r),
                       r == -MIR_EPROTO ? "; its server is not `mirari vchan ivshmem`" : "");
            return r == -MIR_EINVAL ? -MIR_EIO : r;
        }
        ports[i] = &places[i].port.port;
    }
    v->app.channels = ports;
    v->app.channel_count = mir_manifest.channel_count;
    return 0;
}

static void close_all(void)
{
    for (uint32_t i = 0; i < found_count; i++) {
        if (!places[i].is_open)
            continue;
        mir__poll_remove(&places[i].source);
        mir_region_close(&places[i].device.region);
        places[i].is_open = false;
    }
}

const struct mir__channels mir__channels = {.found = found, .open = open_all, .close = close_all};
