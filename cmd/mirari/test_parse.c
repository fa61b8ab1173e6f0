/* SPDX-License-Identifier: ISC */
/* Reads the file of a test: lines of words.
 *
 *   targets unix virt
 *   net lan
 *   app server ../website            first what there is,
 *   app client ../tester
 *
 *   test pages under loss            then tests: a title and steps
 *     fault server loss=5%
 *     call client test.get to=$server:80 count=20
 *     expect good == 20
 *
 * Words are divided by blanks; "in quotes" there may be some, with \" \\ and \n. '#' where a word
 * could begin ends the line. The command of `run` is the rest of its line as it is: a shell reads
 * it.
 *
 * Nothing outside the text is looked at. Everything that can be known without running is checked:
 * names, numbers, times, operators, and that a $variable exists when it is used.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/test.h"

#define WORDS_MAX 200
#define CASES_MAX 1000
#define STEPS_MAX 10000

struct parser {
    struct test_file *file;
    struct diag *diag;
    int line;
    struct list words;
    const char *rest;      /* of the line, behind the word that was read last, for run */
    struct test_vars vars; /* those that exist here; their values have no meaning */
    size_t steps;
    bool gave_up;
};

/* ---- words ----------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A word; any part of it may stand in quotes. *@at goes behind it. */
static bool read_word(struct parser *p, const char **at, const char *end)
{
    struct str word = {0};
    bool is_quoted = false;
    const char *c = *at;
    str_add(&word, "", 0);
    for (; c < end && (is_quoted || !is_blank(*c)); c++) {
        char byte = *c;
        if (byte == '"') {
            is_quoted = !is_quoted;
            continue;
        }
        if (is_quoted && byte == '\\' && c + 1 < end)
            byte = *++c == 'n' ? '\n' : *c;
        str_add(&word, &byte, 1);
    }
    *at = c;
    if (is_quoted)
        diag_error(p->diag, p->line, "quotes that are not closed: \"%.40s\"", word.data);
    list_add(&p->words, word.data);
    str_free(&word);
    return !is_quoted;
}

static void drop_words(struct list *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->item[i]);
    free(words->item);
    *words = (struct list){0};
}

/* The words of a line; of a `run` only the first, with the rest behind it. */
static bool read_words(struct parser *p, const char *line, size_t len)
{
    const char *at = line, *end = line + len;
    drop_words(&p->words);
    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end || *at == '#')
            return true;
        if (p->words.count == WORDS_MAX) {
            diag_error(p->diag, p->line, "more than %d words", WORDS_MAX);
            return false;
        }
        if (!read_word(p, &at, end))
            return false;
        if (p->words.count == 1 && strcmp(p->words.item[0], "run") == 0) {
            p->rest = at;
            return true;
        }
    }
}

static const char *word(const struct parser *p, size_t i)
{
    return i < p->words.count ? p->words.item[i] : "";
}

static bool is_word(const struct parser *p, size_t i, const char *text)
{
    return i < p->words.count && strcmp(p->words.item[i], text) == 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

bool test_time(const char *text, int64_t *ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 7)
        return false;
    for (size_t i = 0; i < LEN(units); i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        *ms = strtoll(text, NULL, 10) * units[i].ms;
        return *ms > 0 && *ms <= 3600000;
    }
    return false;
}

static bool time_word(struct parser *p, const char *text, int64_t *ms)
{
    if (test_time(text, ms))
        return true;
    diag_error(p->diag, p->line, "\"%.40s\" is no time; write 500ms, 10s or 2m, up to 60m", text);
    return false;
}

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= 15 && islower((unsigned char)text[0]) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* A new name, of a thing or a variable. */
static bool name_word(struct parser *p, const char *what, const char *text)
{
    if (!is_name(text)) {
        diag_error(p->diag, p->line,
                   "\"%.40s\" cannot be the name of %s; take 1 to 15 small letters, digits and _, "
                   "with a letter first",
                   text, what);
        return false;
    }
    return true;
}

static bool is_taken(struct parser *p, const char *name)
{
    for (size_t i = 0; i < p->file->app_count; i++) {
        if (strcmp(p->file->app[i].name, name) != 0)
            continue;
        diag_error(p->diag, p->line, "\"%s\" is the app of line %d; take another name", name,
                   p->file->app[i].line);
        return true;
    }
    for (size_t i = 0; i < p->file->net_count; i++) {
        if (strcmp(p->file->net[i].name, name) != 0)
            continue;
        diag_error(p->diag, p->line, "\"%s\" is the net of line %d; take another name", name,
                   p->file->net[i].line);
        return true;
    }
    return false;
}

/* ---- what there is --------------------------------------------------------------------------- */

static const char *known_target(const char *text)
{
    static const char *const targets[] = {"unix", "virt"};
    for (size_t i = 0; i < LEN(targets); i++)
        if (strcmp(text, targets[i]) == 0)
            return targets[i];
    return NULL;
}

static void read_targets(struct parser *p)
{
    if (p->words.count < 2 || p->file->targets.count > 0)
        diag_error(p->diag, p->line, "write once: targets unix virt");
    for (size_t i = 1; i < p->words.count; i++) {
        if (known_target(word(p, i)) == NULL)
            diag_error(p->diag, p->line, "no target \"%.40s\"; there are unix and virt",
                       word(p, i));
        else
            list_add(&p->file->targets, word(p, i));
    }
}

/* "10.77.3.0/24" without its last number. */
static char *subnet(struct parser *p, const char *text)
{
    struct cidr cidr;
    struct why why;
    char *slash = strchr(text, '/') != NULL ? need_text(text, strcspn(text, "/")) : NULL;
    uint32_t addr;
    bool good = slash != NULL && strcmp(text + strcspn(text, "/"), "/24") == 0 &&
                valid_ip4(slash, &addr, &why) && (addr & 255) == 0 && addr >> 24 != 0 &&
                addr >> 24 < 224 && addr >> 24 != 127;
    (void)cidr;
    free(slash);
    if (good)
        return need_format("%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255);
    diag_error(p->diag, p->line, "\"%.40s\" is no subnet; write one of 24 bits as 10.1.2.0/24",
               text);
    return NULL;
}

static void read_net(struct parser *p)
{
    struct test_file *file = p->file;
    const char *name = word(p, 1);
    if (!name_word(p, "a net", name) || is_taken(p, name))
        return;
    if (file->net_count == TEST_NETS_MAX) {
        diag_error(p->diag, p->line, "more than %d nets", TEST_NETS_MAX);
        return;
    }
    struct test_net *net = &file->net[file->net_count];
    *net = (struct test_net){.name = need_text(name, strlen(name)), .line = p->line};
    for (size_t i = 2; i < p->words.count; i++) {
        const char *text = word(p, i);
        uint16_t mtu = 0;
        struct why why;
        if (strncmp(text, "mtu=", 4) == 0) {
            if (valid_mtu(text + 4, &mtu, &why))
                net->mtu = mtu;
            else
                diag_error(p->diag, p->line, "%s", why.text);
        } else if (net->prefix == NULL) {
            net->prefix = subnet(p, text);
        } else {
            diag_error(p->diag, p->line, "\"%.40s\": write net NAME [10.1.2.0/24] [mtu=N]", text);
        }
    }
    file->net_count++;
    if (net->prefix == NULL)
        net->prefix = need_format("10.77.%zu", file->net_count);
    test_var_set(&p->vars, name, "");
}

static const struct test_net *find_net(struct parser *p, const char *name)
{
    const char *names[TEST_NETS_MAX];
    for (size_t i = 0; i < p->file->net_count; i++) {
        names[i] = p->file->net[i].name;
        if (strcmp(names[i], name) == 0)
            return &p->file->net[i];
    }
    diag_error(p->diag, p->line, "no net \"%.40s\"%s; declare it above: net %.40s", name,
               did_you_mean(name, names, p->file->net_count), name);
    return NULL;
}

static void read_app_nets(struct parser *p, struct test_app *app, const char *text)
{
    char *save = NULL, *copy = need_text(text, strlen(text));
    app->has_nets = true;
    for (char *name = strtok_r(copy, ",", &save); name != NULL; name = strtok_r(NULL, ",", &save))
        if (strcmp(name, "none") != 0 && find_net(p, name) != NULL)
            list_add(&app->nets, name);
    free(copy);
}

static void app_vars(struct parser *p, const struct test_app *app)
{
    static const char *const ends[] = {"", "_ip6", "_ctl", "_log"};
    for (size_t i = 0; i < LEN(ends); i++) {
        char *name = need_format("%s%s", app->name, ends[i]);
        test_var_set(&p->vars, name, "");
        free(name);
    }
    for (size_t i = 0; i < p->file->net_count; i++) {
        for (size_t k = 0; k < 2; k++) {
            char *name = need_format("%s_%s%s", app->name, p->file->net[i].name, ends[k]);
            test_var_set(&p->vars, name, "");
            free(name);
        }
    }
}

static void read_app(struct parser *p)
{
    struct test_file *file = p->file;
    const char *name = word(p, 1), *folder = word(p, 2);
    if (!name_word(p, "an app", name) || is_taken(p, name))
        return;
    if (folder[0] == '\0' || strcmp(folder, "--") == 0) {
        diag_error(p->diag, p->line, "\"%s\" has no folder; write app NAME FOLDER", name);
        return;
    }
    if (file->app_count == TEST_APPS_MAX) {
        diag_error(p->diag, p->line, "more than %d apps", TEST_APPS_MAX);
        return;
    }
    struct test_app *app = &file->app[file->app_count++];
    *app = (struct test_app){.name = need_text(name, strlen(name)),
                             .folder = need_text(folder, strlen(folder)),
                             .line = p->line};
    size_t i = 3;
    for (; i < p->words.count && !is_word(p, i, "--"); i++) {
        const char *text = word(p, i);
        if (strcmp(text, "later") == 0) {
            app->is_later = true;
        } else if (strncmp(text, "ready=", 6) == 0) {
            free(app->ready);
            app->ready = need_text(text + 6, strlen(text + 6));
        } else if (strncmp(text, "net=", 4) == 0) {
            read_app_nets(p, app, text + 4);
        } else if (strncmp(text, "target=", 7) == 0) {
            app->target = known_target(text + 7);
            if (app->target == NULL)
                diag_error(p->diag, p->line, "no target \"%.40s\"; there are unix and virt",
                           text + 7);
        } else {
            diag_error(p->diag, p->line,
                       "\"%.40s\": after the folder there can be net=NAME,..., target=NAME, "
                       "ready=TEXT, later, and behind -- options of mirari run",
                       text);
        }
    }
    while (++i < p->words.count)
        list_add(&app->options, word(p, i));
    app_vars(p, app);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool find_app(struct parser *p, const char *name, size_t *index)
{
    const char *names[TEST_APPS_MAX];
    for (size_t i = 0; i < p->file->app_count; i++) {
        names[i] = p->file->app[i].name;
        if (strcmp(names[i], name) == 0) {
            *index = i;
            return true;
        }
    }
    diag_error(p->diag, p->line, "no app \"%.40s\"%s; declare it above: app %.40s FOLDER", name,
               did_you_mean(name, names, p->file->app_count), name[0] != '\0' ? name : "NAME");
    return false;
}

static void check_vars(struct parser *p, const char *text)
{
    char *unknown = NULL;
    free(test_expand(&p->vars, text, &unknown));
    if (unknown == NULL)
        return;
    const char *const *names = (const char *const *)p->vars.names.item;
    diag_error(p->diag, p->line, "there is no variable $%s here%s", unknown,
               did_you_mean(unknown, names, p->vars.names.count));
    free(unknown);
}

static bool is_op(const char *text)
{
    for (size_t i = 0; i < test_op_count; i++)
        if (strcmp(text, test_ops[i]) == 0)
            return true;
    return false;
}

/* PATH OP VALUE at word @i. Returns the words behind it. */
static size_t read_check(struct parser *p, struct test_step *step, size_t i)
{
    if (i + 2 >= p->words.count || !is_op(word(p, i + 1))) {
        diag_error(p->diag, p->line,
                   "write PATH OPERATOR VALUE with blanks between; operators are == != < <= > >= "
                   "~ (contains) and !~");
        return p->words.count;
    }
    step->check.path = need_text(word(p, i), strlen(word(p, i)));
    step->check.op = need_text(word(p, i + 1), strlen(word(p, i + 1)));
    step->check.value = need_text(word(p, i + 2), strlen(word(p, i + 2)));
    check_vars(p, step->check.value);
    return i + 3;
}

static bool read_status(struct parser *p, const char *text, int *status)
{
    int64_t number;
    struct why why;
    if (valid_int(text, &number, &why) && number >= 0 && number <= 255) {
        *status = (int)number;
        return true;
    }
    diag_error(p->diag, p->line, "\"%.40s\" is no exit status; write 0 to 255", text);
    return false;
}

/* Words behind a step: within TIME, with STATUS, fails, ends. Those of @allowed: "twfe". */
static void read_tail(struct parser *p, struct test_step *step, size_t i, const char *allowed)
{
    while (i < p->words.count) {
        if (is_word(p, i, "within") && strchr(allowed, 't') != NULL) {
            (void)time_word(p, word(p, i + 1), &step->within_ms);
            i += 2;
        } else if (is_word(p, i, "with") && strchr(allowed, 'w') != NULL) {
            (void)read_status(p, word(p, i + 1), &step->status);
            i += 2;
        } else if (is_word(p, i, "fails") && strchr(allowed, 'f') != NULL) {
            step->must_fail = true;
            i++;
        } else if (is_word(p, i, "ends") && strchr(allowed, 'e') != NULL) {
            step->must_end = true;
            i++;
        } else {
            diag_error(p->diag, p->line, "\"%.40s\" has no meaning here", word(p, i));
            return;
        }
    }
    if (step->status >= 0 && step->what == TEST_CALL && !step->must_end)
        diag_error(p->diag, p->line, "\"with\" is about an appliance that ends; write ends with N");
}

/* APP METHOD KEY=VALUE... Returns the words behind it. */
static size_t read_method(struct parser *p, struct test_step *step)
{
    size_t i = 3;
    if (word(p, 2)[0] == '\0')
        diag_error(p->diag, p->line, "no method; write %s APP METHOD KEY=VALUE ...", word(p, 0));
    step->word = need_text(word(p, 2), strlen(word(p, 2)));
    for (; i < p->words.count; i++) {
        const char *text = word(p, i), *equal = strchr(text, '=');
        if (equal == NULL || equal == text || is_op(text) || is_op(word(p, i + 1)))
            break;
        check_vars(p, equal + 1);
        list_add(&step->params, text);
    }
    return i;
}

static void read_run(struct parser *p, struct test_step *step, const char *end)
{
    const char *at = p->rest;
    for (;;) {
        char *first, *second;
        while (at < end && is_blank(*at))
            at++;
        size_t len = strcspn(at, " \t"), gap = strspn(at + len, " \t");
        size_t next = strcspn(at + len + gap, " \t\r");
        bool is_within = len == 6 && strncmp(at, "within", 6) == 0;
        bool is_exits = len == 5 && strncmp(at, "exits", 5) == 0;
        if (!is_within && !is_exits)
            break;
        first = need_text(at, len);
        second = need_text(at + len + gap, next);
        if (is_within)
            (void)time_word(p, second, &step->within_ms);
        else
            (void)read_status(p, second, &step->status);
        free(first);
        free(second);
        at += len + gap + next;
    }
    while (end > at && is_blank(end[-1]))
        end--;
    if (at >= end)
        diag_error(p->diag, p->line, "no command; write run [within TIME] [exits N] COMMAND");
    step->word = need_text(at, at < end ? (size_t)(end - at) : 0);
}

/* fault APP [net NAME] loss=5% delay=10ms ... */
static void read_fault(struct parser *p, struct test_step *step)
{
    struct str spec = {0};
    size_t i = 2;
    if (is_word(p, i, "net")) {
        if (find_net(p, word(p, i + 1)) != NULL)
            step->net = need_text(word(p, i + 1), strlen(word(p, i + 1)));
        i += 2;
    }
    for (; i < p->words.count; i++)
        str_format(&spec, "%s%s", spec.len > 0 ? "," : "", word(p, i));
    if (spec.len == 0)
        diag_error(p->diag, p->line,
                   "no fault; write loss=5%% delay=10ms reorder=1%% dup=1%% corrupt=1%% "
                   "rate=1mbit, down, or none");
    step->word = spec.len > 0 ? spec.data : need_text("", 0);
}

static void read_let(struct parser *p, struct test_step *step)
{
    const char *name = word(p, 1);
    if (p->words.count != 4 || !is_word(p, 2, "=")) {
        diag_error(p->diag, p->line, "write let NAME = PATH");
        return;
    }
    if (!name_word(p, "a variable", name) || is_taken(p, name))
        return;
    step->word = need_text(name, strlen(name));
    step->check.path = need_text(word(p, 3), strlen(word(p, 3)));
    test_var_set(&p->vars, name, "");
}

static void read_says(struct parser *p, struct test_step *step)
{
    if (word(p, 2)[0] == '\0')
        diag_error(p->diag, p->line, "no text; write says APP \"TEXT\" [within TIME]");
    step->word = need_text(word(p, 2), strlen(word(p, 2)));
    check_vars(p, step->word);
    read_tail(p, step, 3, "t");
}

static const struct verb {
    const char *name;
    enum test_do what;
    bool has_app;
} verbs[] = {
    {"call", TEST_CALL, true}, {"until", TEST_UNTIL, true},       {"expect", TEST_EXPECT, false},
    {"let", TEST_LET, false},  {"run", TEST_RUN, false},          {"fault", TEST_FAULT, true},
    {"boot", TEST_BOOT, true}, {"shutdown", TEST_SHUTDOWN, true}, {"kill", TEST_KILL, true},
    {"ends", TEST_ENDS, true}, {"says", TEST_SAYS, true}};

static struct test_step *add_step(struct parser *p, const struct verb *verb, const char *line,
                                  size_t len)
{
    struct test_file *file = p->file;
    struct test_case *one = &file->cases[file->case_count - 1];
    if (one->count == one->size) {
        one->size = one->size * 2 + 4;
        struct test_step *more = need(one->size * sizeof(*more));
        if (one->count > 0)
            memcpy(more, one->step, one->count * sizeof(*more));
        free(one->step);
        one->step = more;
    }
    while (len > 0 && is_blank(*line)) {
        line++;
        len--;
    }
    while (len > 0 && is_blank(line[len - 1]))
        len--;
    struct test_step *step = &one->step[one->count++];
    *step = (struct test_step){.what = verb->what,
                               .line = p->line,
                               .text = need_text(line, len),
                               .within_ms = -1,
                               .status = -1};
    return step;
}

static void read_step(struct parser *p, const struct verb *verb, const char *line, size_t len)
{
    if (p->steps++ == STEPS_MAX) {
        diag_error(p->diag, p->line, "more than %d steps", STEPS_MAX);
        p->gave_up = true;
        return;
    }
    struct test_step *step = add_step(p, verb, line, len);
    if (verb->has_app && !find_app(p, word(p, 1), &step->app))
        return;
    switch (verb->what) {
    case TEST_CALL:
        read_tail(p, step, read_method(p, step), "twfe");
        break;
    case TEST_UNTIL:
        read_tail(p, step, read_check(p, step, read_method(p, step)), "t");
        break;
    case TEST_EXPECT:
        read_tail(p, step, read_check(p, step, 1), "");
        break;
    case TEST_LET:
        read_let(p, step);
        break;
    case TEST_RUN:
        read_run(p, step, line + len);
        break;
    case TEST_FAULT:
        p->file->app[step->app].has_faults = true;
        read_fault(p, step);
        break;
    case TEST_SAYS:
        read_says(p, step);
        break;
    case TEST_BOOT:
        read_tail(p, step, 2, "t");
        break;
    case TEST_KILL:
        read_tail(p, step, 2, "");
        break;
    case TEST_SHUTDOWN:
    case TEST_ENDS:
        read_tail(p, step, 2, "tw");
        break;
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void add_case(struct test_file *file, const char *title, int line)
{
    if (file->case_count == file->case_size) {
        file->case_size = file->case_size * 2 + 8;
        struct test_case *more = need(file->case_size * sizeof(*more));
        if (file->case_count > 0)
            memcpy(more, file->cases, file->case_count * sizeof(*more));
        free(file->cases);
        file->cases = more;
    }
    file->cases[file->case_count++] =
        (struct test_case){.title = need_text(title, strlen(title)), .line = line};
}

static void read_test(struct parser *p)
{
    struct str title = {0};
    for (size_t i = 1; i < p->words.count; i++)
        str_format(&title, "%s%s", i > 1 ? " " : "", word(p, i));
    if (title.len == 0)
        diag_error(p->diag, p->line, "a test without a title; write test WHAT IT SHOWS");
    if (p->file->case_count == CASES_MAX) {
        diag_error(p->diag, p->line, "more than %d tests", CASES_MAX);
        p->gave_up = true;
    } else {
        add_case(p->file, title.len > 0 ? title.data : "", p->line);
    }
    str_free(&title);
}

static void unknown_word(struct parser *p)
{
    static const char *const others[] = {"targets", "limit", "net", "app", "test"};
    const char *names[LEN(verbs) + LEN(others)];
    size_t count = 0;
    for (size_t i = 0; i < LEN(verbs); i++)
        names[count++] = verbs[i].name;
    for (size_t i = 0; i < LEN(others); i++)
        names[count++] = others[i];
    diag_error(p->diag, p->line, "unknown word \"%.40s\"%s", word(p, 0),
               did_you_mean(word(p, 0), names, count));
}

/* A line before the first test that declares something. */
static bool read_declaration(struct parser *p)
{
    static const struct {
        const char *name;
        void (*read)(struct parser *p);
    } rows[] = {{"targets", read_targets}, {"net", read_net}, {"app", read_app}};
    bool is_limit = is_word(p, 0, "limit");
    void (*read)(struct parser * p) = NULL;
    for (size_t i = 0; i < LEN(rows); i++)
        read = is_word(p, 0, rows[i].name) ? rows[i].read : read;
    if (read == NULL && !is_limit)
        return false;
    if (p->file->case_count > 1 || p->file->cases[0].count > 0)
        diag_error(p->diag, p->line, "\"%s\" belongs above the first step", word(p, 0));
    if (is_limit && (p->words.count != 2 || !time_word(p, word(p, 1), &p->file->limit_ms)))
        diag_error(p->diag, p->line, "write limit TIME");
    else if (!is_limit)
        read(p);
    return true;
}

static void read_line(struct parser *p, const char *line, size_t len)
{
    if (memchr(line, '\0', len) != NULL) {
        diag_error(p->diag, p->line, "a NUL byte; this is no text");
        p->gave_up = true;
        return;
    }
    if (!read_words(p, line, len) || p->words.count == 0)
        return;
    if (is_word(p, 0, "test")) {
        read_test(p);
        return;
    }
    if (read_declaration(p))
        return;
    for (size_t i = 0; i < LEN(verbs); i++) {
        if (is_word(p, 0, verbs[i].name)) {
            read_step(p, &verbs[i], line, len);
            return;
        }
    }
    unknown_word(p);
}

void test_parse(const char *text, size_t len, struct test_file *file, struct diag *diag)
{
    struct parser p = {.file = file, .diag = diag};
    const char *path = file->path;
    *file = (struct test_file){.path = path, .limit_ms = TEST_LIMIT_MS};
    add_case(file, "the appliances start", 0);
    for (size_t at = 0; at < len && !p.gave_up; p.line++) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line_len = end != NULL ? (size_t)(end - text) - at : len - at;
        char *line = need_text(text + at, line_len);
        p.line += p.line == 0;
        read_line(&p, line, line_len);
        free(line);
        at += line_len + 1;
    }
    if (file->app_count == 0 && diag->errors == 0)
        diag_error(diag, 0, "no app; declare one: app NAME FOLDER");
    if (file->case_count == 1 && diag->errors == 0)
        diag_error(diag, 0, "no test; begin one: test WHAT IT SHOWS");
    if (file->targets.count == 0)
        list_add(&file->targets, "unix");
    drop_words(&p.words);
    test_vars_free(&p.vars);
}

static void free_case(struct test_case *one)
{
    for (size_t i = 0; i < one->count; i++) {
        struct test_step *step = &one->step[i];
        char *const texts[] = {step->text,       step->word,     step->net,
                               step->check.path, step->check.op, step->check.value};
        for (size_t k = 0; k < LEN(texts); k++)
            free(texts[k]);
        drop_words(&step->params);
    }
    free(one->step);
    free(one->title);
}

void test_file_free(struct test_file *file)
{
    for (size_t i = 0; i < file->net_count; i++) {
        free(file->net[i].name);
        free(file->net[i].prefix);
    }
    for (size_t i = 0; i < file->app_count; i++) {
        free(file->app[i].name);
        free(file->app[i].folder);
        free(file->app[i].ready);
        drop_words(&file->app[i].nets);
        drop_words(&file->app[i].options);
    }
    for (size_t i = 0; i < file->case_count; i++)
        free_case(&file->cases[i]);
    free(file->cases);
    drop_words(&file->targets);
}
