/* SPDX-License-Identifier: ISC */
/* Channels between domains of Xen.
 *
 *   server                                   client
 *   grants pages to the client's domain
 *   opens a port for it
 *   PATH/ring-ref       = first grant   ---> reads both, maps the grants, binds to the port
 *   PATH/event-channel  = its port
 *
 * as libxenvchan does it. The event channel is written last, so whoever finds it finds both.
 *
 * That a peer closed stands in the memory. That its domain died Xen tells the target, by the store;
 * until then its pages are there: grants of a dead domain stay mapped.
 *
 * The keys of the store are text that another domain wrote: numbers of ten digits at most, else the
 * peer is refused. Grants and ports that it names are checked by Xen.
 */
#include "dev/channel/xen/xen.h"

#include <mirari/format.h>

static struct mir_xen_channel *of_channel(struct mir_channel *channel)
{
    return MIR_CONTAINER_OF(channel, struct mir_xen_channel, channel);
}

static void key_path(const struct mir_xen_channel *end, const char *key,
                     char path[MIR_XEN_PATH_MAX + 16])
{
    mir_format(path, MIR_XEN_PATH_MAX + 16, "%s/%s", end->path, key);
}

static int write_key(struct mir_xen_channel *end, const char *key, uint32_t number)
{
    char path[MIR_XEN_PATH_MAX + 16], value[MIR_XEN_VALUE_MAX];
    key_path(end, key, path);
    mir_format(value, sizeof value, "%u", number);
    end->is_written = true;
    return end->config.ops->write(end->config.arg, path, value, end->config.domain);
}

static int read_key(struct mir_xen_channel *end, const char *key, uint32_t *number)
{
    char path[MIR_XEN_PATH_MAX + 16], value[MIR_XEN_VALUE_MAX] = "";
    uint64_t wide;
    key_path(end, key, path);
    int r = end->config.ops->read(end->config.arg, path, value);
    if (r < 0)
        return r == -MIR_ENOENT ? r : -MIR_EPROTO;
    value[sizeof value - 1] = '\0';
    if (mir_parse_u64(value, mir_str_len(value), UINT32_MAX, &wide) < 0)
        return -MIR_EPROTO;
    *number = (uint32_t)wide;
    return 0;
}

/* ---- the channel -------------------------------------------------------------------------------
 */

static struct mir__xen_area *new_area(struct mir_xen_channel *end, uint32_t count)
{
    bool is_possible =
        end->area_count < MIR_ARRAY_LEN(end->area) && count <= MIR_ARRAY_LEN(end->area[0].refs);
    return is_possible ? &end->area[end->area_count] : NULL;
}

static int xen_share(struct mir_channel *channel, uint32_t count, uint32_t *refs, void **at)
{
    struct mir_xen_channel *end = of_channel(channel);
    struct mir__xen_area *area = new_area(end, count);
    if (area == NULL)
        return -MIR_ELIMIT;
    int r =
        end->config.ops->grant(end->config.arg, end->config.domain, count, area->refs, &area->at);
    if (r < 0)
        return r;
    area->count = count;
    end->area_count++;
    mir_memcpy(refs, area->refs, count * sizeof refs[0]);
    *at = area->at;
    return 0;
}

static int xen_publish(struct mir_channel *channel, uint32_t ref)
{
    struct mir_xen_channel *end = of_channel(channel);
    int r = end->config.ops->open_port(end->config.arg, end->config.domain, &end->port);
    if (r < 0)
        return -MIR_EIO;
    end->has_port = true;
    r = write_key(end, "ring-ref", ref);
    return r < 0 ? r : write_key(end, "event-channel", end->port);
}

static int xen_map(struct mir_channel *channel, const uint32_t *refs, uint32_t count, void **at)
{
    struct mir_xen_channel *end = of_channel(channel);
    struct mir__xen_area *area = new_area(end, count);
    if (area == NULL)
        return -MIR_ELIMIT;
    int r = end->config.ops->map(end->config.arg, end->config.domain, refs, count, &area->at);
    if (r < 0)
        return r;
    area->count = count;
    end->area_count++;
    *at = area->at;
    return 0;
}

static void xen_notify(struct mir_channel *channel)
{
    struct mir_xen_channel *end = of_channel(channel);
    if (end->has_port)
        end->config.ops->notify(end->config.arg, end->port);
}

static void xen_close(struct mir_channel *channel)
{
    static const char *const keys[] = {"event-channel", "ring-ref"};
    struct mir_xen_channel *end = of_channel(channel);
    const struct mir_xen_config *config = &end->config;
    char path[MIR_XEN_PATH_MAX + 16];
    if (!end->is_open)
        return;
    end->is_open = false;
    for (unsigned i = 0; i < MIR_ARRAY_LEN(keys) && end->is_written; i++) {
        key_path(end, keys[i], path);
        config->ops->remove(config->arg, path);
    }
    if (end->has_port)
        config->ops->close_port(config->arg, end->port);
    while (end->area_count > 0) {
        struct mir__xen_area *area = &end->area[--end->area_count];
        if (channel->is_server)
            config->ops->ungrant(config->arg, area->refs, area->count, area->at);
        else
            config->ops->unmap(config->arg, area->at, area->count);
    }
}

static const struct mir_channel_ops xen_ops = {
    .share = xen_share,
    .publish = xen_publish,
    .map = xen_map,
    .notify = xen_notify,
    .close = xen_close,
};

static int init(struct mir_xen_channel *end, const struct mir_xen_config *config, bool is_server)
{
    size_t len = mir_str_len(config->path);
    if (len == 0 || len >= MIR_XEN_PATH_MAX)
        return -MIR_EINVAL;
    mir_memset(end, 0, sizeof *end);
    end->channel.ops = &xen_ops;
    end->channel.kind = "xen";
    end->channel.is_server = is_server;
    end->config = *config;
    end->is_open = true;
    mir_memcpy(end->path, config->path, len);
    return 0;
}

int mir_xen_channel_offer(struct mir_xen_channel *end, const struct mir_xen_config *config)
{
    return init(end, config, true);
}

int mir_xen_channel_join(struct mir_xen_channel *end, const struct mir_xen_config *config)
{
    uint32_t theirs = 0;
    int r = init(end, config, false);
    if (r == 0)
        r = read_key(end, "event-channel", &theirs);
    if (r == 0)
        r = read_key(end, "ring-ref", &end->channel.page_ref);
    if (r == 0)
        r = config->ops->bind_port(config->arg, config->domain, theirs, &end->port);
    end->has_port = r == 0;
    return r;
}

static void tell(struct mir_xen_channel *end)
{
    if (end->is_open && end->channel.event != NULL)
        end->channel.event(end->channel.arg);
}

void mir_xen_channel_rung(struct mir_xen_channel *end)
{
    tell(end);
}

void mir_xen_channel_lost(struct mir_xen_channel *end)
{
    end->channel.is_peer_gone = true;
    tell(end);
}
