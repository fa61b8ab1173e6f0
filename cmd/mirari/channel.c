/* SPDX-License-Identifier: ISC */
/* The regions in which an appliance makes its channels.
 *
 * Each channel of the manifest is one region, of the channel's own name if nobody says otherwise
 * (--channel NAME=REGION). A machine gets an ivshmem device for each, in the manifest's order; a
 * process is told where their servers are. A region
 * is a server: `mirari vchan ivshmem`. One that is not there is started; it ends when its last peer
 * has gone, so machines and processes that use it may come and go in any order.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/mirari/vchan.h"
#include "cmd/mirari/vm.h"
#include "dev/channel/memfd/place.h"

/* The region that the options name for channel @name; NULL: none. Without a name it is for the
 * first one. */
static const char *region_of(const struct run *run, const char *name, bool is_first)
{
    const struct list *options = &run->vm_options.channels;
    const char *found = NULL;
    for (size_t i = 0; i < options->count; i++) {
        const char *text = options->item[i], *equal = strchr(text, '=');
        if (equal == NULL && is_first)
            found = text;
        else if (equal != NULL && strlen(name) == (size_t)(equal - text) &&
                 memcmp(name, text, strlen(name)) == 0)
            found = equal + 1;
    }
    return found;
}

static int check_names(const struct run *run)
{
    const struct manifest *m = &run->manifest;
    for (size_t i = 0; i < run->vm_options.channels.count; i++) {
        const char *text = run->vm_options.channels.item[i], *equal = strchr(text, '=');
        bool is_known = equal == NULL && m->channel_count > 0;
        for (size_t k = 0; k < m->channel_count && equal != NULL; k++)
            is_known |= strlen(m->channel[k].name) == (size_t)(equal - text) &&
                        memcmp(m->channel[k].name, text, (size_t)(equal - text)) == 0;
        if (is_known)
            continue;
        complain("run: --channel %s: the appliance has no such channel; name it in %s: "
                 "channel NAME { }",
                 text, m->file);
        return EXIT_USAGE;
    }
    return 0;
}

int channel_plan(const struct run *run, struct list *paths)
{
    const struct manifest *m = &run->manifest;
    int r = check_names(run);
    for (size_t i = 0; i < m->channel_count && r == 0; i++) {
        const char *region = region_of(run, m->channel[i].name, i == 0);
        char *path = vchan_path("run", region != NULL ? region : m->channel[i].name);
        if (path == NULL)
            return EXIT_USAGE;
        list_add(paths, path);
        free(path);
    }
    return r;
}

int channel_open(const struct list *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        const char *path = paths->item[i];
        int sock, r = mir__place_connect(path, SOCK_STREAM, 0, &sock);
        if (r == 0)
            close(sock);
        if (r == -MIR_ENOTSUP) {
            complain("channel \"%s\": what listens there is for processes only; end it, then "
                     "`mirari vchan ivshmem NAME`",
                     path);
            return EXIT_FAIL;
        }
        if (r < 0 && vchan_region_start(path) != 0) {
            complain("channel \"%s\": cannot start a server for it", path);
            return EXIT_FAIL;
        }
    }
    return 0;
}
