/* SPDX-License-Identifier: ISC */
/* `mirari top`: the running appliances, or one of them, every second anew.
 *
 * Rates are differences of counters between two looks. One channel is kept open for each appliance;
 * one that ends disappears, one that begins appears. Output that is no terminal gets one block of
 * lines a look, for scripts.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/mirari/ctl.h"

#define ROWS_MAX 64

struct look {
    uint64_t uptime_us, cpu_us, used, free, rx_bytes, tx_bytes, rx_frames, tx_frames;
    uint64_t connections, listeners, tasks, steps;
};

struct row {
    char *who, *name, *target;
    struct ctl ctls[CTL_WORKERS_MAX]; /* [count], of its workers */
    unsigned count;
    struct look now, before;
    bool has_before, is_seen;
};

struct top {
    struct row row[ROWS_MAX];
    size_t count;
};

static volatile sig_atomic_t is_over;

static void on_signal(int number)
{
    (void)number;
    is_over = 1;
}

/* Sum of what devices count under that name. */
static uint64_t devices(const struct ctl *ctl, const char *name)
{
    uint64_t sum = 0;
    char text[32];
    for (unsigned i = 0; i < MANIFEST_NETS_MAX; i++) {
        snprintf(text, sizeof(text), "dev%u_%s", i, name);
        sum += ctl_number(ctl, ctl->result, text);
    }
    return sum;
}

static void add(struct look *look, const struct ctl *ctl)
{
    uint64_t uptime_us = ctl_number(ctl, ctl->result, "uptime_us");
    look->uptime_us = uptime_us > look->uptime_us ? uptime_us : look->uptime_us;
    look->cpu_us += ctl_number(ctl, ctl->result, "cpu_us");
    look->used += ctl_number(ctl, ctl->result, "memory_used_bytes");
    look->free += ctl_number(ctl, ctl->result, "memory_free_bytes");
    look->rx_bytes += devices(ctl, "rx_bytes");
    look->tx_bytes += devices(ctl, "tx_bytes");
    look->rx_frames += devices(ctl, "rx_frames");
    look->tx_frames += devices(ctl, "tx_frames");
    look->connections += ctl_number(ctl, ctl->result, "tcp_connections");
    look->listeners += ctl_number(ctl, ctl->result, "tcp_listeners");
    look->tasks += ctl_number(ctl, ctl->result, "loop_tasks");
    look->steps += ctl_number(ctl, ctl->result, "loop_steps");
}

/* All workers together. */
static bool look_at(struct row *row)
{
    struct look now = {0};
    for (unsigned i = 0; i < row->count; i++) {
        if (ctl_call(&row->ctls[i], "stats", NULL, NULL, NULL) != 0)
            return false;
        add(&now, &row->ctls[i]);
    }
    row->before = row->now;
    row->has_before = row->now.uptime_us != 0 && now.uptime_us > row->now.uptime_us;
    row->now = now;
    return true;
}

static void take_appliance(void *arg, const char *folder, const char *name, const char *target)
{
    struct top *top = arg;
    for (size_t i = 0; i < top->count; i++) {
        if (strcmp(top->row[i].who, folder) == 0) {
            top->row[i].is_seen = true;
            return;
        }
    }
    struct row *row = &top->row[top->count];
    if (top->count == ROWS_MAX)
        return;
    *row = (struct row){.who = need_text(folder, strlen(folder)),
                        .name = need_text(name, strlen(name)),
                        .target = need_text(target, strlen(target)),
                        .is_seen = true};
    row->count = ctl_open_all(row->ctls, "top", row->who);
    top->count += row->count > 0;
}

static void look_at_all(struct top *top, const char *who)
{
    struct state state;
    for (size_t i = 0; i < top->count; i++)
        top->row[i].is_seen = who != NULL;
    if (who == NULL && state_open(&state) == 0) {
        state_each(&state, take_appliance, top);
        close(state.base_fd);
    }
    size_t kept = 0;
    for (size_t i = 0; i < top->count; i++) {
        struct row *row = &top->row[i];
        if (row->is_seen && look_at(row)) {
            top->row[kept++] = *row;
            continue;
        }
        for (unsigned k = 0; k < row->count; k++)
            ctl_close(&row->ctls[k]);
    }
    top->count = kept;
}

static const char *rate(uint64_t now, uint64_t before, uint64_t us)
{
    static const char *const units[] = {"", "k", "M", "G"};
    double value = us > 0 && now >= before ? (double)(now - before) * 1e6 / (double)us : 0;
    size_t unit = 0;
    for (; value >= 10000 && unit + 1 < LEN(units); unit++)
        value /= 1000;
    return need_format("%.0f%s", value, units[unit]);
}

static void add_row(struct table *table, const struct row *row)
{
    const struct look *now = &row->now, *before = &row->before;
    uint64_t us = row->has_before ? now->uptime_us - before->uptime_us : 0;
    uint64_t memory = now->used + now->free;
    bool has_cpu = us > 0 && now->cpu_us >= before->cpu_us; /* else a worker is a new one */
    uint64_t cpu = has_cpu ? (now->cpu_us - before->cpu_us) * 1000 / us : 0;
    table_add(table, row->name);
    table_add(table, row->target);
    table_add(table,
              need_format("%llu:%02u:%02u", (unsigned long long)(now->uptime_us / 3600000000),
                          (unsigned)(now->uptime_us / 60000000 % 60),
                          (unsigned)(now->uptime_us / 1000000 % 60)));
    table_add(table, now->cpu_us > 0 ? need_format("%llu.%u", (unsigned long long)(cpu / 10),
                                                   (unsigned)(cpu % 10))
                                     : "-");
    table_add(table, need_format("%.1f", (double)now->used / 1048576));
    table_add(table,
              need_format("%.0f", memory > 0 ? 100.0 * (double)now->used / (double)memory : 0));
    table_add(table, rate(now->rx_bytes, before->rx_bytes, us));
    table_add(table, rate(now->rx_frames, before->rx_frames, us));
    table_add(table, rate(now->tx_bytes, before->tx_bytes, us));
    table_add(table, rate(now->tx_frames, before->tx_frames, us));
    table_add(table, need_format("%llu", (unsigned long long)now->connections));
    table_add(table, need_format("%llu", (unsigned long long)now->listeners));
    table_add(table, need_format("%llu", (unsigned long long)now->tasks));
    table_add(table, rate(now->steps, before->steps, us));
}

static void show(const struct top *top, bool is_terminal)
{
    static const char *const titles[] = {"NAME",  "TARGET",  ">UPTIME",   ">CPU%",    ">MEM MiB",
                                         ">MEM%", ">IN B/s", ">IN pkt/s", ">OUT B/s", ">OUT pkt/s",
                                         ">CONN", ">LISTEN", ">TASKS",    ">STEPS/s"};
    struct table table = {.titles = titles, .columns = LEN(titles)};
    for (size_t i = 0; i < top->count; i++)
        add_row(&table, &top->row[i]);
    if (is_terminal)
        printf("\033[H\033[2J");
    table_show(&table);
    if (top->count == 0)
        printf("no appliance is running\n");
    if (!is_terminal)
        printf("\n");
    fflush(stdout);
}

static bool number_of(const struct ctl_args *args, char letter, int64_t min, int64_t *value)
{
    struct why why;
    const char *text = args->value[(int)letter];
    if (text == NULL || (valid_int(text, value, &why) && *value >= min && *value <= 86400))
        return true;
    complain("top: -%c takes a number from %d to 86400, not \"%s\"", letter, (int)min, text);
    return false;
}

int cmd_top(int argc, char **argv)
{
    static const char *const names[] = {"d=delay", "n=count", NULL};
    struct ctl_args args;
    static struct top top;
    int64_t delay = 1, count = 0;
    /* Without a name all of them: a name that nobody has satisfies the parser. */
    char *all[16];
    bool has_name = false;
    for (int i = 1; i < argc; i++) {
        bool takes_value = argv[i][0] == '-' &&
                           (strchr("dn", argv[i][1]) != NULL || strcmp(argv[i], "--delay") == 0 ||
                            strcmp(argv[i], "--count") == 0 || strcmp(argv[i], "--worker") == 0);
        has_name = has_name || argv[i][0] != '-';
        i += takes_value;
    }
    if (argc >= (int)LEN(all) - 1)
        return usage_error("top", argv[argc - 1], NULL, 0);
    memcpy(all, argv, (size_t)argc * sizeof(*all));
    static char none[] = "";
    all[argc] = none;
    int r = ctl_arguments(&args, argc + !has_name, all, "d:n:", names, false);
    if (r != 0)
        return r;
    if (!number_of(&args, 'd', 1, &delay) || !number_of(&args, 'n', 0, &count))
        return EXIT_USAGE;
    const char *who = has_name ? args.who : NULL;
    if (who != NULL) {
        top.row[0] = (struct row){.who = need_text(who, strlen(who)),
                                  .name = need_text(who, strlen(who)),
                                  .target = need_text("", 0)};
        top.row[0].count = ctl_open_all(top.row[0].ctls, "top", who);
        if (top.row[0].count == 0)
            return EXIT_FAIL;
        top.count = 1;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool is_terminal = isatty(STDOUT_FILENO);
    for (int64_t i = 0; !is_over && !ferror(stdout); i++) {
        look_at_all(&top, who);
        /* Rates need a second look. */
        if (i > 0 || is_terminal || count == 1)
            show(&top, is_terminal);
        if ((who != NULL && top.count == 0) || (count > 0 && i + (count == 1) >= count))
            break;
        struct timespec pause = {.tv_sec = delay};
        nanosleep(&pause, NULL);
    }
    return 0;
}
