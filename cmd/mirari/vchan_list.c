/* SPDX-License-Identifier: ISC */
/* `mirari vchan ls` and `stat`: channels of this machine, seen from outside.
 *
 * No process is asked: the memory of every channel is a file without a name that both ends hold
 * open, so it is found in /proc/PID/fd by how it is called, and read. What is read belongs to
 * others and may change meanwhile or be wrong: it is shown, not believed. Only processes that may
 * be looked at are found (one's own; for root, all). Servers that wait for clients are the sockets
 * in the folder of names.
 *
 * The memory of a region, where virtual machines come too, is such a file as well; its first page
 * tells which channels it has, and which process joined the two ends for themselves or for a
 * machine. A region without channels is shown as one line.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "cmd/mirari/vchan.h"

#define CHANNELS_MAX 1024u

/* The first bytes of the shared page. */
struct head {
    uint32_t left_cons, left_prod, right_cons, right_prod;
    uint16_t left_order, right_order;
    uint8_t cli_live, srv_live, cli_notify, srv_notify;
};

struct channel {
    char *name;
    ino_t file;
    struct head head;
    struct mir_memfd_label label;
    bool is_waiting; /* a server without clients, a region without channels */
    bool is_region;
    bool is_lost; /* an end went without closing */
    uint32_t slot;
    unsigned holders;
};

struct channels {
    struct channel item[CHANNELS_MAX];
    size_t count;
};

static const char *state_of(const struct channel *channel)
{
    if (channel->is_waiting)
        return channel->is_region ? "region" : "listening";
    if (channel->is_lost)
        return "lost";
    if (channel->head.srv_live == 0 || channel->head.cli_live == 0)
        return "closed";
    if (channel->holders < 2 && channel->label.server_pid != channel->label.client_pid)
        return "alone";
    return channel->head.cli_live == 2 ? "waiting" : "open";
}

static uint32_t fill(uint32_t prod, uint32_t cons)
{
    return prod - cons;
}

static uint32_t size_of(uint16_t order)
{
    return order <= MIR_VCHAN_ORDER_MAX ? 1u << order : 0;
}

/* Read a channel's file through a descriptor of another process. */
static bool read_channel(int folder, const char *fd_name, struct channel *channel)
{
    struct stat st;
    int fd = openat(folder, fd_name, O_RDONLY | O_CLOEXEC);
    bool is_good =
        fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= 2 * (off_t)MIR_CHANNEL_PAGE &&
        pread(fd, &channel->head, sizeof(channel->head), 0) == (ssize_t)sizeof(channel->head) &&
        pread(fd, &channel->label, sizeof(channel->label), st.st_size - (off_t)MIR_CHANNEL_PAGE) ==
            (ssize_t)sizeof(channel->label) &&
        memcmp(channel->label.magic, MIR_MEMFD_MAGIC, 8) == 0;
    if (is_good)
        channel->file = st.st_ino;
    if (fd >= 0)
        close(fd);
    return is_good;
}

static uint32_t pid_of(const struct mir_region_board *board, uint64_t number)
{
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++)
        if (board->peer[i].number == (uint32_t)number + 1)
            return board->peer[i].pid;
    return 0;
}

/* The channel in slot @index of a region. False: there is none. */
static bool read_slot(int fd, const struct mir_region_board *board, uint32_t index,
                      struct channel *channel)
{
    uint64_t word = board->slot[index].word;
    off_t page = board->slot_first + (off_t)index * board->slot_pages;
    channel->slot = index;
    channel->label.server_pid = pid_of(board, word >> 32 & 0xffff);
    channel->label.client_pid = word & MIR_REGION_TAKEN ? pid_of(board, word >> 48) : 0;
    if ((word & (MIR_REGION_OFFERED | MIR_REGION_TAKEN)) == 0 ||
        pread(fd, &channel->head, sizeof(channel->head), page * (off_t)MIR_CHANNEL_PAGE) !=
            (ssize_t)sizeof(channel->head))
        return false;
    channel->is_lost = ((word & MIR_REGION_NO_SERVER) && channel->head.srv_live == 1) ||
                       ((word & MIR_REGION_NO_CLIENT) && channel->head.cli_live == 1);
    return true;
}

static bool is_known(const struct channels *channels, ino_t file)
{
    for (size_t i = 0; i < channels->count; i++)
        if (channels->item[i].file == file)
            return true;
    return false;
}

/* All channels of a region, through a descriptor of another process. */
static void look_at_region(struct channels *channels, int folder, const char *fd_name,
                           const char *name)
{
    struct mir_region_board board;
    struct stat st;
    size_t before = channels->count;
    int fd = openat(folder, fd_name, O_RDONLY | O_CLOEXEC);
    bool is_good = fd >= 0 && fstat(fd, &st) == 0 && !is_known(channels, st.st_ino) &&
                   pread(fd, &board, sizeof(board), 0) == (ssize_t)sizeof(board) &&
                   memcmp(board.magic, MIR_REGION_MAGIC, sizeof(board.magic)) == 0 &&
                   board.slot_count <= MIR_REGION_SLOTS_MAX;
    for (uint32_t i = 0; is_good && i <= board.slot_count && channels->count < CHANNELS_MAX; i++) {
        struct channel channel = {.file = st.st_ino, .is_region = true, .holders = 2};
        bool is_last = i == board.slot_count;
        if (is_last ? channels->count > before : !read_slot(fd, &board, i, &channel))
            continue;
        channel.is_waiting = is_last;
        channel.name = need_text(name, strlen(name));
        channels->item[channels->count++] = channel;
    }
    if (fd >= 0)
        close(fd);
}

/* A descriptor of a process: one of ours? */
static void look_at(struct channels *channels, int folder, const char *fd_name)
{
    static const char prefix[] = "/memfd:" MIR_MEMFD_NAME, region[] = "/memfd:" MIR_IVSHMEM_NAME;
    char target[300];
    ssize_t len = readlinkat(folder, fd_name, target, sizeof(target) - 1);
    if (len <= 0)
        return;
    target[len] = '\0';
    char *end = strstr(target, " (deleted)");
    if (end != NULL)
        *end = '\0';
    if (strncmp(target, region, sizeof(region) - 1) == 0)
        look_at_region(channels, folder, fd_name, target + sizeof(region) - 1);
    if (strncmp(target, prefix, sizeof(prefix) - 1) != 0 || channels->count == CHANNELS_MAX)
        return;
    struct channel channel = {.holders = 1};
    if (!read_channel(folder, fd_name, &channel))
        return;
    for (size_t i = 0; i < channels->count; i++)
        if (channels->item[i].file == channel.file) {
            channels->item[i].holders++;
            return;
        }
    channel.name = need_text(target + sizeof(prefix) - 1, strlen(target + sizeof(prefix) - 1));
    channels->item[channels->count++] = channel;
}

static void look_at_process(struct channels *channels, const char *pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIR *dir = opendir(path);
    for (struct dirent *item; dir != NULL && (item = readdir(dir)) != NULL;)
        if (item->d_name[0] != '.')
            look_at(channels, dirfd(dir), item->d_name);
    if (dir != NULL)
        closedir(dir);
}

/* Servers: sockets of the folder that somebody listens at, as the kernel's list has it. */
static void add_listeners(struct channels *channels, const char *folder, const char *only)
{
    struct str text = {0};
    DIR *dir = opendir(folder);
    (void)file_read("/proc/net/unix", (size_t)64 << 20, &text);
    for (struct dirent *item; dir != NULL && (item = readdir(dir)) != NULL;) {
        /* The kernel shows the name they were bound under, with a number behind. */
        char *line = need_format(" %s/%s.", folder, item->d_name);
        bool is_listed = false;
        for (size_t i = 0; i < channels->count; i++)
            is_listed |= strcmp(channels->item[i].name, item->d_name) == 0;
        if (text.data != NULL && strstr(text.data, line) != NULL && !is_listed &&
            channels->count < CHANNELS_MAX && (only == NULL || strcmp(only, item->d_name) == 0))
            channels->item[channels->count++] = (struct channel){
                .name = need_text(item->d_name, strlen(item->d_name)), .is_waiting = true};
        free(line);
    }
    if (dir != NULL)
        closedir(dir);
    str_free(&text);
}

static int by_name(const void *a, const void *b)
{
    const struct channel *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order == 0 && x->file == y->file)
        return x->slot < y->slot ? -1 : x->slot > y->slot;
    return order != 0 ? order : x->file < y->file ? -1 : 1;
}

/* All channels, or those of one name. */
static struct channels *find(const char *only)
{
    struct channels *channels = need(sizeof(*channels));
    char *folder = vchan_folder();
    DIR *proc = opendir("/proc");
    if (folder == NULL)
        return NULL;
    for (struct dirent *item; proc != NULL && (item = readdir(proc)) != NULL;)
        if (item->d_name[0] >= '1' && item->d_name[0] <= '9')
            look_at_process(channels, item->d_name);
    if (proc != NULL)
        closedir(proc);
    size_t kept = 0;
    for (size_t i = 0; i < channels->count; i++)
        if (only == NULL || strcmp(only, channels->item[i].name) == 0)
            channels->item[kept++] = channels->item[i];
    channels->count = kept;
    add_listeners(channels, folder, only);
    if (channels->count > 1)
        qsort(channels->item, channels->count, sizeof(channels->item[0]), by_name);
    return channels;
}

static void show_json(const struct channels *channels)
{
    struct str out = {0};
    str_text(&out, "[");
    for (size_t i = 0; i < channels->count; i++) {
        const struct channel *c = &channels->item[i];
        str_text(&out, i > 0 ? ",\n {\"name\": " : "{\"name\": ");
        str_json(&out, c->name);
        str_format(&out, ", \"state\": \"%s\"", state_of(c));
        if (!c->is_waiting)
            str_format(&out,
                       ", \"server_pid\": %u, \"client_pid\": %u, "
                       "\"to_server\": {\"bytes\": %u, \"size\": %u, \"written\": %u}, "
                       "\"to_client\": {\"bytes\": %u, \"size\": %u, \"written\": %u}",
                       c->label.server_pid, c->label.client_pid,
                       fill(c->head.left_prod, c->head.left_cons), size_of(c->head.left_order),
                       c->head.left_prod, fill(c->head.right_prod, c->head.right_cons),
                       size_of(c->head.right_order), c->head.right_prod);
        str_text(&out, "}");
    }
    str_text(&out, "]\n");
    fwrite(out.data, 1, out.len, stdout);
    str_free(&out);
}

static void show_table(const struct channels *channels)
{
    if (channels->count == 0)
        return;
    printf("%-20s %-9s %8s %8s %17s %17s\n", "NAME", "STATE", "SERVER", "CLIENT", "TO SERVER",
           "TO CLIENT");
    for (size_t i = 0; i < channels->count; i++) {
        const struct channel *c = &channels->item[i];
        struct str name = {0};
        char left[32] = "-", right[32] = "-", server[16] = "-", client[16] = "-";
        str_visible(&name, c->name);
        if (!c->is_waiting) {
            snprintf(left, sizeof(left), "%u/%u", fill(c->head.left_prod, c->head.left_cons),
                     size_of(c->head.left_order));
            snprintf(right, sizeof(right), "%u/%u", fill(c->head.right_prod, c->head.right_cons),
                     size_of(c->head.right_order));
            snprintf(server, sizeof(server), "%u", c->label.server_pid);
            snprintf(client, sizeof(client), "%u", c->label.client_pid);
        }
        printf("%-20s %-9s %8s %8s %17s %17s\n", name.data, state_of(c), server, client, left,
               right);
        str_free(&name);
    }
}

static void show_ring(const char *what, uint32_t prod, uint32_t cons, uint16_t order,
                      const char *asked)
{
    printf("%s: order %u (%u bytes), written %u, read %u, waiting %u%s\n", what, order,
           size_of(order), prod, cons, fill(prod, cons), asked);
}

static void show_long(const struct channel *c)
{
    printf("name: %s\nstate: %s\n", c->name, state_of(c));
    if (c->is_waiting)
        return;
    const struct head *h = &c->head;
    printf("server: %u (%s)\nclient: %u (%s)\n", c->label.server_pid,
           h->srv_live == 1 ? "here" : "gone", c->label.client_pid,
           h->cli_live == 1   ? "here"
           : h->cli_live == 2 ? "not yet"
                              : "gone");
    if (!c->is_region)
        printf("since: %.3f s\n", (double)(mir_memfd_now() - c->label.since_us) / 1e6);
    show_ring("to server", h->left_prod, h->left_cons, h->left_order,
              h->cli_notify & 1 ? ", the server asks for news" : "");
    show_ring("to client", h->right_prod, h->right_cons, h->right_order,
              h->srv_notify & 1 ? ", the client asks for news" : "");
    if (h->cli_notify & 2)
        printf("the server waits for room\n");
    if (h->srv_notify & 2)
        printf("the client waits for room\n");
}

static bool find_argument(const char *command, int argc, char **argv, bool *json, const char **name)
{
    static const char *const names[] = {"--json"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            *json = true;
        else if (argv[i][0] != '-' && name != NULL && *name == NULL)
            *name = argv[i];
        else
            return usage_error(command, argv[i], names, LEN(names)) == 0;
    }
    return true;
}

int vchan_ls(int argc, char **argv)
{
    bool json = false;
    if (!find_argument("vchan ls", argc, argv, &json, NULL))
        return EXIT_USAGE;
    struct channels *channels = find(NULL);
    if (channels == NULL)
        return EXIT_FAIL;
    if (json)
        show_json(channels);
    else
        show_table(channels);
    return 0;
}

int vchan_stat(int argc, char **argv)
{
    bool json = false;
    const char *name = NULL;
    if (!find_argument("vchan stat", argc, argv, &json, &name))
        return EXIT_USAGE;
    if (name == NULL) {
        complain("vchan stat: name a channel; `mirari vchan ls` lists them");
        return EXIT_USAGE;
    }
    struct channels *channels = find(name);
    if (channels == NULL)
        return EXIT_FAIL;
    if (channels->count == 0) {
        complain("no channel \"%s\"; `mirari vchan ls` lists them", name);
        return EXIT_FAIL;
    }
    if (json)
        show_json(channels);
    for (size_t i = 0; !json && i < channels->count; i++) {
        if (i > 0)
            puts("");
        show_long(&channels->item[i]);
    }
    return 0;
}
