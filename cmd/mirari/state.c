/* SPDX-License-Identifier: ISC */
/* The running appliances of a user: one folder each, and the commands ps, stop and logs.
 *
 *   ${XDG_RUNTIME_DIR:-/tmp/mirari-UID}/mirari/     0700, ours, no symbolic link
 *       NAME-PID/info     lines "key value"; pid, start, target, ... later also net and url
 *       NAME-PID/log      what it printed; log.1 is the part before, when it grew large
 *       NAME.log          log of a detached appliance that failed, until it is started again
 *       NAME.crash        record of the last one, if it crashed (crash.c)
 *
 * A folder appears whole: it is filled under another name and renamed. A process is known by its id
 * and its start time, so an id that the system gave to somebody else is not mistaken, and stop
 * holds a pidfd while it checks and signals. Folders whose appliance and whose `mirari run` are
 * both gone (kill -9, power) are removed by whoever sees them first.
 *
 * All files are opened relative to the folder's descriptor, which was checked after opening, so
 * nobody who can write to /tmp can lead us elsewhere.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/mirari/tool.h"

#define END_MS 60000 /* for the rest of an end that has begun */

struct entry {
    char *folder, *name, *target, *where, *nets;
    pid_t pid, supervisor;
    uint64_t start, supervisor_start;
    int64_t began;
};

uint64_t process_start(pid_t pid)
{
    char path[64];
    struct str text = {0};
    uint64_t start = 0;
    if (pid <= 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    /* The name, in parentheses, may hold anything: fields are counted after the last ')'. */
    const char *at = file_read(path, 4096, &text) == 0 ? strrchr(text.data, ')') : NULL;
    int process_state = at != NULL && at[1] == ' ' ? at[2] : 'X';
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL && process_state != 'Z' && process_state != 'X')
        start = strtoull(at + 1, NULL, 10);
    str_free(&text);
    return start;
}

/* ---- folders
 * -------------------------------------------------------------------------------------- */

static int refuse_folder(const char *path, const char *what)
{
    complain("folder \"%s\" %s; remove it, or set XDG_RUNTIME_DIR to a folder of your own", path,
             what);
    return EXIT_FAIL;
}

/* Open a folder that must be ours. Returns its descriptor or -1 after a message. */
static int open_own(int parent, const char *name, const char *path, bool may_be_link,
                    bool is_private)
{
    struct stat st;
    int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (may_be_link ? 0 : O_NOFOLLOW));
    if (fd < 0) {
        refuse_folder(path, errno == ELOOP || errno == ENOTDIR ? "is not a folder or is a link"
                                                               : strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) != 0 || st.st_uid != geteuid())
        refuse_folder(path, "belongs to another user");
    else if (is_private && (st.st_mode & 077) != 0)
        refuse_folder(path, "is open to other users");
    else
        return fd;
    close(fd);
    return -1;
}

int state_open(struct state *state)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    /* sudo may leave us the folder of another user: then it is not for us. */
    bool is_given = xdg != NULL && xdg[0] == '/' && stat(xdg, &st) == 0 && S_ISDIR(st.st_mode) &&
                    st.st_uid == geteuid();
    char *root =
        is_given ? need_text(xdg, strlen(xdg)) : need_format("/tmp/mirari-%u", (unsigned)geteuid());
    *state = (struct state){.base_fd = -1, .fd = -1, .base = path_join(root, "mirari")};
    if (!is_given && mkdir(root, 0700) != 0 && errno != EEXIST)
        return refuse_folder(root, strerror(errno));
    int fd = open_own(AT_FDCWD, root, root, is_given, !is_given);
    free(root);
    if (fd < 0)
        return EXIT_FAIL;
    if (mkdirat(fd, "mirari", 0700) != 0 && errno != EEXIST) {
        int error = errno;
        close(fd);
        return refuse_folder(state->base, strerror(error));
    }
    state->base_fd = open_own(fd, "mirari", state->base, false, true);
    close(fd);
    return state->base_fd < 0 ? EXIT_FAIL : 0;
}

void info_line(struct str *info, const char *key, const char *value)
{
    str_format(info, "%s ", key);
    str_visible(info, value);
    str_text(info, "\n");
}

static int write_file(int folder_fd, const char *name, int flags, const char *data, size_t len)
{
    int fd = openat(folder_fd, name, flags | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t put = write(fd, data, len);
    close(fd);
    return put == (ssize_t)len ? 0 : -EIO;
}

int state_add(struct state *state, const char *name, pid_t pid, const struct str *info)
{
    char *fresh = need_format(".new-%d", (int)pid);
    state->folder = need_format("%s-%d", name, (int)pid);
    (void)remove_tree(state->base_fd, fresh);
    (void)remove_tree(state->base_fd, state->folder); /* of an earlier process with this id */
    int result = mkdirat(state->base_fd, fresh, 0700) != 0 ? -errno : 0;
    if (result == 0) {
        state->fd = openat(state->base_fd, fresh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        result = state->fd < 0 ? -errno : 0;
    }
    if (result == 0)
        result = write_file(state->fd, "info", O_CREAT | O_EXCL, info->data, info->len);
    if (result == 0)
        result = write_file(state->fd, "log", O_CREAT | O_EXCL, "", 0);
    if (result == 0 && renameat(state->base_fd, fresh, state->base_fd, state->folder) != 0)
        result = -errno;
    if (result != 0)
        (void)remove_tree(state->base_fd, fresh);
    free(fresh);
    return result;
}

void state_note(struct state *state, const char *key, const char *value)
{
    struct str line = {0};
    info_line(&line, key, value);
    if (write_file(state->fd, "info", O_APPEND, line.data, line.len) != 0)
        complain("cannot note \"%s\" in %s/%s", key, state->base, state->folder);
    str_free(&line);
}

void state_remove(struct state *state, const char *name, bool keep_log)
{
    if (keep_log) {
        char *kept = need_format("%s.log", name);
        (void)renameat(state->fd, "log", state->base_fd, kept);
        free(kept);
    }
    (void)remove_tree(state->base_fd, state->folder);
    if (state->fd >= 0)
        close(state->fd);
    state->fd = -1;
}

/* ---- entries
 * --------------------------------------------------------------------------------------- */

static void read_info(char *text, struct entry *entry)
{
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, ' ');
        if (value == NULL)
            continue;
        *value++ = '\0';
        const struct {
            const char *key;
            char **text;
        } texts[] = {{"name", &entry->name}, {"target", &entry->target}, {"folder", &entry->where}};
        for (size_t i = 0; i < LEN(texts); i++)
            if (strcmp(line, texts[i].key) == 0 && *texts[i].text == NULL)
                *texts[i].text = need_text(value, strlen(value));
        if (strcmp(line, "pid") == 0)
            entry->pid = (pid_t)strtol(value, NULL, 10);
        else if (strcmp(line, "start") == 0)
            entry->start = strtoull(value, NULL, 10);
        else if (strcmp(line, "supervisor") == 0)
            entry->supervisor = (pid_t)strtol(value, NULL, 10);
        else if (strcmp(line, "supervisor-start") == 0)
            entry->supervisor_start = strtoull(value, NULL, 10);
        else if (strcmp(line, "began") == 0)
            entry->began = strtoll(value, NULL, 10);
        else if (strcmp(line, "net") == 0 || strcmp(line, "url") == 0) {
            char *more = need_format("%s%s%s", entry->nets != NULL ? entry->nets : "",
                                     entry->nets != NULL ? " " : "", value);
            free(entry->nets);
            entry->nets = more;
        }
    }
}

static bool is_running(pid_t pid, uint64_t start)
{
    uint64_t now = process_start(pid);
    return now != 0 && now == start;
}

/* The appliance is gone. If nobody looks after its folder, it goes; what it did last is kept. */
static void tidy(struct state *state, const struct entry *entry)
{
    if (is_running(entry->supervisor, entry->supervisor_start))
        return;
    crash_rescue(state->base_fd, entry->folder);
    (void)remove_tree(state->base_fd, entry->folder);
}

static bool load_entry(struct state *state, const char *folder, struct entry *entry)
{
    *entry = (struct entry){.folder = need_text(folder, strlen(folder))};
    int fd = openat(state->base_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    char path[64];
    struct str text = {0};
    snprintf(path, sizeof(path), "/proc/self/fd/%d/info", fd);
    int r = file_read(path, 1 << 20, &text);
    close(fd);
    if (r == 0)
        read_info(text.data, entry);
    str_free(&text);
    if (entry->name == NULL)
        entry->name = need_text("?", 1);
    if (entry->target == NULL)
        entry->target = need_text("?", 1);
    return is_running(entry->pid, entry->start);
}

static int by_name(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : (left->pid > right->pid) - (left->pid < right->pid);
}

static void free_entry(struct entry *entry)
{
    free(entry->folder);
    free(entry->name);
    free(entry->target);
    free(entry->where);
    free(entry->nets);
}

/* The running appliances, by name. What is left of dead ones is removed. */
static struct entry *load_entries(struct state *state, size_t *count)
{
    struct list folders = {0};
    int fd = openat(state->base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *item; dir != NULL && (item = readdir(dir)) != NULL;) {
        const char *dash = strrchr(item->d_name, '-');
        if (strncmp(item->d_name, ".new-", 5) == 0) {
            if (process_start((pid_t)strtol(item->d_name + 5, NULL, 10)) == 0)
                (void)remove_tree(state->base_fd, item->d_name);
        } else if (item->d_name[0] != '.' && dash != NULL && strtol(dash + 1, NULL, 10) > 0) {
            list_add(&folders, item->d_name);
        }
    }
    if (dir != NULL)
        closedir(dir);
    struct entry *entries = need((folders.count + 1) * sizeof(*entries));
    *count = 0;
    for (size_t i = 0; i < folders.count; i++) {
        struct entry *entry = &entries[*count];
        if (load_entry(state, folders.item[i], entry)) {
            (*count)++;
            continue;
        }
        tidy(state, entry);
        free_entry(entry);
    }
    for (size_t i = 0; i < folders.count; i++)
        free(folders.item[i]);
    free(folders.item);
    if (*count > 1)
        qsort(entries, *count, sizeof(*entries), by_name);
    return entries;
}

void state_each(struct state *state,
                void (*each)(void *arg, const char *folder, const char *name, const char *target),
                void *arg)
{
    size_t count;
    struct entry *entries = load_entries(state, &count);
    for (size_t i = 0; i < count; i++) {
        each(arg, entries[i].folder, entries[i].name, entries[i].target);
        free_entry(&entries[i]);
    }
    free(entries);
}

/* Entries called NAME, or with that process id. */
static size_t select_entries(struct entry *entries, size_t count, const char *who,
                             struct entry **chosen)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        char pid[16];
        snprintf(pid, sizeof(pid), "%d", (int)entries[i].pid);
        if (strcmp(entries[i].name, who) != 0 && strcmp(pid, who) != 0 &&
            strcmp(entries[i].folder, who) != 0)
            continue;
        if (found++ == 0)
            *chosen = &entries[i];
    }
    return found;
}

/* The one entry that @who means, or NULL after a message. */
static struct entry *choose_entry(struct state *state, const char *who)
{
    size_t count;
    struct entry *entries = load_entries(state, &count), *chosen = NULL;
    size_t found = select_entries(entries, count, who, &chosen);
    if (found == 1)
        return chosen;
    if (found == 0) {
        const char **names = need((count + 1) * sizeof(*names));
        for (size_t i = 0; i < count; i++)
            names[i] = entries[i].name;
        complain("no appliance \"%s\" is running%s; `mirari ps` lists those that are", who,
                 did_you_mean(who, names, count));
        free(names);
        return NULL;
    }
    struct str pids = {0};
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].name, who) == 0)
            str_format(&pids, " %d", (int)entries[i].pid);
    complain("%zu appliances are called \"%s\"; choose one by its process id:%s", found, who,
             pids.data != NULL ? pids.data : "");
    str_free(&pids);
    return NULL;
}

int state_find(struct state *state, const char *who)
{
    struct entry *entry = choose_entry(state, who);
    if (entry == NULL)
        return -1;
    int fd = openat(state->base_fd, entry->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        complain("\"%s\" has just ended", who);
    return fd;
}

/* ---- ps
 * ---------------------------------------------------------------------------------------------- */

static void show_uptime(int64_t began, char *out, size_t size)
{
    int64_t s = (int64_t)time(NULL) - began;
    if (began == 0 || s < 0)
        s = 0;
    if (s < 60)
        snprintf(out, size, "%ds", (int)s);
    else if (s < 3600)
        snprintf(out, size, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        snprintf(out, size, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(out, size, "%dd%02dh", (int)(s / 86400), (int)(s / 3600 % 24));
}

int cmd_ps(int argc, char **argv)
{
    static const char *const names[] = {"-q", "--quiet"};
    bool quiet = false;
    struct state state;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-q") != 0 && strcmp(argv[i], "--quiet") != 0)
            return usage_error("ps", argv[i], names, LEN(names));
        quiet = true;
    }
    if (state_open(&state) != 0)
        return EXIT_FAIL;
    size_t count;
    struct entry *entries = load_entries(&state, &count);
    int width = 4, net_width = 3;
    for (size_t i = 0; i < count; i++) {
        int len = (int)strlen(entries[i].name);
        int net = entries[i].nets != NULL ? (int)strlen(entries[i].nets) : 1;
        width = len > width ? len : width;
        net_width = net > net_width ? net : net_width;
    }
    if (!quiet)
        printf("%-*s %7s %-6s %7s  %-*s  %s\n", width, "NAME", "PID", "TARGET", "UPTIME", net_width,
               "NET", "LOG");
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &entries[i];
        char uptime[32];
        show_uptime(entry->began, uptime, sizeof(uptime));
        if (quiet)
            printf("%d\n", (int)entry->pid);
        else
            printf("%-*s %7d %-6s %7s  %-*s  %s/%s/log\n", width, entry->name, (int)entry->pid,
                   entry->target, uptime, net_width, entry->nets != NULL ? entry->nets : "-",
                   state.base, entry->folder);
    }
    return 0;
}

/* ---- stop
 * ---------------------------------------------------------------------------------------------- */

/* True when the process behind @fd has ended within @ms. */
static bool has_ended(int fd, int64_t ms)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + ms;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, ms > 0 ? (int)ms : 0) > 0)
            return true;
        clock_gettime(CLOCK_MONOTONIC, &now);
        ms = end - (now.tv_sec * 1000 + now.tv_nsec / 1000000);
        if (ms <= 0)
            return false;
    }
}

/* Its `mirari run` tidies up, which @supervisor is; if there is none, we do. */
static void let_tidy(struct state *state, const struct entry *entry, int supervisor)
{
    if (supervisor >= 0)
        (void)has_ended(supervisor, 5000);
    tidy(state, entry);
}

void state_watch_end(struct state_end *end, const char *who)
{
    *end = (struct state_end){.process = -1, .supervisor = -1};
    if (strchr(who, '/') != NULL || state_open(&end->state) != 0)
        return;
    struct entry *entry = choose_entry(&end->state, who);
    if (entry == NULL)
        return;
    end->process = pidfd_open(entry->pid, 0);
    if (is_running(entry->supervisor, entry->supervisor_start))
        end->supervisor = pidfd_open(entry->supervisor, 0);
    end->entry = entry;
}

bool state_await_end(struct state_end *end)
{
    if (end->entry == NULL)
        return true;
    if (end->process >= 0 && !has_ended(end->process, END_MS))
        return false;
    let_tidy(&end->state, end->entry, end->supervisor);
    return true;
}

static int stop_entry(struct state *state, const struct entry *entry, int64_t seconds)
{
    int fd = pidfd_open(entry->pid, 0);
    int supervisor = is_running(entry->supervisor, entry->supervisor_start)
                         ? pidfd_open(entry->supervisor, 0)
                         : -1;
    /* A machine is asked by its `mirari run`; a signal would end it without a word to its guest. */
    int asked = is_virt(entry->target) && supervisor >= 0 ? supervisor : fd;
    /* With the pidfd in hand the id cannot change its owner any more: look again. */
    bool was_killed = false;
    if (fd >= 0 && is_running(entry->pid, entry->start)) {
        if (pidfd_send_signal(asked, SIGTERM, NULL, 0) != 0 && errno != ESRCH) {
            complain("cannot signal \"%s\" (%d): %s", entry->name, (int)entry->pid,
                     strerror(errno));
            return EXIT_FAIL;
        }
        if (!has_ended(fd, seconds * 1000)) {
            was_killed = true;
            (void)pidfd_send_signal(fd, SIGKILL, NULL, 0);
            (void)has_ended(fd, 5000);
        }
    }
    let_tidy(state, entry, supervisor);
    if (was_killed)
        complain("\"%s\" (%d) did not end within %d s and was killed", entry->name, (int)entry->pid,
                 (int)seconds);
    else
        printf("stopped %s (%d)\n", entry->name, (int)entry->pid);
    if (fd >= 0)
        close(fd);
    if (supervisor >= 0)
        close(supervisor);
    return 0;
}

int cmd_stop(int argc, char **argv)
{
    static const char *const names[] = {"-t", "--time", "-a", "--all"};
    const char *who = NULL;
    int64_t seconds = 10;
    bool all = false;
    struct state state;
    struct why why;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-t") == 0 || strcmp(argv[i], "--time") == 0) {
            const char *value = i + 1 < argc ? argv[++i] : "";
            if (!valid_int(value, &seconds, &why) || seconds < 0 || seconds > 86400) {
                complain("stop: -t takes seconds from 0 to 86400, not \"%s\"", value);
                return EXIT_USAGE;
            }
        } else if (strcmp(argv[i], "-a") == 0 || strcmp(argv[i], "--all") == 0) {
            all = true;
        } else if (argv[i][0] == '-' || who != NULL) {
            return usage_error("stop", argv[i], names, LEN(names));
        } else {
            who = argv[i];
        }
    }
    if ((who == NULL) != all) {
        complain("stop: name one appliance or its process id, or write --all; `mirari ps` lists "
                 "them");
        return EXIT_USAGE;
    }
    if (state_open(&state) != 0)
        return EXIT_FAIL;
    if (!all) {
        struct entry *entry = choose_entry(&state, who);
        return entry != NULL ? stop_entry(&state, entry, seconds) : EXIT_FAIL;
    }
    size_t count;
    struct entry *entries = load_entries(&state, &count);
    int result = 0;
    for (size_t i = 0; i < count; i++)
        if (stop_entry(&state, &entries[i], seconds) != 0)
            result = EXIT_FAIL;
    return result;
}

/* ---- logs
 * ------------------------------------------------------------------------------------------------
 */

/* The last @lines lines; all if it is negative. */
static void show_tail(const struct str *text, int64_t lines)
{
    size_t at = lines < 0 ? 0 : text->len;
    for (; at > 0 && lines > 0; lines--) {
        at--; /* the newline of this line, or its last byte */
        while (at > 0 && text->data[at - 1] != '\n')
            at--;
    }
    fwrite(text->data + at, 1, text->len - at, stdout);
    fflush(stdout);
}

static void read_log(int folder_fd, const char *name, struct str *out)
{
    char path[320];
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", folder_fd, name);
    (void)file_read(path, 2 * LOG_SIZE_MAX, out);
}

/* Show what comes, until the appliance's folder is gone. @seen: bytes of the log shown already. */
static void follow_log(int folder_fd, off_t seen)
{
    int log = openat(folder_fd, "log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (log >= 0)
        lseek(log, seen, SEEK_SET);
    while (log >= 0) {
        char chunk[16384];
        struct stat mine, now;
        /* Look first, then read to the end: what came before the look is not missed. */
        bool is_there = fstatat(folder_fd, "log", &now, AT_SYMLINK_NOFOLLOW) == 0;
        ssize_t got;
        while ((got = read(log, chunk, sizeof(chunk))) > 0)
            fwrite(chunk, 1, (size_t)got, stdout);
        fflush(stdout);
        if (!is_there || ferror(stdout))
            break;
        if (fstat(log, &mine) == 0 && mine.st_ino != now.st_ino) {
            close(log);
            log = openat(folder_fd, "log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
            continue;
        }
        poll(NULL, 0, 100);
    }
    if (log >= 0)
        close(log);
}

/* The log that a failed detached appliance left. */
static bool show_kept_log(struct state *state, const char *name, int64_t lines)
{
    struct str text = {0};
    struct why why;
    char *file = need_format("%s.log", name);
    struct stat st;
    bool found = valid_name(name, &why) &&
                 fstatat(state->base_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISREG(st.st_mode);
    if (found) {
        read_log(state->base_fd, file, &text);
        complain("\"%s\" is not running; this is the log of its last run, which failed", name);
        show_tail(&text, lines);
    }
    str_free(&text);
    free(file);
    return found;
}

int cmd_logs(int argc, char **argv)
{
    static const char *const names[] = {"-f", "--follow", "-n", "--lines"};
    const char *who = NULL;
    int64_t lines = -1;
    bool follow = false;
    struct state state;
    struct why why;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-f") == 0 || strcmp(argv[i], "--follow") == 0) {
            follow = true;
        } else if (strcmp(argv[i], "-n") == 0 || strcmp(argv[i], "--lines") == 0) {
            const char *value = i + 1 < argc ? argv[++i] : "";
            if (!valid_int(value, &lines, &why) || lines < 0) {
                complain("logs: -n takes a number of lines, not \"%s\"", value);
                return EXIT_USAGE;
            }
        } else if (argv[i][0] == '-' || who != NULL) {
            return usage_error("logs", argv[i], names, LEN(names));
        } else {
            who = argv[i];
        }
    }
    if (who == NULL) {
        complain("logs: name an appliance or its process id; `mirari ps` lists them");
        return EXIT_USAGE;
    }
    if (state_open(&state) != 0)
        return EXIT_FAIL;
    size_t count;
    struct entry *entries = load_entries(&state, &count), *entry = NULL;
    if (select_entries(entries, count, who, &entry) == 0 && show_kept_log(&state, who, lines))
        return 0;
    entry = choose_entry(&state, who);
    if (entry == NULL)
        return EXIT_FAIL;
    int fd = openat(state.base_fd, entry->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct str text = {0};
    if (fd < 0) {
        complain("\"%s\" has just ended", who);
        return EXIT_FAIL;
    }
    str_add(&text, "", 0);
    read_log(fd, "log.1", &text);
    size_t older = text.len;
    read_log(fd, "log", &text);
    show_tail(&text, lines);
    if (follow)
        follow_log(fd, (off_t)(text.len - older));
    return 0;
}
