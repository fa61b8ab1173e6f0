/* SPDX-License-Identifier: ISC */
/* The virtio devices of the machine: where their registers are, and how they interrupt.
 *
 *   registers in memory   the command line (virtio_mmio.device=SIZE@ADDRESS:IRQ), ACPI, device
 * tree; sorted by address, each once PCI                   every function of every bus, in the
 * order of the bus
 *
 * Interrupts of PCI devices are messages where possible: one for queues, one for the configuration,
 * so that no register need be read to know what happened. Otherwise, and for registers in memory, a
 * line, which may be shared: whoever's line was raised reads its register, which lets the line go,
 * before it looks at its rings. Lines of the command line are edge-triggered: that is right for
 * monitors that pulse them, and does no harm where they are levels.
 *
 * What is found is not touched until somebody wants it: mir__virtio_get().
 */
#include <mirari/format.h>

#include "dev/virtio/mmio.h"
#include "dev/virtio/pci.h"
#include "target/virt/internal.h"

#define DEVICES_MAX 32u
#define NO_SLOT     MIR__SLOTS_MAX

/* What is known of a place before there is a device. */
struct place {
    uint64_t physical;
    uint32_t size, gsi;
    bool is_level;
};

struct found {
    union {
        struct mir_virtio virtio; /* first of both */
        struct mir_virtio_mmio mmio;
        struct mir_virtio_pci pci;
    };
    bool is_pci;
    char text[24];
    struct place place; /* mmio */
    struct mir_virtio_driver *driver;
    struct mir__source source, config_source;
};

static struct found devices[DEVICES_MAX];
static uint32_t device_count;
static struct mir_pci pci;

/* ---- registers --------------------------------------------------------------------------------
 */

static uint32_t read_port(const struct mir_regs *regs, uint32_t offset, unsigned width)
{
    return mir__arch_port_read((uint16_t)(regs->at + offset), width);
}

static void write_port(const struct mir_regs *regs, uint32_t offset, unsigned width, uint32_t value)
{
    mir__arch_port_write((uint16_t)(regs->at + offset), width, value);
}

bool mir__virtio_is_memory(uint64_t address, uint64_t size)
{
    for (uint32_t i = 0; i < mir__boot.memory_count; i++) {
        const struct mir__region *region = &mir__boot.memory[i];
        if (address < region->base + region->size && region->base < address + size)
            return true;
    }
    return false;
}

static int map_registers(uint64_t address, uint64_t size, bool is_io, struct mir_regs *regs)
{
    if (is_io) {
        *regs = (struct mir_regs){
            .read = read_port, .write = write_port, .at = address, .size_bytes = (uint32_t)size};
        return address + size <= 0x10000 ? 0 : -MIR_ERANGE;
    }
    if (size == 0 || address + size < address || size > UINT32_MAX ||
        mir__virtio_is_memory(address, size))
        return -MIR_ERANGE;
    void *base = mir__arch_map_physical(address, size, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (base == NULL)
        return -MIR_ERANGE;
    *regs = mir_regs_mapped(base, (uint32_t)size);
    return 0;
}

/* Physical memory behind the page pool is one piece. */
static struct mir_virtio_dma dma_of(const struct mir__virt *v)
{
    size_t size;
    void *arena = mir_page_pool_arena(&v->pages, &size);
    return (struct mir_virtio_dma){
        .low = (uintptr_t)arena,
        .size = size,
        .offset = mir__arch_dma(arena) - (uintptr_t)arena,
        .other = mir__arch_dma,
    };
}

static struct found *new_device(const char *what)
{
    if (device_count == DEVICES_MAX) {
        MIR_LOG(TARGET, WARN, "more than %u virtio devices: %s is not used", DEVICES_MAX, what);
        return NULL;
    }
    struct found *found = &devices[device_count];
    *found = (struct found){.source = {.slot = NO_SLOT}, .config_source = {.slot = NO_SLOT}};
    mir_format(found->text, sizeof found->text, "%s", what);
    return found;
}

static void keep(struct mir__virt *v, struct found *found)
{
    found->virtio.dma = dma_of(v);
    device_count++;
}

/* ---- registers in memory ----------------------------------------------------------------------
 */

/* A number in decimal or, after 0x, hexadecimal; *@at moves behind it. */
static bool take_number(const char **at, uint64_t *value)
{
    const char *p = *at;
    unsigned base = p[0] == '0' && p[1] == 'x' ? 16 : 10;
    p += base == 16 ? 2 : 0;
    const char *first = p;
    *value = 0;
    for (;; p++) {
        unsigned lower = (unsigned char)*p | 0x20;
        unsigned digit = *p >= '0' && *p <= '9'         ? (unsigned)(*p - '0')
                         : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
                                                        : 16;
        if (digit >= base || *value > UINT64_MAX / 16 - 1)
            break;
        *value = *value * base + digit;
    }
    bool is_number = p > first;
    *at = p;
    return is_number;
}

/* "512@0xfeb02e00:11", "4K@0xd0000000:5:0" */
static bool parse_place(const char *text, struct place *place)
{
    uint64_t size, physical, gsi;
    if (!take_number(&text, &size))
        return false;
    if (*text == 'K' || *text == 'k') {
        size *= 1024;
        text++;
    }
    if (*text++ != '@' || !take_number(&text, &physical) || *text++ != ':' ||
        !take_number(&text, &gsi) || (*text != '\0' && *text != ':'))
        return false;
    *place = (struct place){physical, (uint32_t)MIR_MIN(size, 65536u), (uint32_t)gsi, false};
    return true;
}

struct places {
    struct place place[DEVICES_MAX];
    uint32_t count;
};

static void add_place(struct places *list, const struct place *place)
{
    uint32_t at = list->count;
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->place[i].physical == place->physical)
            return;
    }
    if (list->count == DEVICES_MAX)
        return;
    while (at > 0 && list->place[at - 1].physical > place->physical) {
        list->place[at] = list->place[at - 1];
        at--;
    }
    list->place[at] = *place;
    list->count++;
}

static void find_places(struct mir__virt *v, struct places *list)
{
    struct place place;
    for (unsigned i = 0; i < DEVICES_MAX; i++) {
        size_t size;
        unsigned gsi;
        if (!mir__arch_virtio_mmio(i, &place.physical, &size, &gsi, &place.is_level))
            break;
        place.size = (uint32_t)MIR_MIN(size, (size_t)65536);
        place.gsi = gsi;
        add_place(list, &place);
    }
    for (uint32_t i = 0; i < v->virtio_mmio_count; i++) {
        if (parse_place(v->virtio_mmio[i], &place))
            add_place(list, &place);
        else
            MIR_LOG(TARGET, WARN, "virtio_mmio.device=%s: not SIZE@ADDRESS:IRQ, not used",
                    v->virtio_mmio[i]);
    }
}

static void find_mmio(struct mir__virt *v)
{
    static struct places list;
    struct mir_regs regs;
    char text[24];
    find_places(v, &list);
    for (uint32_t i = 0; i < list.count; i++) {
        const struct place *place = &list.place[i];
        mir_format(text, sizeof text, "mmio 0x%llx", (unsigned long long)place->physical);
        if (map_registers(place->physical, place->size, false, &regs) < 0)
            continue;
        struct found *found = new_device(text);
        if (found == NULL)
            return;
        int r = mir_virtio_mmio_init(&found->mmio, &regs, v->app.clock, &v->pages);
        found->place = *place;
        if (r == 0)
            keep(v, found);
        else if (r != -MIR_ENOENT)
            MIR_LOG(TARGET, WARN, "%s: %s, not used", text, mir_strerror(r));
    }
}

/* ---- PCI ----------------------------------------------------------------------------------------
 */

static struct mir__pci_address address_of(uint16_t bdf)
{
    return (struct mir__pci_address){(uint8_t)(bdf >> 8), bdf >> 3 & 31, bdf & 7};
}

static uint32_t pci_read(const struct mir_pci *bus, uint16_t bdf, uint32_t offset, unsigned width)
{
    (void)bus;
    return mir__arch_pci_read(address_of(bdf), offset, width);
}

static void pci_write(const struct mir_pci *bus, uint16_t bdf, uint32_t offset, unsigned width,
                      uint32_t value)
{
    (void)bus;
    mir__arch_pci_write(address_of(bdf), offset, width, value);
}

static int pci_map(const struct mir_pci *bus, uint64_t address, uint64_t size_bytes, bool is_io,
                   struct mir_regs *regs)
{
    (void)bus;
    return map_registers(address, size_bytes, is_io, regs);
}

static bool on_pci(void *arg, const struct mir_pci_device *device)
{
    struct mir__virt *v = arg;
    struct mir__pci_address at = address_of(device->bdf);
    char text[24];
    if (!mir_virtio_pci_is(device)) {
        if (&mir__channels != NULL)
            mir__channels.found(device);
        return true;
    }
    mir_format(text, sizeof text, "pci %02x:%02x.%u", at.bus, at.device, at.function);
    struct found *found = new_device(text);
    if (found == NULL)
        return false;
    int r = mir_virtio_pci_init(&found->pci, device, false, v->app.clock, &v->pages);
    found->is_pci = true;
    if (r == 0)
        keep(v, found);
    else
        MIR_LOG(TARGET, WARN, "%s: %s, not used", text, mir_strerror(r));
    return true;
}

void mir__virtio_find(struct mir__virt *v)
{
    struct mir_pci_windows windows = {{0, 0}, {0, 0}, {0, 0}};
    uint8_t last_bus;
    find_mmio(v);
    if (!mir__arch_pci_open(&last_bus))
        return;
    pci = (struct mir_pci){.read = pci_read, .write = pci_write, .map = pci_map};
    if (mir__arch_pci_windows(&windows) && mir_pci_place(&pci, &windows))
        MIR_LOG(TARGET, INFO, "pci: no firmware gave addresses, they are ours");
    mir_pci_scan(&pci, on_pci, v);
}

/* ---- interrupts ---------------------------------------------------------------------------------
 */

static bool look(void *arg, bool is_interrupted)
{
    struct found *found = arg;
    unsigned events = 0;
    if (is_interrupted && found->virtio.queue_vector == MIR_VIRTIO_NO_VECTOR)
        events = found->virtio.ops->isr(&found->virtio);
    return found->driver != NULL && mir_virtio_driver_poll(found->driver, events);
}

static bool look_config(void *arg, bool is_interrupted)
{
    struct found *found = arg;
    if (is_interrupted && found->driver != NULL)
        (void)mir_virtio_driver_poll(found->driver, MIR_VIRTIO_EVENT_CONFIG);
    return is_interrupted;
}

static bool arm(void *arg)
{
    struct found *found = arg;
    return found->driver != NULL && mir_virtio_driver_arm(found->driver);
}

enum { CONFIG_ENTRY = 0, QUEUE_ENTRY = 1 };

/* Returns 0, or an error: there are no messages, or not enough. */
static int use_messages(struct found *found)
{
    struct mir_pci_msix msix;
    unsigned slots[2];
    int r = mir_pci_msix_open(&found->pci.pci, &msix);
    if (r == 0 && msix.count < 2)
        r = -MIR_ENOTSUP;
    for (unsigned i = 0; i < 2 && r == 0; i++) {
        uint64_t address;
        uint32_t data;
        r = mir__arch_irq_msi(&address, &data, &slots[i]);
        if (r == 0)
            mir_pci_msix_set(&msix, i, address, data);
    }
    if (r < 0)
        return r;
    mir_pci_msix_enable(&found->pci.pci, &msix);
    mir_virtio_pci_use_messages(&found->pci, CONFIG_ENTRY, QUEUE_ENTRY);
    found->config_source.slot = slots[CONFIG_ENTRY];
    found->source.slot = slots[QUEUE_ENTRY];
    return 0;
}

static int use_line(struct found *found)
{
    if (found->is_pci)
        return mir__arch_pci_line(address_of(found->pci.pci.bdf), &found->source.slot);
    return mir__arch_irq_line(found->place.gsi, found->place.is_level, false, &found->source.slot);
}

static void connect_interrupts(struct found *found)
{
    int r = found->is_pci ? use_messages(found) : -MIR_ENOTSUP;
    if (r < 0)
        r = use_line(found);
    if (r < 0) {
        found->source.slot = NO_SLOT;
        MIR_LOG(TARGET, WARN, "%s has no interrupt: it is only looked at", found->text);
    }
}

struct mir_virtio *mir__virtio_get(uint32_t device, unsigned index, const char **place)
{
    for (uint32_t i = 0; i < device_count; i++) {
        struct found *found = &devices[i];
        if (found->virtio.device != device || index-- > 0)
            continue;
        if (found->source.arg == NULL) {
            found->source.arg = found;
            connect_interrupts(found);
        }
        if (place != NULL)
            *place = found->text;
        return &found->virtio;
    }
    return NULL;
}

void mir__virtio_serve(struct mir__virt *v, struct mir_virtio_driver *driver)
{
    struct found *found = MIR_CONTAINER_OF(driver->virtio, struct found, virtio);
    found->driver = driver;
    found->source.look = look;
    found->source.arm = arm;
    mir__poll_add(&v->poll, &found->source);
    if (found->config_source.slot == NO_SLOT)
        return;
    found->config_source.look = look_config;
    found->config_source.arg = found;
    mir__poll_add(&v->poll, &found->config_source);
}

uint64_t mir__virtio_interrupts(const struct mir_virtio_driver *driver)
{
    const struct found *found = MIR_CONTAINER_OF(driver->virtio, struct found, virtio);
    uint64_t count = 0;
    if (found->source.slot != NO_SLOT)
        count += mir__arch_irq_count(found->source.slot);
    if (found->config_source.slot != NO_SLOT)
        count += mir__arch_irq_count(found->config_source.slot);
    return count;
}

void mir__virtio_end(void)
{
    for (uint32_t i = 0; i < device_count; i++) {
        struct found *found = &devices[i];
        if (found->driver == NULL)
            continue;
        found->driver = NULL;
        mir__poll_remove(&found->source);
        if (found->config_source.slot != NO_SLOT)
            mir__poll_remove(&found->config_source);
    }
}
