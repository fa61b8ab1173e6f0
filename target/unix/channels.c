/* SPDX-License-Identifier: ISC */
/* Channels to other processes and to virtual machines of this host: a region of an ivshmem server
 * for each channel of the manifest (--channel NAME=PATH; `mirari run` starts the server and gives
 * the option).
 *
 * A region is joined before the sandbox closes, and all of its memory is mapped then. Afterwards
 * channels come and go in it by reading and writing: bells are descriptors, and those of peers that
 * come later arrive as messages of the server's socket, which is open.
 */
#include <stdio.h>
#include <string.h>

#include <mirari/channel.h>

#include "dev/channel/ivshmem_host/ivshmem.h"
#include "target/unix/internal.h"

static struct place {
    struct mir_ivshmem_peer peer;
    struct mir_region_port port;
    bool is_open;
} places[MIR_APP_CHANNELS_MAX];
static struct mir_channel_port *ports[MIR_APP_CHANNELS_MAX];

/* Does "NAME=PATH" name it? NULL: no. */
static const char *path_in(const char *text, const char *name)
{
    size_t len = strlen(name);
    return strncmp(text, name, len) == 0 && text[len] == '=' && text[len + 1] != '\0'
               ? text + len + 1
               : NULL;
}

static int check_options(const struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    for (uint32_t i = 0; i < u->options.channel_count; i++) {
        bool is_known = false;
        for (uint32_t k = 0; k < mir_manifest.channel_count; k++)
            is_known |= path_in(u->options.channel[i], mir_manifest.channels[k].name) != NULL;
        if (is_known)
            continue;
        snprintf(error, MIR__ERROR_MAX,
                 "--channel: \"%.80s\": NAME=PATH expected, with a channel of the manifest",
                 u->options.channel[i]);
        return -MIR_EINVAL;
    }
    return 0;
}

static int join(struct mir__unix *u, uint32_t index, const char *path, char error[MIR__ERROR_MAX])
{
    struct place *place = &places[index];
    const struct mir_ivshmem_peer_config config = {
        .poll = &u->poll.base, .changed = mir_region_port_changed, .arg = &place->port};
    mir_region_port_init(&place->port, &place->peer.region);
    int r = mir_ivshmem_peer_join(&place->peer, path, 0, &config);
    if (r < 0) {
        snprintf(error, MIR__ERROR_MAX,
                 "channel %s: \"%.100s\": %s; start its server: `mirari vchan "
                 "ivshmem`",
                 mir_manifest.channels[index].name, path, mir_strerror(r));
        return r == -MIR_EINVAL ? -MIR_EIO : r;
    }
    place->is_open = true;
    ports[index] = &place->port.port;
    u->sandbox_needs |= MIR__SANDBOX_CHANNEL;
    return 0;
}

int mir__channels_open(struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    int r = check_options(u, error);
    for (uint32_t i = 0; i < mir_manifest.channel_count && r == 0; i++) {
        const struct mir_manifest_channel *channel = &mir_manifest.channels[i];
        const char *path = NULL;
        for (uint32_t k = 0; k < u->options.channel_count && path == NULL; k++)
            path = path_in(u->options.channel[k], channel->name);
        if (path != NULL) {
            r = join(u, i, path, error);
        } else if (!channel->is_optional) {
            snprintf(error, MIR__ERROR_MAX,
                     "channel %s: in which region? --channel %s=PATH, or let `mirari run` do it",
                     channel->name, channel->name);
            r = -MIR_EINVAL;
        }
    }
    u->app.channels = ports;
    u->app.channel_count = mir_manifest.channel_count;
    return r;
}

void mir__channels_close(struct mir__unix *u)
{
    for (uint32_t i = 0; i < u->app.channel_count; i++)
        if (places[i].is_open)
            mir_ivshmem_peer_leave(&places[i].peer);
    u->app.channel_count = 0;
}
