/* SPDX-License-Identifier: ISC */
/* `mirari crash`: what is known of an appliance that has ended badly.
 *
 *   process   writes its record into a file that is mapped, NAME-PID/record
 *   workers   each its own, record.0-0, record.0-1, record.1-0 ... : two lives of each (--workers)
 *   machine   writes it into its own memory, which is a memfd of `mirari run`, too (vm.c)
 *
 * So it is there whatever ended the appliance. That of a machine is found by its head, at the
 * beginning of a page.
 *
 * When an appliance has not ended in order `mirari run` keeps its record as NAME.crash beside the
 * folders of the running ones, until the next of that name ends, and adds how it ended; lines of
 * the crash report that were printed, if the record does not have them (a machine prints them,
 * nothing more); and which image it was. If `mirari run` was killed as well, whoever removes the
 * folder keeps the record. An appliance that wrote none, as an image without the recorder, gets one
 * made of that.
 *
 * Functions of the call chain are shown with their source lines if addr2line is there. A record is
 * checked as anything from outside: numbers are bounded, texts are shown with their control bytes
 * made visible.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mirari/record.h>

#include "cmd/mirari/elf.h"
#include "cmd/mirari/tool.h"

#define RECORD_NAME "record"
#define EXIT_CRASH  70
#define WORKERS_MAX 16u

/* ---- keeping --------------------------------------------------------------------------------- */

static bool is_record(const struct mir_record *record)
{
    return memcmp(record->magic, MIR_RECORD_MAGIC, sizeof(record->magic)) == 0 &&
           record->size_bytes == MIR_RECORD_BYTES;
}

/* The record in the memory of a machine, by extents: a hole must not become memory by reading it.
 */
static bool find_in_memory(int fd, struct mir_record *record)
{
    char head[20];
    off_t at = 0, end, page = 4096;
    while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
        end = lseek(fd, at, SEEK_HOLE);
        for (at -= at % page; at < end; at += page) {
            if (pread(fd, head, sizeof(head), at) == (ssize_t)sizeof(head) &&
                memcmp(head, MIR_RECORD_MAGIC, sizeof(MIR_RECORD_MAGIC)) == 0 &&
                pread(fd, record, sizeof(*record), at) == (ssize_t)sizeof(*record) &&
                is_record(record))
                return true;
        }
    }
    return false;
}

static bool read_record(int folder_fd, const char *name, struct mir_record *record)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool is_good = fd >= 0 && read(fd, record, sizeof(*record)) == (ssize_t)sizeof(*record) &&
                   is_record(record);
    if (fd >= 0)
        close(fd);
    return is_good;
}

static bool read_life(int folder_fd, unsigned worker, unsigned life, struct mir_record *record)
{
    char *name = need_format(RECORD_NAME ".%u-%u", worker, life);
    bool is_there = read_record(folder_fd, name, record);
    free(name);
    if (is_there)
        snprintf(record->target, sizeof(record->target), "unix");
    return is_there;
}

/* Of a worker the life that crashed, the later one if both did; or else one that did not. False: it
 * has none. */
static bool read_worker(int folder_fd, unsigned worker, struct mir_record *record)
{
    struct mir_record other;
    bool has_one = read_life(folder_fd, worker, 0, record);
    if (!read_life(folder_fd, worker, 1, &other))
        return has_one;
    bool is_crash = has_one && record->state == MIR_RECORD_CRASHED;
    bool is_other = other.state == MIR_RECORD_CRASHED;
    if (!has_one || (is_crash == is_other && other.began_us > record->began_us) ||
        (is_other && !is_crash))
        *record = other;
    return true;
}

/* The last crash of any worker. */
static bool read_crashed(int folder_fd, struct mir_record *record)
{
    struct mir_record other;
    bool is_there = false;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        if (!read_worker(folder_fd, i, &other) || other.state != MIR_RECORD_CRASHED)
            continue;
        if (!is_there || other.began_us > record->began_us)
            *record = other;
        is_there = true;
    }
    return is_there;
}

static void forget(int base_fd, const char *name)
{
    char *kept = need_format("%s.crash", name);
    (void)unlinkat(base_fd, kept, 0);
    free(kept);
}

static void write_record(int base_fd, const char *name, const struct mir_record *record)
{
    char *kept = need_format("%s.crash", name);
    forget(base_fd, name);
    int fd = openat(base_fd, kept, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && write(fd, record, sizeof(*record)) != (ssize_t)sizeof(*record))
        (void)unlinkat(base_fd, kept, 0); /* no room: nothing is kept */
    if (fd >= 0)
        close(fd);
    free(kept);
}

static void put(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text != NULL ? text : "");
}

void crash_keep(const struct crash_end *end)
{
    struct mir_record *record = need(sizeof(*record));
    bool is_there = end->memory_fd >= 0 ? find_in_memory(end->memory_fd, record)
                                        : read_record(end->folder_fd, RECORD_NAME, record);
    bool is_worker = !is_there && end->memory_fd < 0 && read_crashed(end->folder_fd, record);
    if (!is_there && !is_worker) {
        memset(record, 0, sizeof(*record));
        memcpy(record->magic, MIR_RECORD_MAGIC, sizeof(record->magic));
        record->size_bytes = MIR_RECORD_BYTES;
        record->state = MIR_RECORD_RUNS;
        record->began_wall_us = (uint64_t)end->began * 1000000;
    }
    put(record->name, sizeof(record->name), end->name);
    put(record->target, sizeof(record->target), end->target);
    put(record->image, sizeof(record->image), end->image);
    if (is_worker && record->end[0] != '\0')
        record->end[sizeof(record->end) - 1] = '\0'; /* the monitor has said how */
    else if (end->signal != 0)
        snprintf(record->end, sizeof(record->end), "signal %d (%s)", end->signal,
                 strsignal(end->signal));
    else
        snprintf(record->end, sizeof(record->end), "status %d", end->status);
    bool is_bad =
        end->signal != 0 || end->status == EXIT_CRASH || record->state == MIR_RECORD_CRASHED;
    if (is_bad && record->report_len == 0 && end->report->len > 0) {
        record->report_len = end->report->len < MIR_RECORD_REPORT_MAX ? (uint32_t)end->report->len
                                                                      : MIR_RECORD_REPORT_MAX;
        memcpy(record->report, end->report->data, record->report_len);
    }
    record->state = MIR_RECORD_CRASHED;
    if (is_bad)
        write_record(end->base_fd, end->name, record);
    else
        forget(end->base_fd, end->name);
    free(record);
}

/* A folder that nobody looks after any more is about to go. */
void crash_rescue(int base_fd, const char *folder)
{
    const char *dash = strrchr(folder, '-');
    struct mir_record *record = need(sizeof(*record));
    int fd = openat(base_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dash != NULL && fd >= 0 &&
        (read_record(fd, RECORD_NAME, record) || read_crashed(fd, record)) &&
        record->state != MIR_RECORD_ENDED) {
        char *name = need_text(folder, (size_t)(dash - folder));
        put(record->name, sizeof(record->name), name);
        put(record->target, sizeof(record->target), "unix");
        put(record->end, sizeof(record->end), "nobody saw it: `mirari run` is gone, too");
        record->state = MIR_RECORD_CRASHED;
        write_record(base_fd, name, record);
        free(name);
    }
    if (fd >= 0)
        close(fd);
    free(record);
}

/* ---- showing --------------------------------------------------------------------------------- */

/* A text of a record, which may lack its end. */
static char *text_of(const char *text, size_t size)
{
    struct str out = {0};
    char *copy = need_text(text, strnlen(text, size));
    str_add(&out, "", 0);
    str_visible(&out, copy);
    free(copy);
    return out.data;
}

static char *time_text(uint64_t wall_us)
{
    char text[64];
    struct tm tm;
    time_t seconds = (time_t)(wall_us / 1000000);
    if (gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof(text), "%F %T", &tm) == 0)
        return need_text("?", 1);
    return need_format("%s.%06u UTC", text, (unsigned)(wall_us % 1000000));
}

/* "function at file.c:12" for an address of @image, or NULL. */
static char *source_line(const char *image, uint64_t address)
{
    char hex[32], line[400];
    char *program = find_program("addr2line");
    if (program == NULL || access(image, R_OK) != 0) {
        free(program);
        return NULL;
    }
    snprintf(hex, sizeof(hex), "0x%llx", (unsigned long long)address);
    struct list argv = {0};
    const char *const words[] = {program, "-p", "-f", "-s", "-e", image, hex};
    for (size_t i = 0; i < LEN(words); i++)
        list_add(&argv, words[i]);
    bool is_known = program_line(argv.item, line, sizeof(line)) && strstr(line, "??") != line;
    free(program);
    return is_known ? need_text(line, strlen(line)) : NULL;
}

/* The address of a function, as the linker had it; 0: there is none of that name. */
static uint64_t address_of(const char *image, const char *name, size_t len)
{
    static struct elf elf;
    static bool is_open;
    if (!is_open && (access(image, R_OK) != 0 || elf_open(image, &elf) != 0))
        return 0;
    is_open = true;
    for (size_t i = 0; i < elf.symbol_count; i++)
        if (strlen(elf.symbol[i].name) == len && memcmp(elf.symbol[i].name, name, len) == 0)
            return elf.symbol[i].addr;
    return 0;
}

/* "  #1 FILE+0x12" or "  #1 function+0x12": with the source line behind it. */
static void show_frame(const struct mir_record *record, const char *line)
{
    const char *what = line + strspn(line, " #0123456789"), *plus = strrchr(what, '+');
    char *image = text_of(record->image, sizeof(record->image)), *source = NULL;
    uint64_t offset = plus != NULL ? strtoull(plus + 1, NULL, 16) : 0;
    if (plus != NULL && what[0] == '/') {
        char *file = need_text(what, (size_t)(plus - what));
        source = source_line(file, offset);
        free(file);
    } else if (plus != NULL) {
        size_t len = (size_t)(plus - what);
        bool is_bare = len == 5 && memcmp(what, "image", 5) == 0;
        uint64_t base = is_bare ? 0 : address_of(image, what, len);
        if (base != 0 || is_bare)
            source = source_line(image, base + offset);
    }
    printf("%s%s%s\n", line, source != NULL ? "  " : "", source != NULL ? source : "");
    free(source);
    free(image);
}

/* Is it the same place as in the line before? Recursion fills the chain with one. */
static bool is_again(char **before, const char *line)
{
    const char *what = line + strspn(line, " #0123456789");
    bool is_same = *before != NULL && strcmp(*before, what) == 0;
    free(*before);
    *before = need_text(what, strlen(what));
    return is_same;
}

static void show_again(unsigned *again)
{
    if (*again > 0)
        printf("      %u more of the same\n", *again);
    *again = 0;
}

static void show_report(const struct mir_record *record)
{
    char *before = NULL;
    unsigned again = 0;
    size_t len =
        record->report_len < MIR_RECORD_REPORT_MAX ? record->report_len : MIR_RECORD_REPORT_MAX;
    char *text = need_text(record->report, strnlen(record->report, len)), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char *shown = text_of(line, strlen(line));
        const char *at = strncmp(shown, "mirari: ", 8) == 0 ? shown + 8 : shown;
        bool is_frame = strncmp(at, "  #", 3) == 0;
        if (is_frame && is_again(&before, at)) {
            again++;
        } else {
            show_again(&again);
            if (is_frame)
                show_frame(record, at);
            else
                puts(at);
        }
        free(shown);
    }
    show_again(&again);
    free(before);
    free(text);
}

static void show_event(const struct mir_record_event *event, uint64_t end_us)
{
    static const char *const levels[] = {"error", "warn", "info", "debug", "trace"};
    size_t len = event->len < MIR_RECORD_TEXT_MAX ? event->len : MIR_RECORD_TEXT_MAX;
    char *text = event->kind == MIR_RECORD_STEPS ? NULL : text_of(event->text, len);
    int64_t before_us = (int64_t)(event->time_us - end_us);
    printf("%14.6f  ", (double)before_us / 1e6);
    if (event->kind == MIR_RECORD_STEPS)
        printf("loop  %llu steps: %llu works, %llu timers, %llu task switches, in %.6f s\n",
               (unsigned long long)event->args[0], (unsigned long long)event->args[1],
               (unsigned long long)event->args[2], (unsigned long long)event->args[3],
               (double)(int64_t)(event->time_us - event->args[4]) / 1e6);
    else if (event->kind == MIR_RECORD_LOG && text[0] >= '0' && text[0] <= '4')
        printf("log   %s %s\n", levels[text[0] - '0'], text + 1);
    else if (event->kind == MIR_RECORD_END)
        printf("end   asked: %s\n", text);
    else if (event->kind == MIR_RECORD_NOTE)
        printf("note  %s\n", text);
    else
        printf("?     an event of another version\n");
    free(text);
}

/* The oldest of a full ring may be half overwritten. */
static void show_events(const struct mir_record *record, uint64_t most)
{
    uint64_t count = record->count,
             have = count < MIR_RECORD_EVENTS ? count : MIR_RECORD_EVENTS - 1;
    if (have > most)
        have = most;
    if (have == 0) {
        printf("\nno events were recorded\n");
        return;
    }
    uint64_t end_us = record->events[(count - 1) % MIR_RECORD_EVENTS].time_us;
    printf("\nlast events (of %llu), seconds before the last:\n", (unsigned long long)count);
    for (uint64_t i = count - have; i < count; i++)
        show_event(&record->events[i % MIR_RECORD_EVENTS], end_us);
}

static int show(const struct mir_record *record, const char *who, uint64_t most)
{
    char *began = time_text(record->began_wall_us),
         *target = text_of(record->target, sizeof(record->target)),
         *end = text_of(record->end, sizeof(record->end));
    bool is_crash = record->state == MIR_RECORD_CRASHED;
    if (is_crash)
        printf("%s (%s), begun %s, did not end in order: %s\n", who, target, began, end);
    else
        printf("%s runs since %s: no crash\n", who, began);
    if (is_crash && record->report_len > 0)
        show_report(record);
    else if (is_crash)
        printf("it said nothing: killed, or its report was lost\n");
    show_events(record, most);
    free(began);
    free(target);
    free(end);
    return is_crash ? 0 : EXIT_FAIL;
}

struct search {
    const char *who;
    char *folder;
};

static void take_running(void *arg, const char *folder, const char *name, const char *target)
{
    struct search *search = arg;
    const char *dash = strrchr(folder, '-');
    (void)target;
    if (strcmp(name, search->who) == 0 || (dash != NULL && strcmp(dash + 1, search->who) == 0))
        search->folder = need_text(folder, strlen(folder));
}

/* The crashes of an appliance's workers while it runs; that of the first one if there is none. */
static int show_workers(int folder_fd, const char *who, uint64_t most)
{
    struct mir_record record;
    int shown = 0;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        if (!read_worker(folder_fd, i, &record) || record.state != MIR_RECORD_CRASHED)
            continue;
        if (shown++ > 0)
            putchar('\n');
        (void)show(&record, who, most);
    }
    if (shown > 0)
        return 0;
    return read_worker(folder_fd, 0, &record) ? show(&record, who, most) : -1;
}

/* That of the last one that crashed; if there is none, of one that runs. */
static int show_of(const char *who, uint64_t most)
{
    struct search search = {.who = who};
    struct mir_record record;
    struct state state;
    if (state_open(&state) != 0)
        return EXIT_FAIL;
    state_each(&state, take_running, &search); /* keeps the records of dead ones, too */
    char *kept = need_format("%s.crash", who);
    bool is_there = read_record(state.base_fd, kept, &record);
    if (!is_there && search.folder != NULL) {
        char *path = path_join(search.folder, RECORD_NAME);
        is_there = read_record(state.base_fd, path, &record);
        free(path);
        int fd =
            openat(state.base_fd, search.folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = fd >= 0 && !is_there ? show_workers(fd, who, most) : -1;
        if (fd >= 0)
            close(fd);
        if (r >= 0) {
            free(kept);
            return r;
        }
    }
    free(kept);
    if (is_there)
        return show(&record, who, most);
    complain("crash: no crash of \"%s\" is known: the last one ended in order, or `mirari run` did "
             "not start it",
             who);
    return EXIT_FAIL;
}

int cmd_crash(int argc, char **argv)
{
    static const char *const names[] = {"-n", "--events"};
    const char *who = NULL;
    int64_t most = 20;
    struct why why;
    for (int i = 1; i < argc; i++) {
        if ((strcmp(argv[i], "-n") == 0 || strcmp(argv[i], "--events") == 0) && i + 1 < argc) {
            if (!valid_int(argv[++i], &most, &why) || most < 0) {
                complain("crash: -n takes a number of events, not \"%s\"", argv[i]);
                return EXIT_USAGE;
            }
        } else if (argv[i][0] == '-' || who != NULL) {
            return usage_error("crash", argv[i], names, LEN(names));
        } else {
            who = argv[i];
        }
    }
    if (who == NULL || strchr(who, '/') != NULL) {
        complain("crash: name an appliance that has ended");
        return EXIT_USAGE;
    }
    return show_of(who, (uint64_t)most);
}
