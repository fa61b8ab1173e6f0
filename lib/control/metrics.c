/* SPDX-License-Identifier: ISC */
/* Statistics in the text format that Prometheus reads:
 *
 *   # TYPE mirari_tcp_segs_in_total counter
 *   mirari_tcp_segs_in_total 4711
 *   # TYPE mirari_dev_rx_frames_total counter
 *   mirari_dev_rx_frames_total{net="net0"} 12
 *
 * Names are those of `stats`. What goes up and down is a gauge, known by name or ending; everything
 * else only goes up and gets the ending _total. Times are in seconds there, as Prometheus wants it.
 * Lines of one name stand together: the devices' counters are gathered by name, not by device.
 */
#include <mirari/format.h>

#include "lib/control/control.h"

#define NAME_MAX 64u

struct text {
    struct mir__control *control;
    char *out;
    size_t size, len;
};

static void put(struct text *text, const char *fmt, ...) MIR_PRINTF(2, 3);
static void put(struct text *text, const char *fmt, ...)
{
    size_t room = text->size - text->len;
    va_list args;
    va_start(args, fmt);
    size_t len = mir_vformat(text->out + text->len, room, fmt, args);
    va_end(args);
    if (len < room)
        text->len += len;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = mir_str_len(name), end_len = mir_str_len(end);
    return len >= end_len && mir_str_equal(name + len - end_len, end);
}

static bool is_gauge(const char *name)
{
    static const char *const endings[] = {"_bytes",   "_entries",   "_now",
                                          "_sockets", "_buckets",   "_peak",
                                          "_mtus",    "_datagrams", "_used"};
    static const char *const names[] = {"tcp_connections", "tcp_busy",      "tcp_closing",
                                        "tcp_half_open",   "tcp_time_wait", "tcp_listeners",
                                        "addresses",       "groups",        "routes",
                                        "loop_timers",     "loop_tasks"};
    static const char *const counters[] = {"eth_in_bytes", "console_dropped_bytes"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(counters); i++) {
        if (mir_str_equal(name, counters[i]))
            return false;
    }
    for (size_t i = 0; i < MIR_ARRAY_LEN(names); i++) {
        if (mir_str_equal(name, names[i]))
            return true;
    }
    for (size_t i = 0; i < MIR_ARRAY_LEN(endings); i++) {
        if (ends_with(name, endings[i]))
            return true;
    }
    return false;
}

/* "dev0_rx_frames" is about a device. */
static bool is_of_device(const char *name)
{
    return name[0] == 'd' && name[1] == 'e' && name[2] == 'v' && name[3] >= '0' && name[3] <= '9';
}

static void put_line(void *arg, const char *name, uint64_t value)
{
    struct text *text = arg;
    if (is_of_device(name))
        return;
    if (ends_with(name, "_us")) {
        bool is_uptime = mir_str_equal(name, "uptime_us");
        int len = (int)mir_str_len(name) - 3;
        const char *end = is_uptime ? "" : "_total";
        put(text, "# TYPE mirari_%.*s_seconds%s %s\nmirari_%.*s_seconds%s %llu.%06u\n", len, name,
            end, is_uptime ? "gauge" : "counter", len, name, end,
            (unsigned long long)(value / MIR_US_PER_S), (unsigned)(value % MIR_US_PER_S));
    } else if (is_gauge(name)) {
        put(text, "# TYPE mirari_%s gauge\nmirari_%s %llu\n", name, name,
            (unsigned long long)value);
    } else {
        put(text, "# TYPE mirari_%s_total counter\nmirari_%s_total %llu\n", name, name,
            (unsigned long long)value);
    }
}

/* A label's value: what would end it is left out. */
static void put_label(struct text *text, const char *value)
{
    char clean[NAME_MAX];
    size_t len = 0;
    for (; *value != '\0' && len < sizeof clean - 1; value++) {
        if (*value != '"' && *value != '\\' && (unsigned char)*value >= 0x20)
            clean[len++] = *value;
    }
    clean[len] = '\0';
    put(text, "{net=\"%s\"}", clean);
}

static void put_devices(struct text *text)
{
    static const struct {
        const char *name;
        size_t offset;
    } rows[] = {
#define ROW(name) {#name, offsetof(struct mir_net_dev_stats, name)}
        ROW(rx_frames), ROW(rx_bytes),   ROW(rx_dropped), ROW(rx_errors), ROW(tx_frames),
        ROW(tx_bytes),  ROW(tx_dropped), ROW(tx_errors),  ROW(tx_full),
#undef ROW
    };
    struct mir__control *control = text->control;
    struct mir_net_interface iface;
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++) {
        for (uint32_t k = 1; mir_net_get_interface(control->net, k, &iface) == 0; k++) {
            uint64_t value =
                *(const uint64_t *)(const void *)((const char *)&iface.stats + rows[i].offset);
            if (k == 1)
                put(text, "# TYPE mirari_dev_%s_total counter\n", rows[i].name);
            put(text, "mirari_dev_%s_total", rows[i].name);
            put_label(text, mir__control_if_name(control, k));
            put(text, " %llu\n", (unsigned long long)value);
        }
    }
}

size_t mir__control_metrics(struct mir__control *control, char *out, size_t size)
{
    struct text text = {.control = control, .out = out, .size = size};
    put(&text, "# TYPE mirari_info gauge\nmirari_info{name=\"%s\",target=\"%s\"} 1\n",
        control->app->manifest->name, control->target);
    mir__control_each_stat(control, put_line, &text);
    if (control->net != NULL)
        put_devices(&text);
    return text.len;
}
