/* SPDX-License-Identifier: ISC */
/* A network from text. One statement a line, '#' begins a comment, words are separated by spaces:
 *
 *   file      = { statement newline }
 *   statement = "host" NAMES { "memory=" SIZE | "sndbuf=" SIZE | "rcvbuf=" SIZE | "drift=" PPM
 *                            | "coalesce=" TIME | "congestion=" WORD | "sack=off" | "offload=on" |
 * "ecn=on" } | "router" NAMES [ "advertise=on" ] | "switch" NAMES | "link" REF REF { "name=" NAME |
 * "mtu=" NUMBER | WIRE } [ "back" { WIRE } ] | "run" REF ROLE { "to=" NAME [ ":" PORT ] | "port="
 * PORT | "bytes=" SIZE | "flows=" NUMBER | "count=" NUMBER | "chunk=" SIZE | "rate=" SIZE |
 * "start=" TIME | "every=" TIME | "kind=" WORD | "ip=6" } | "at" TIME "link" NAME ( "down" | "up" |
 * { "mtu=" NUMBER | WIRE } [ "back" { WIRE } ] ) | "at" TIME "clock" REF ( "jump=" [ "-" ] TIME |
 * "drift=" [ "-" ] PPM ) | "duration" TIME NAMES     = NAME [ "*" NUMBER ]       h*3 makes h1, h2
 * and h3 REF       = NAME | NAME "*"           h* is all of them WIRE      = a word of
 * mir_sim_wire_parse(), with "blackhole=" for its "mtu=" TIME      = NUMBER ( "us" | "ms" | "s" )
 * SIZE = NUMBER [ "k" | "m" | "g" ]
 *
 * Words of a wire count for both directions, those behind "back" for the way from the second end to
 * the first. A link between two groups of the same size joins them one to one, one between a group
 * and a single node joins all to that. Errors name the file, the line, the word, and the known word
 * that is nearest.
 */
#include "target/sim/topology.h"

#include <mirari/format.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/app/options.h"

#define WORDS_MAX 64u

const char *const mir__topo_roles[MIR__ROLES] = {"sink", "echo", "web",    "send", "ask",
                                                 "http", "udp",  "attack", "app"};

struct parser {
    struct mir__topo *topo;
    const char *file;
    uint32_t line;
    char *error;
    uint32_t count;
    char *word[WORDS_MAX];
};

/* ---- room ---------------------------------------------------------------------------------------
 */

static void *add(void **items, uint32_t *count, uint32_t *room, size_t size)
{
    if (*count == *room) {
        uint32_t wanted = *room == 0 ? 16 : *room * 2;
        void *grown = realloc(*items, wanted * size);
        if (grown == NULL)
            return NULL;
        *items = grown;
        *room = wanted;
    }
    void *item = (char *)*items + (*count)++ * size;
    memset(item, 0, size);
    return item;
}

struct mir__topo_node *mir__topo_add_node(struct mir__topo *topo)
{
    return add((void **)&topo->nodes, &topo->node_count, &topo->node_room, sizeof *topo->nodes);
}

struct mir__topo_link *mir__topo_add_link(struct mir__topo *topo)
{
    return add((void **)&topo->links, &topo->link_count, &topo->link_room, sizeof *topo->links);
}

struct mir__topo_job *mir__topo_add_job(struct mir__topo *topo)
{
    struct mir__topo_job *job =
        add((void **)&topo->jobs, &topo->job_count, &topo->job_room, sizeof *topo->jobs);
    if (job != NULL)
        *job = (struct mir__topo_job){.to = MIR__TOPO_NONE, .flows = 1, .count = 1};
    return job;
}

struct mir__topo_event *mir__topo_add_event(struct mir__topo *topo)
{
    return add((void **)&topo->events, &topo->event_count, &topo->event_room, sizeof *topo->events);
}

void mir__topo_free(struct mir__topo *topo)
{
    free(topo->nodes);
    free(topo->links);
    free(topo->jobs);
    free(topo->events);
    memset(topo, 0, sizeof *topo);
}

/* ---- complaints ---------------------------------------------------------------------------------
 */

MIR_PRINTF(2, 3) static int refuse(struct parser *p, const char *format, ...)
{
    va_list args;
    int len = snprintf(p->error, MIR__TOPO_ERROR_MAX, "%s:%u: ", p->file, p->line);
    va_start(args, format);
    vsnprintf(p->error + len, (size_t)(MIR__TOPO_ERROR_MAX - len), format, args);
    va_end(args);
    return -MIR_EINVAL;
}

/* @what @word is not one of @names. */
static int refuse_word(struct parser *p, const char *what, const char *word,
                       const char *const *names, size_t count)
{
    size_t len = strcspn(word, "=");
    const char *near = mir__app_nearest(word, len, names, count);
    return refuse(p, "unknown %s \"%.*s\"%s%s%s", what, (int)MIR_MIN(len, (size_t)60), word,
                  near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                  near != NULL ? "\"?" : "");
}

/* ---- values -------------------------------------------------------------------------------------
 */

/* Which of the names stands in @word before its '=' at @value (NULL: there is none); count if none.
 */
static size_t find_word(const char *const *names, size_t count, const char *word, const char *value)
{
    size_t which = 0;
    while (which < count && (value == NULL || strlen(names[which]) != (size_t)(value - word) ||
                             strncmp(names[which], word, (size_t)(value - word)) != 0))
        which++;
    return which;
}

static bool read_number(const char *text, uint64_t max, uint64_t *value)
{
    return mir_parse_u64(text, strlen(text), max, value) == 0;
}

/* Digits, then one of the suffixes. */
static bool read_unit(const char *text, const char *const *suffix, const uint64_t *unit,
                      uint64_t *value)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (mir_parse_u64(text, digits, 1000000000000ull, &number) < 0)
        return false;
    for (size_t i = 0; suffix[i] != NULL; i++) {
        if (strcmp(text + digits, suffix[i]) == 0) {
            *value = number * unit[i];
            return true;
        }
    }
    return false;
}

static bool read_time(const char *text, uint64_t *us)
{
    static const char *const suffix[] = {"us", "ms", "s", NULL};
    static const uint64_t unit[] = {1, 1000, 1000000};
    return read_unit(text, suffix, unit, us) && *us <= 1000000 * MIR_US_PER_S;
}

static bool read_size(const char *text, uint64_t max, uint64_t *bytes)
{
    static const char *const suffix[] = {"", "k", "m", "g", NULL};
    static const uint64_t unit[] = {1, 1024, 1048576, 1073741824};
    return read_unit(text, suffix, unit, bytes) && *bytes <= max;
}

static bool read_ppm(const char *text, int64_t *ppm)
{
    static const char *const suffix[] = {"ppm", "", NULL};
    static const uint64_t unit[] = {1, 1};
    bool is_negative = text[0] == '-';
    uint64_t value;
    if (!read_unit(text + is_negative, suffix, unit, &value) || value > 500000)
        return false;
    *ppm = is_negative ? -(int64_t)value : (int64_t)value;
    return true;
}

/* ---- names --------------------------------------------------------------------------------------
 */

static uint32_t find_node(const struct mir__topo *topo, const char *name)
{
    for (uint32_t i = 0; i < topo->node_count; i++) {
        if (strcmp(topo->nodes[i].name, name) == 0)
            return i;
    }
    return MIR__TOPO_NONE;
}

static int refuse_name(struct parser *p, const char *what, const char *name, bool is_link)
{
    const struct mir__topo *topo = p->topo;
    const char *names[256];
    size_t count = 0;
    for (uint32_t i = 0; i < (is_link ? topo->link_count : topo->node_count) && count < 256; i++)
        names[count++] = is_link ? topo->links[i].name : topo->nodes[i].name;
    return refuse_word(p, what, name, names, count);
}

static bool is_name(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    return len > 0 && len < MIR__TOPO_NAME - 8 && text[len] == '\0';
}

/* A node, or a group "h*": its first node and how many there are. */
static int read_ref(struct parser *p, char *text, uint32_t *first, uint32_t *count)
{
    char *star = strchr(text, '*');
    char name[MIR__TOPO_NAME + 16];
    if (star == NULL) {
        *count = 1;
        *first = find_node(p->topo, text);
        return *first != MIR__TOPO_NONE ? 0 : refuse_name(p, "node", text, false);
    }
    *star = '\0';
    snprintf(name, sizeof name, "%.*s1", MIR__TOPO_NAME, text);
    *first = find_node(p->topo, name);
    for (*count = 1; *first != MIR__TOPO_NONE; ++*count) {
        snprintf(name, sizeof name, "%.*s%u", MIR__TOPO_NAME, text, *count + 1);
        if (*first + *count >= p->topo->node_count ||
            strcmp(p->topo->nodes[*first + *count].name, name) != 0)
            return 0;
    }
    return refuse(p, "there is no group \"%.60s*\": no node is called \"%.60s1\"", text, text);
}

/* ---- statements ---------------------------------------------------------------------------------
 */

static int set_node(struct parser *p, struct mir__topo_node *node, const char *word)
{
    static const char *const names[] = {"memory",     "sndbuf", "rcvbuf",  "drift", "coalesce",
                                        "congestion", "sack",   "offload", "ecn"};
    const char *value = strchr(word, '=');
    uint64_t number = 0;
    int64_t ppm = 0;
    size_t which = find_word(names, MIR_ARRAY_LEN(names), word, value);
    if (which == MIR_ARRAY_LEN(names))
        return refuse_word(p, "word of a host", word, names, MIR_ARRAY_LEN(names));
    value++;
    bool is_good = true;
    switch (which) {
    case 0:
    case 1:
    case 2:
        is_good = read_size(value, 1u << 30, &number);
        *(which == 0   ? &node->memory_bytes
          : which == 1 ? &node->sndbuf
                       : &node->rcvbuf) = (uint32_t)number;
        break;
    case 3:
        is_good = read_ppm(value, &ppm);
        node->drift_ppm = (int32_t)ppm;
        break;
    case 4:
        is_good = read_time(value, &number) && number <= 1000000;
        node->coalesce_us = (uint32_t)number;
        break;
    case 5:
        is_good = strlen(value) < sizeof node->congestion;
        snprintf(node->congestion, sizeof node->congestion, "%s", value);
        break;
    case 6:
        is_good = strcmp(value, "off") == 0 || strcmp(value, "on") == 0;
        node->no_sack = value[1] == 'f';
        break;
    default:
        is_good = strcmp(value, "off") == 0 || strcmp(value, "on") == 0;
        *(which == 7 ? &node->has_offload : &node->has_ecn) = value[1] == 'n';
    }
    return is_good ? 0 : refuse(p, "\"%.100s\": the value cannot be read", word);
}

static int set_router(struct parser *p, struct mir__topo_node *node, const char *word)
{
    static const char *const names[] = {"advertise"};
    const char *value = strchr(word, '=');
    if (find_word(names, 1, word, value) == 1)
        return refuse_word(p, "word of a router", word, names, 1);
    if (strcmp(value + 1, "on") != 0 && strcmp(value + 1, "off") != 0)
        return refuse(p, "\"%.100s\": the value cannot be read", word);
    node->advertises = value[2] == 'n';
    return 0;
}

static int read_node(struct parser *p)
{
    struct mir__topo_node value = {0};
    char *star = p->count > 1 ? strchr(p->word[1], '*') : NULL;
    uint64_t count = 1;
    if (p->count < 2)
        return refuse(p, "\"%s\" needs a name", p->word[0]);
    if (star != NULL) {
        *star = '\0';
        if (!read_number(star + 1, MIR__TOPO_NODES_MAX, &count) || count == 0)
            return refuse(p, "\"%.60s\" is not how many there are", star + 1);
    }
    if (!is_name(p->word[1]))
        return refuse(p, "\"%.60s\" is not a name", p->word[1]);
    value.kind = p->word[0][0] == 'h'   ? MIR__TOPO_HOST
                 : p->word[0][0] == 'r' ? MIR__TOPO_ROUTER
                                        : MIR__TOPO_SWITCH;
    for (uint32_t i = 2; i < p->count; i++) {
        if (value.kind == MIR__TOPO_SWITCH)
            return refuse(p, "a %s has no words: \"%.60s\"", p->word[0], p->word[i]);
        int r = value.kind == MIR__TOPO_HOST ? set_node(p, &value, p->word[i])
                                             : set_router(p, &value, p->word[i]);
        if (r < 0)
            return r;
    }
    if (p->topo->node_count + count > MIR__TOPO_NODES_MAX)
        return refuse(p, "more than %u nodes", MIR__TOPO_NODES_MAX);
    for (uint64_t i = 1; i <= count; i++) {
        snprintf(value.name, sizeof value.name, star != NULL ? "%.20s%u" : "%s", p->word[1],
                 (unsigned)i);
        if (count == 1 && find_node(p->topo, value.name) != MIR__TOPO_NONE)
            return refuse(p, "there is a node \"%s\" already", value.name);
        struct mir__topo_node *node = mir__topo_add_node(p->topo);
        if (node == NULL)
            return -MIR_ENOMEM;
        *node = value;
    }
    return 0;
}

/* Words of a wire from word @at on; "back" and what follows is for the second direction only. */
/* A word of mir_sim_wire_parse(): of both directions, behind "back" of the second alone. */
static int read_wire_word(struct parser *p, const char *word, struct mir_sim_wire_config way[2],
                          bool is_back)
{
    static const char *const names[] = {"rate",       "delay", "jitter",    "loss",     "burst",
                                        "burst-loss", "every", "reorder",   "dup",      "corrupt",
                                        "queue",      "red",   "codel",     "fq-codel", "ecn",
                                        "mtu",        "name",  "blackhole", "back"};
    bool is_hole = strncmp(word, "blackhole=", 10) == 0;
    char text[200];
    size_t error_at;
    int r = 0;
    snprintf(text, sizeof text, "%s%.150s", is_hole ? "mtu=" : "", is_hole ? word + 10 : word);
    for (unsigned i = is_back ? 1 : 0; i < 2 && r == 0; i++)
        r = mir_sim_wire_parse(text, &way[i], &error_at);
    if (r == 0)
        return 0;
    for (size_t k = 0; k < MIR_ARRAY_LEN(names); k++) {
        if (strlen(names[k]) == strcspn(word, "=") &&
            strncmp(names[k], word, strlen(names[k])) == 0)
            return refuse(p, "\"%.60s\": the value cannot be read", word);
    }
    return refuse_word(p, "word of a link", word, names, MIR_ARRAY_LEN(names));
}

static int read_wire(struct parser *p, uint32_t at, struct mir_sim_wire_config way[2],
                     uint16_t *mtu, char *name)
{
    bool is_back = false;
    uint64_t number;
    for (; at < p->count; at++) {
        const char *word = p->word[at];
        int r = 0;
        if (strcmp(word, "back") == 0) {
            is_back = true;
        } else if (strncmp(word, "mtu=", 4) == 0) {
            if (!read_number(word + 4, 65535, &number) || number < 68)
                return refuse(p, "\"%.60s\": an MTU is 68 to 65535", word);
            *mtu = (uint16_t)number;
        } else if (name != NULL && strncmp(word, "name=", 5) == 0) {
            if (!is_name(word + 5))
                return refuse(p, "\"%.60s\" is not a name", word + 5);
            snprintf(name, MIR__TOPO_NAME, "%.31s", word + 5);
        } else {
            r = read_wire_word(p, word, way, is_back);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_link(struct parser *p)
{
    struct mir__topo_link value = {0};
    uint32_t first[2], count[2];
    if (p->count < 3)
        return refuse(p, "\"link\" needs two nodes");
    for (int i = 0; i < 2; i++) {
        int r = read_ref(p, p->word[1 + i], &first[i], &count[i]);
        if (r < 0)
            return r;
    }
    if (count[0] != count[1] && count[0] != 1 && count[1] != 1)
        return refuse(p, "groups of %u and of %u nodes cannot be joined one to one", count[0],
                      count[1]);
    int r = read_wire(p, 3, value.way, &value.mtu, value.name);
    if (r < 0)
        return r;
    uint32_t total = MIR_MAX(count[0], count[1]);
    for (uint32_t i = 0; i < total; i++) {
        struct mir__topo_link *link = mir__topo_add_link(p->topo);
        if (link == NULL)
            return -MIR_ENOMEM;
        *link = value;
        for (int k = 0; k < 2; k++)
            link->end[k] = first[k] + (count[k] > 1 ? i : 0);
        if (link->end[0] == link->end[1])
            return refuse(p, "a link from \"%s\" to itself", p->topo->nodes[link->end[0]].name);
        if (value.name[0] == '\0' || total > 1)
            snprintf(link->name, sizeof link->name, "%.14s-%.14s",
                     p->topo->nodes[link->end[0]].name, p->topo->nodes[link->end[1]].name);
    }
    return 0;
}

static int read_target(struct parser *p, struct mir__topo_job *job, char *text)
{
    char *colon = strchr(text, ':');
    uint64_t port;
    if (colon != NULL) {
        *colon = '\0';
        if (!read_number(colon + 1, 65535, &port))
            return refuse(p, "\"%.60s\" is not a port", colon + 1);
        job->port = (uint16_t)port;
    }
    job->to = find_node(p->topo, text);
    return job->to != MIR__TOPO_NONE ? 0 : refuse_name(p, "node", text, false);
}

static int set_job(struct parser *p, struct mir__topo_job *job, char *word)
{
    static const char *const names[] = {"to",   "port",  "bytes", "flows", "count", "chunk",
                                        "rate", "start", "every", "kind",  "ip"};
    char *value = strchr(word, '=');
    uint64_t number = 0;
    size_t which = find_word(names, MIR_ARRAY_LEN(names), word, value);
    if (which == MIR_ARRAY_LEN(names))
        return refuse_word(p, "word of a job", word, names, MIR_ARRAY_LEN(names));
    value++;
    bool is_good = false;
    switch (which) {
    case 0:
        return read_target(p, job, value);
    case 1:
        is_good = read_number(value, 65535, &number);
        job->port = (uint16_t)number;
        break;
    case 2:
        is_good = read_size(value, 1ull << 40, &job->bytes);
        break;
    case 3:
    case 4:
        is_good = read_number(value, 1000000, &number);
        *(which == 3 ? &job->flows : &job->count) = (uint32_t)number;
        break;
    case 5:
    case 6:
        is_good = read_size(value, 1u << 30, &number);
        *(which == 5 ? &job->chunk : &job->rate) = (uint32_t)number;
        break;
    case 7:
    case 8:
        is_good = read_time(value, which == 7 ? &job->start_us : &job->every_us);
        break;
    case 9:
        is_good = mir__hostile_is_kind(value);
        snprintf(job->kind, sizeof job->kind, "%.15s", value);
        break;
    default:
        is_good = strcmp(value, "4") == 0 || strcmp(value, "6") == 0;
        job->is_ip6 = value[0] == '6';
    }
    return is_good ? 0 : refuse(p, "\"%.100s\": the value cannot be read", word);
}

static bool is_client(enum mir__topo_role role)
{
    return role == MIR__ROLE_SEND || role == MIR__ROLE_ASK || role == MIR__ROLE_HTTP ||
           role == MIR__ROLE_UDP || role == MIR__ROLE_ATTACK;
}

static int read_run(struct parser *p)
{
    struct mir__topo_job value = {.to = MIR__TOPO_NONE, .flows = 1, .count = 1};
    uint32_t first, count;
    if (p->count < 3)
        return refuse(p, "\"run\" needs a host and what it does");
    int r = read_ref(p, p->word[1], &first, &count);
    while (r == 0 && value.role < MIR__ROLES &&
           strcmp(mir__topo_roles[value.role], p->word[2]) != 0)
        value.role++;
    if (r == 0 && value.role == MIR__ROLES)
        return refuse_word(p, "role", p->word[2], mir__topo_roles, MIR__ROLES);
    for (uint32_t i = 3; i < p->count && r == 0; i++)
        r = set_job(p, &value, p->word[i]);
    if (r < 0)
        return r;
    if (is_client(value.role) && value.to == MIR__TOPO_NONE)
        return refuse(p, "\"%s\" needs to=NODE", mir__topo_roles[value.role]);
    if (value.to != MIR__TOPO_NONE && p->topo->nodes[value.to].kind != MIR__TOPO_HOST)
        return refuse(p, "\"%s\" is not a host", p->topo->nodes[value.to].name);
    if (value.role == MIR__ROLE_ATTACK && value.kind[0] == '\0')
        return refuse(p, "\"attack\" needs kind=");
    for (uint32_t i = 0; i < count; i++) {
        if (p->topo->nodes[first + i].kind != MIR__TOPO_HOST)
            return refuse(p, "\"%s\" is not a host", p->topo->nodes[first + i].name);
        struct mir__topo_job *job = mir__topo_add_job(p->topo);
        if (job == NULL)
            return -MIR_ENOMEM;
        *job = value;
        job->node = first + i;
    }
    return 0;
}

static int read_link_event(struct parser *p, struct mir__topo_event *event)
{
    struct mir__topo *topo = p->topo;
    event->target = 0;
    while (event->target < topo->link_count &&
           strcmp(topo->links[event->target].name, p->word[3]) != 0)
        event->target++;
    if (event->target == topo->link_count)
        return refuse_name(p, "link", p->word[3], true);
    event->change = MIR__TOPO_WIRE;
    if (p->count == 5 && strcmp(p->word[4], "down") == 0)
        event->change = MIR__TOPO_DOWN;
    else if (p->count == 5 && strcmp(p->word[4], "up") == 0)
        event->change = MIR__TOPO_UP;
    if (event->change != MIR__TOPO_WIRE)
        return 0;
    memcpy(event->way, topo->links[event->target].way, sizeof event->way);
    return read_wire(p, 4, event->way, &event->mtu, NULL);
}

static int read_clock_event(struct parser *p, struct mir__topo_event *event)
{
    static const char *const names[] = {"jump", "drift"};
    const char *word = p->word[4];
    uint32_t count;
    uint64_t us;
    int r = read_ref(p, p->word[3], &event->target, &count);
    if (r < 0)
        return r;
    if (strncmp(word, "jump=", 5) == 0) {
        bool is_back = word[5] == '-';
        if (!read_time(word + 5 + is_back, &us))
            return refuse(p, "\"%.60s\": the value cannot be read", word);
        event->change = MIR__TOPO_JUMP;
        event->value = is_back ? -(int64_t)us : (int64_t)us;
        return 0;
    }
    if (strncmp(word, "drift=", 6) != 0)
        return refuse_word(p, "word of a clock", word, names, 2);
    event->change = MIR__TOPO_DRIFT;
    return read_ppm(word + 6, &event->value)
               ? 0
               : refuse(p, "\"%.60s\": the value cannot be read", word);
}

static int read_at(struct parser *p)
{
    static const char *const names[] = {"link", "clock"};
    struct mir__topo_event event = {0};
    if (p->count < 5)
        return refuse(p, "\"at\" needs a time, \"link\" or \"clock\", a name and what happens");
    if (!read_time(p->word[1], &event.at_us))
        return refuse(p, "\"%.60s\" is not a time such as 250ms", p->word[1]);
    bool is_link = strcmp(p->word[2], "link") == 0;
    if (!is_link && strcmp(p->word[2], "clock") != 0)
        return refuse_word(p, "word", p->word[2], names, 2);
    int r = is_link ? read_link_event(p, &event) : read_clock_event(p, &event);
    if (r < 0)
        return r;
    struct mir__topo_event *added = mir__topo_add_event(p->topo);
    if (added == NULL)
        return -MIR_ENOMEM;
    *added = event;
    return 0;
}

static int read_duration(struct parser *p)
{
    if (p->count != 2 || !read_time(p->word[1], &p->topo->duration_us))
        return refuse(p, "\"duration\" needs a time such as 60s");
    return 0;
}

static int read_line(struct parser *p, char *line)
{
    static const struct {
        const char *name;
        int (*read)(struct parser *p);
    } statements[] = {{"host", read_node},        {"router", read_node}, {"switch", read_node},
                      {"link", read_link},        {"run", read_run},     {"at", read_at},
                      {"duration", read_duration}};
    static const char *const names[] = {"host", "router", "switch",  "link",
                                        "run",  "at",     "duration"};
    char *save = NULL;
    p->count = 0;
    line[strcspn(line, "#")] = '\0';
    for (char *word = strtok_r(line, " \t\r", &save); word != NULL;
         word = strtok_r(NULL, " \t\r", &save)) {
        if (p->count == WORDS_MAX)
            return refuse(p, "more than %u words", WORDS_MAX);
        p->word[p->count++] = word;
    }
    if (p->count == 0)
        return 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(statements); i++) {
        if (strcmp(statements[i].name, p->word[0]) == 0)
            return statements[i].read(p);
    }
    return refuse_word(p, "statement", p->word[0], names, MIR_ARRAY_LEN(names));
}

int mir__topo_parse(const char *text, const char *file, struct mir__topo *topo, char *error)
{
    struct parser p = {.topo = topo, .file = file, .error = error};
    int r = 0;
    memset(topo, 0, sizeof *topo);
    while (*text != '\0' && r == 0) {
        size_t len = strcspn(text, "\n");
        char *line = malloc(len + 1);
        if (line == NULL)
            return -MIR_ENOMEM;
        memcpy(line, text, len);
        line[len] = '\0';
        p.line++;
        r = read_line(&p, line);
        free(line);
        text += len + (text[len] == '\n');
    }
    if (r < 0)
        mir__topo_free(topo);
    return r;
}

int mir__topo_load(const char *path, struct mir__topo *topo, char *error)
{
    size_t len = 0, room = 0;
    char *text = NULL;
    FILE *file = fopen(path, "r");
    memset(topo, 0, sizeof *topo);
    while (file != NULL) {
        if (room - len < 4097) {
            char *grown = realloc(text, room = room * 2 + 8192);
            if (grown == NULL)
                break;
            text = grown;
        }
        size_t got = fread(text + len, 1, 4096, file);
        len += got;
        if (got == 0)
            break;
    }
    bool is_bad = file == NULL || ferror(file) != 0 || text == NULL;
    if (file != NULL)
        fclose(file);
    int r = -MIR_EIO;
    if (is_bad) {
        snprintf(error, MIR__TOPO_ERROR_MAX, "%.200s: cannot be read", path);
    } else {
        text[len] = '\0';
        r = mir__topo_parse(text, path, topo, error);
    }
    free(text);
    return r;
}
